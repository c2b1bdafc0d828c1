//! What is recorded: attempts, their outcomes, and at the end the books.
//!
//! Times are whole microseconds. A [`Moment`] has two: `tick` of the recorder's monotonic clock, by which
//! attempts are ordered, and `wall` of the machine's clock, which the database's own times are held against.

use std::collections::BTreeMap;

use uuid::Uuid;

/// When something was, on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Since the history began; never goes back.
    pub tick: i64,
    /// Since 1970, on the clock that the database shares with the recorder.
    pub wall: i64,
}

/// What a client wants of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Hold { seats: Vec<i32> },
    Release { reservation: Uuid },
    Pay { reservation: Uuid },
    Refund { payment: Uuid },
    Charge { amount: i64 },
    Use { amount: i64 },
    ReadReservation { reservation: Uuid },
    ReadBalance,
    ReadMap,
    ReadHistory,
}

impl Wish {
    /// Whether it asks for a change.
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::ReadReservation { .. } | Self::ReadBalance | Self::ReadMap | Self::ReadHistory)
    }

    /// Whether the service takes an `Idempotency-Key` for it.
    pub fn takes_key(&self) -> bool {
        self.is_write() && !matches!(self, Self::Release { .. })
    }

    /// Whether the service demands one.
    pub fn needs_key(&self) -> bool {
        matches!(self, Self::Charge { .. } | Self::Use { .. })
    }
}

/// Where a reservation stands, as the service words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Held,
    Confirmed,
    Cancelled,
    Expired,
    Refunded,
}

impl Status {
    /// `held` and so on; `None` for a word that is none of them.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "held" => Self::Held,
            "confirmed" => Self::Confirmed,
            "cancelled" => Self::Cancelled,
            "expired" => Self::Expired,
            "refunded" => Self::Refunded,
            _ => return None,
        })
    }
}

/// What a seat map shows of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shown {
    Available,
    Held,
    Sold,
}

/// A reservation as its owner is shown it. Times are the database's, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub id: Uuid,
    pub status: Status,
    pub seats: Vec<i32>,
    pub amount: i64,
    pub held_at: i64,
    pub expires_at: i64,
    pub payment: Option<Uuid>,
}

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub entry: Uuid,
    pub kind: Kind,
    /// Signed.
    pub amount: i64,
    pub balance_after: i64,
    pub payment: Option<Uuid>,
    pub at: i64,
}

/// Why points moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Charge,
    Use,
    Payment,
    Refund,
}

impl Kind {
    /// `charge` and so on; `None` for a word that is none of them.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "charge" => Self::Charge,
            "use" => Self::Use,
            "payment" => Self::Payment,
            "refund" => Self::Refund,
            _ => return None,
        })
    }
}

/// A success, by what was wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Held(Reservation),
    Released,
    Paid {
        payment: Uuid,
        reservation: Uuid,
        amount: i64,
        balance: i64,
        paid_at: i64,
        seats: Vec<i32>,
    },
    Refunded {
        payment: Uuid,
        amount: i64,
        balance: i64,
        refunded_at: i64,
    },
    Moved {
        entry: Uuid,
        amount: i64,
        balance: i64,
    },
    Reservation(Reservation),
    Balance(i64),
    Map(Vec<(i32, Shown)>),
    /// Newest first, as many as were asked for.
    History(Vec<Row>),
}

/// What the client knows after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok(Answer),
    /// A 4xx by name, with the members that say what was seen.
    Refused {
        code: String,
        seats: Vec<i32>,
        balance: Option<i64>,
        amount: Option<i64>,
    },
    /// No answer, or one that leaves open whether it was done (5xx). It may be done at any time, or never.
    Lost,
}

impl Outcome {
    /// A refusal that says no more than its name.
    pub fn refused(code: &str) -> Self {
        Self::Refused { code: code.to_owned(), seats: Vec::new(), balance: None, amount: None }
    }

    /// The answer of a success.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Ok(answer) => Some(answer),
            _ => None,
        }
    }

    /// The name of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// One request on the wire. A retry is an attempt of its own, with the same key.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub client: usize,
    pub user: usize,
    pub replica: usize,
    pub key: Option<u64>,
    pub wish: Wish,
    pub begun: Moment,
    /// When the answer was there, or the client gave up.
    pub ended: Moment,
    pub outcome: Outcome,
}

/// What one user has in the end, when nothing runs any more.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub reservations: Vec<Reservation>,
    /// Oldest first.
    pub ledger: Vec<Row>,
    pub balance: i64,
}

/// What the service promises, and how exactly it can be seen.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub hold_ttl: i64,
    pub price: i64,
    /// By how much two readings of the machine's clock may disagree.
    pub slack: i64,
    /// How old a seat map may be on a replica that did not make the change itself.
    pub map_lag: i64,
}

/// Everything that was asked and answered, and what was left in the end.
#[derive(Clone, Debug)]
pub struct History {
    pub terms: Terms,
    pub attempts: Vec<Attempt>,
    /// By user.
    pub books: BTreeMap<usize, Account>,
    pub ended: Moment,
}

impl History {
    /// How many attempts were answered.
    pub fn answered(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.outcome != Outcome::Lost).count()
    }

    /// How many of the answered asked for a change.
    pub fn writes(&self) -> usize {
        let answered = self.attempts.iter().filter(|attempt| attempt.outcome != Outcome::Lost);
        answered.filter(|attempt| attempt.wish.is_write()).count()
    }
}
