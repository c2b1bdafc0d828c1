//! Points: a whole number, never negative, never a float.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use shared::clock::as_rfc3339;
use utoipa::ToSchema;
use uuid::Uuid;

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
    /// The word, as it is stored and shown.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "charge" => Self::Charge,
            "use" => Self::Use,
            "payment" => Self::Payment,
            "refund" => Self::Refund,
            _ => return None,
        })
    }

    /// The word of it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Use => "use",
            Self::Payment => "payment",
            Self::Refund => "refund",
        }
    }
}

/// A positive number of points, as a client may name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(i64);

impl Amount {
    /// A JSON integer from 1 to `most`; anything else is no amount.
    pub fn parse(value: Option<&Value>, most: i64) -> Option<Self> {
        value.and_then(Value::as_i64).filter(|amount| (1..=most).contains(amount)).map(Self)
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
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
    pub balance: i64,
}

/// The outcome of a charge or a use.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Moved {
    pub entry_id: Uuid,
    /// As it was asked for, unsigned.
    pub amount: i64,
    /// After it.
    pub balance: i64,
}

/// A line of the ledger.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LedgerEntry {
    pub entry_id: Uuid,
    /// 1, 2, 3, … for each user.
    pub seq: i64,
    pub kind: Kind,
    /// Signed.
    pub amount: i64,
    pub balance_after: i64,
    pub payment_id: Option<Uuid>,
    pub memo: Option<String>,
    #[serde(serialize_with = "as_rfc3339")]
    pub at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_json_integer_in_range() {
        let amount = |json: &str| {
            let value: Value = serde_json::from_str(json).unwrap();
            Amount::parse(Some(&value), 1000).map(Amount::get)
        };
        assert_eq!((amount("1"), amount("1000")), (Some(1), Some(1000)));
        for bad in ["0", "-1", "1001", "1.0", "1.5", "1e2", "\"1\"", "9223372036854775808", "null", "true"] {
            assert_eq!(amount(bad), None, "{bad}");
        }
        assert_eq!(Amount::parse(None, 1000), None);
    }

    #[test]
    fn memos_are_short_texts() {
        let text = |length| Value::String("é".repeat(length));
        assert_eq!(memo(None), Ok(None));
        assert!(memo(Some(&text(200))).is_ok() && memo(Some(&text(201))).is_err());
        assert!(memo(Some(&Value::Bool(true))).is_err() && memo(Some(&"a\0b".into())).is_err());
    }
}
