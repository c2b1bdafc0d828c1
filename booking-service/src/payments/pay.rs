//! The verb that pays a hold, with whatever payments of others come at the same time.
//!
//! ```text
//!   no key ─▶ at a stroke: pay ─▶ paid. One statement, which is the transaction and passes over locks
//!                           │ not paid
//!   a key ──▶ in a transaction: claim ─ pay ┬ paid ─────────────────────────────┬ remember ─ commit
//!                                           └ not paid: look ─ lock the account ┴ pay again
//!                                                         │               │           └ not paid: goes alone
//!                                                         └ refused       └ refused: too few points
//! ```
//!
//! What pays (`store::pay`) judges everything before it writes anything, for each on its own; why somebody was not paid is
//! asked only then, because most are. Whoever is refused drops out, and nothing of it was written. The second time
//! the rows are this transaction's: reservation and seats since the first, the account since it was looked
//! at. A payment that goes alone takes the same way, as a batch of one.

use std::collections::{HashMap, HashSet};
use std::slice;
use std::sync::Arc;

use shared::ids::new_id;
use shared::lifecycle::Lifecycle;
use uuid::Uuid;

use super::model::{Met, Paid};
use super::store::{self, Claim, Locked, Made, NewPayment};
use super::{Pay, Payments, Refusal, Tools};
use crate::admitted::{self, Entry};
use crate::config::ReleaseOn;
use crate::crash;
use crate::db::{self, Conn, Tx};
use crate::holds::Status;
use crate::idempotency;
use crate::metrics;
use crate::retry;
use crate::together::{self, Apart, Batches, Draft, Fate};

const VERB: &str = "payment";

/// What a payment has done.
#[derive(Debug)]
pub struct Sale {
    paid: Paid,
    schedule: Uuid,
    /// Entry tokens that ended with it.
    ended: Vec<Entry>,
}

/// The batches.
pub struct Together {
    strokes: Batches<Pay, Sale, Refusal>,
    transactions: Batches<Pay, Sale, Refusal>,
}

impl Together {
    /// Starts the batches.
    pub fn start(tools: &Tools, lifecycle: &Lifecycle) -> Self {
        let (hand, shape) = (tools.clone(), together::SHAPE);
        let strokes =
            together::start(lifecycle, "payments at a stroke", shape, move |wishes: Vec<Arc<Pay>>| {
                let tools = hand.clone();
                async move { tools.stroke(&wishes).await }
            });
        let hand = tools.clone();
        let transactions = together::start(lifecycle, "payments", shape, move |wishes: Vec<Arc<Pay>>| {
            let tools = hand.clone();
            async move { tools.batch(&wishes).await }
        });
        Self { strokes, transactions }
    }
}

impl Payments {
    /// Pays a hold.
    pub async fn pay(&self, wish: Pay) -> Result<Paid, Refusal> {
        let paid = self.exchange(&Arc::new(wish)).await?.paid;
        metrics::one(metrics::PAYMENTS);
        metrics::many(metrics::POINTS_PAID, paid.amount.cast_unsigned());
        Ok(paid)
    }

    async fn exchange(&self, wish: &Arc<Pay>) -> Result<Sale, Refusal> {
        let Together { strokes, transactions } = &self.together;
        if wish.intent.is_none() {
            let fate = strokes.submit(wish.clone()).await.map_err(db::Error::from)??;
            if let Fate::Done(sale) = fate {
                return Ok(sale);
            }
        }
        loop {
            match transactions.submit(wish.clone()).await.map_err(db::Error::from)?? {
                Fate::Done(sale) => return Ok(sale),
                Fate::Refused(refusal) => return Err(refusal),
                Fate::Again => {}
                Fate::Alone => {
                    let sale = retry::retried(|| self.tools.alone(wish)).await?;
                    self.tools.committed([&sale])?;
                    return Ok(sale);
                }
            }
        }
    }
}

impl Tools {
    async fn stroke(&self, wishes: &[Arc<Pay>]) -> db::Result<Vec<Fate<Sale, Refusal>>> {
        let mut draft = set_apart(wishes);
        let mut lane = self.db.lane().await?;
        let made = self.make(&mut lane, Locked::PassOver, wishes, &draft.open()).await;
        let outcome = made.map(|made| {
            for (wish, sale) in made {
                draft.decide(wish, Fate::Done(sale));
            }
            draft.fates()
        });
        let fates = together::judge(VERB, wishes.len(), outcome.map_err(Refusal::from))?;
        self.committed(done(&fates))?;
        Ok(fates)
    }

    async fn batch(&self, wishes: &[Arc<Pay>]) -> db::Result<Vec<Fate<Sale, Refusal>>> {
        let mut tx = self.db.begin_impatiently().await?;
        let outcome = self.exchange(&mut tx, wishes).await;
        let fates = together::end(tx, VERB, wishes.len(), outcome).await?;
        self.committed(done(&fates))?;
        Ok(fates)
    }

    async fn alone(&self, wish: &Arc<Pay>) -> Result<Sale, Refusal> {
        let mut tx = self.db.begin().await?;
        let fates = self.exchange(&mut tx, slice::from_ref(wish)).await;
        let outcome = fates.and_then(|mut fates| match fates.pop() {
            Some(Fate::Done(sale)) => Ok(sale),
            Some(Fate::Refused(refusal)) => Err(refusal),
            _ => Err(db::Error::Conflict("what a payment needs was on its way".to_owned()).into()),
        });
        tx.end(outcome).await
    }

    /// Who hears of it.
    fn committed<'a>(&self, sales: impl IntoIterator<Item = &'a Sale>) -> db::Result<()> {
        crash::point("pay.committed")?;
        let (mut dates, mut ended) = (HashSet::new(), Vec::new());
        for sale in sales {
            dates.insert(sale.schedule);
            ended.extend(sale.ended.iter().cloned());
        }
        self.outbox.committed(&ended);
        self.changes.seats_of(dates);
        Ok(())
    }

    /// The work of the transaction. An error undoes all of it.
    async fn exchange(&self, tx: &mut Tx, wishes: &[Arc<Pay>]) -> Result<Vec<Fate<Sale, Refusal>>, Refusal> {
        let mut draft = set_apart(wishes);
        let open = draft.open();
        let intents: Vec<_> = open.iter().map(|wish| wishes[*wish].intent.as_ref()).collect();
        for (wish, claimed) in open.into_iter().zip(idempotency::claim_all(tx, &self.db, &intents).await?) {
            if let Err(refusal) = claimed {
                draft.decide(wish, Fate::Refused(refusal.into()));
            }
        }
        crash::point("pay.claimed")?;
        let open = draft.open();
        let mut made = self.make(tx, Locked::Wait, wishes, &open).await?;
        let unpaid: Vec<_> = open.into_iter().filter(|wish| !made.contains_key(wish)).collect();
        if !unpaid.is_empty() {
            let payable = self.look(tx, wishes, &unpaid, &mut draft).await?;
            let again = self.make(tx, Locked::Wait, wishes, &payable).await?;
            for wish in payable.into_iter().filter(|wish| !again.contains_key(wish)) {
                draft.decide(wish, Fate::Alone);
            }
            made.extend(again);
        }
        crash::point("pay.made")?;
        let answers: Vec<_> =
            made.iter().map(|(wish, sale)| (wishes[*wish].intent.as_ref(), &sale.paid)).collect();
        idempotency::remember_all(tx, &self.db, &answers).await?;
        crash::point("pay.remembered")?;
        for (wish, sale) in made {
            draft.decide(wish, Fate::Done(sale));
        }
        Ok(draft.fates())
    }

    /// Makes those of the payments that can be made; each beside its wish.
    async fn make(
        &self,
        conn: &mut Conn,
        locked: Locked,
        wishes: &[Arc<Pay>],
        open: &[usize],
    ) -> db::Result<HashMap<usize, Sale>> {
        if open.is_empty() {
            return Ok(HashMap::new());
        }
        let id = || new_id(self.db.clock());
        let new = open.iter().map(|wish| NewPayment {
            id: id(),
            claim: wishes[*wish].claim(),
            ledger_entry: id(),
            messages: [id(), id()],
        });
        let new: Vec<_> = new.collect();
        let by_id: HashMap<Uuid, usize> =
            new.iter().map(|payment| payment.id).zip(open.iter().copied()).collect();
        let tokens_end = self.release_on == ReleaseOn::Payment;
        let made = store::pay(conn, locked, self.db.offset_ms(), tokens_end, &new).await?;
        let sale = |made: Made| {
            let wish = *by_id.get(&made.paid.payment_id)?;
            let shown = wishes[wish].caller.entry().filter(|shown| tokens_end && shown.queue == made.queue);
            let ended = shown.cloned().into_iter().chain(made.held_by).collect();
            Some((wish, Sale { paid: made.paid, schedule: made.schedule, ended }))
        };
        Ok(made.into_iter().filter_map(sale).collect())
    }

    /// Refuses whoever cannot pay; answers the others, whose accounts are locked from then on.
    async fn look(
        &self,
        tx: &mut Tx,
        wishes: &[Arc<Pay>],
        unpaid: &[usize],
        draft: &mut Draft<Sale, Refusal>,
    ) -> Result<Vec<usize>, Refusal> {
        let claims: Vec<_> = unpaid.iter().map(|wish| wishes[*wish].claim()).collect();
        let met = store::look(tx, self.db.offset_ms(), &claims).await?;
        let (mut payable, mut due) = (Vec::new(), Vec::new());
        for (wish, met) in unpaid.iter().copied().zip(met) {
            match judge(tx, &wishes[wish], met).await? {
                Ok(amount) => {
                    payable.push(wish);
                    due.push((wishes[wish].caller.user(), amount));
                }
                Err(refusal) => draft.decide(wish, Fate::Refused(refusal)),
            }
        }
        let mut able = Vec::with_capacity(payable.len());
        for (wish, afforded) in payable.into_iter().zip(self.points.afford(tx, &due).await?) {
            match afforded {
                Ok(()) => able.push(wish),
                Err(refusal) => draft.decide(wish, Fate::Refused(refusal.into())),
            }
        }
        Ok(able)
    }
}

/// Those that are done.
fn done(fates: &[Fate<Sale, Refusal>]) -> impl Iterator<Item = &Sale> {
    fates.iter().filter_map(|fate| match fate {
        Fate::Done(sale) => Some(sale),
        _ => None,
    })
}

impl Pay {
    fn claim(&self) -> Claim<'_> {
        let caller = &self.caller;
        Claim {
            reservation: self.reservation,
            user: caller.user(),
            entry: caller.entry(),
            confined_to: caller.confined_to(),
        }
    }
}

/// Whoever pays twice in one batch, or shows the same token, goes again.
fn set_apart(wishes: &[Arc<Pay>]) -> Draft<Sale, Refusal> {
    let (mut apart, mut draft) = (Apart::new(), Draft::new(wishes.len()));
    for (index, wish) in wishes.iter().enumerate() {
        let claim = wish.claim();
        let things = [Some(("user", claim.user)), claim.entry.map(|entry| ("token", entry.jti.as_str()))];
        if !apart.takes(things.into_iter().flatten()) {
            draft.decide(index, Fate::Again);
        }
    }
    draft
}

/// What is to be paid, or what is in the way of it; beside it, trouble with the database.
async fn judge(conn: &mut Conn, wish: &Pay, met: Met) -> db::Result<Result<i64, Refusal>> {
    let payable = match met.payable {
        _ if met.shown_is_spent => return Ok(Err(admitted::Refusal::EntryCompleted.into())),
        None => return Ok(Err(Refusal::ReservationNotFound)),
        Some(payable) => payable,
    };
    if !wish.caller.may_enter(&payable.queue) {
        return Ok(Err(admitted::Refusal::WrongQueue.into()));
    }
    Ok(match payable.status {
        Status::Held if payable.is_cancelled => Err(Refusal::NotHeld),
        Status::Held if payable.has_its_seats => Ok(payable.amount),
        Status::Held | Status::Expired => Err(Refusal::HoldExpired),
        Status::Confirmed => {
            let payment = store::payment_of(conn, payable.reservation_id).await?;
            Err(Refusal::AlreadyPaid { payment })
        }
        Status::Cancelled | Status::Refunded => Err(Refusal::NotHeld),
    })
}
