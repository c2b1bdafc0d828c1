//! What moves points between whom, and what is told of it.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;
use shared::clock::as_rfc3339;
use utoipa::ToSchema;
use uuid::Uuid;

use super::money::Points;

/// What moved points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Charge,
    Use,
    Payment,
    Refund,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Charge, Self::Use, Self::Payment, Self::Refund];

    /// The kind of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The word, as it is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Use => "use",
            Self::Payment => "payment",
            Self::Refund => "refund",
        }
    }

    /// Where the points come from or go to.
    pub fn counter_account(self) -> CounterAccount {
        match self {
            Self::Charge => CounterAccount::Funding,
            Self::Use => CounterAccount::Spending,
            Self::Payment | Self::Refund => CounterAccount::Revenue,
        }
    }

    /// Whether the user has more after it.
    pub fn is_credit(self) -> bool {
        matches!(self, Self::Charge | Self::Refund)
    }
}

/// The other side of a movement. It has no row: what is in it is a sum over the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CounterAccount {
    /// What users have paid in.
    Funding,
    /// What users have used up.
    Spending,
    /// What was paid for seats, less what was paid back.
    Revenue,
}

impl CounterAccount {
    /// The account of that word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Funding, Self::Spending, Self::Revenue].into_iter().find(|account| account.word() == word)
    }

    /// The word, as it is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Funding => "funding",
            Self::Spending => "spending",
            Self::Revenue => "revenue",
        }
    }
}

const MAX_MEMO: usize = 200;

/// A note on a use: at most 200 characters; `None` in the outcome: none was given.
pub fn memo(value: Option<&Value>) -> Result<Option<String>, &'static str> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.chars().count() > MAX_MEMO => Err("must be at most 200 characters"),
        Some(Value::String(text)) if text.contains('\0') => Err("must not contain NUL"),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err("must be a text"),
    }
}

/// A balance.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Balance {
    pub balance: Points,
}

/// The outcome of a charge or a use.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Moved {
    pub entry_id: Uuid,
    /// As it was asked for, unsigned.
    pub amount: Points,
    /// After it.
    pub balance: Points,
}

/// A line of the ledger.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LedgerEntry {
    pub entry_id: Uuid,
    /// 1, 2, 3, … for each user.
    pub seq: i64,
    pub kind: Kind,
    /// Where the points came from or went to.
    pub counter_account: CounterAccount,
    /// Signed.
    pub amount: i64,
    pub balance_after: Points,
    pub payment_id: Option<Uuid>,
    pub memo: Option<String>,
    #[serde(serialize_with = "as_rfc3339")]
    pub at: DateTime<Utc>,
}

/// Which entries a statement shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    pub kind: Option<Kind>,
    pub from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub until: Option<DateTime<Utc>>,
}

impl Statement {
    /// From query values, the days in UTC, both inclusive; else the field and what it must be.
    pub fn parse(
        kind: Option<&str>,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Self, (&'static str, &'static str)> {
        let kind = match kind.map(Kind::parse) {
            Some(None) => return Err(("kind", "must be charge, use, payment or refund")),
            kind => kind.flatten(),
        };
        let (from, last) = (midnight("from", from)?, midnight("to", to)?);
        Ok(Self { kind, from, until: last.and_then(|last| last.checked_add_signed(TimeDelta::days(1))) })
    }
}

type Midnight = Result<Option<DateTime<Utc>>, (&'static str, &'static str)>;

fn midnight(field: &'static str, text: Option<&str>) -> Midnight {
    let Some(text) = text else { return Ok(None) };
    let day = text.parse().ok().filter(|day: &NaiveDate| {
        // chrono takes more ways to write a day than there should be.
        (1..=9999).contains(&day.year()) && day.to_string() == text
    });
    match day {
        Some(day) => Ok(Some(day.and_time(NaiveTime::MIN).and_utc())),
        None => Err((field, "must be a date, YYYY-MM-DD")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memos_are_short_texts() {
        let text = |length| Value::String("é".repeat(length));
        assert_eq!(memo(None), Ok(None));
        assert!(memo(Some(&text(200))).is_ok() && memo(Some(&text(201))).is_err());
        assert!(memo(Some(&Value::Bool(true))).is_err() && memo(Some(&"a\0b".into())).is_err());
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.word()), Some(kind));
            assert_eq!(CounterAccount::parse(kind.counter_account().word()), Some(kind.counter_account()));
            assert_eq!(serde_json::json!(kind), kind.word());
            assert_eq!(serde_json::json!(kind.counter_account()), kind.counter_account().word());
        }
        assert_eq!((Kind::parse("gift"), CounterAccount::parse("users")), (None, None));
    }

    #[test]
    fn a_statement_is_of_whole_days_and_both_ends_count() {
        let day = Statement::parse(Some("use"), Some("2026-03-01"), Some("2026-03-01")).unwrap();
        assert_eq!(day.kind, Some(Kind::Use));
        assert_eq!(day.until.unwrap() - day.from.unwrap(), TimeDelta::days(1));
        assert_eq!(Statement::parse(None, None, None), Ok(Statement::default()));
        for bad in ["2026-13-01", "2026-3-1", "", "+12026-01-01", " 2026-03-01", "0000-01-01", "-0001-01-01"]
        {
            assert_eq!(Statement::parse(None, None, Some(bad)).unwrap_err().0, "to", "{bad}");
        }
        assert_eq!(Statement::parse(Some("gift"), None, None).unwrap_err().0, "kind");
    }
}
