//! Money: points as whole numbers that cannot leave their range.
//!
//! [`Points`] are what somebody has or something costs, 0 to 2^63 − 1; an [`Amount`] is what a client or a
//! setting names, from 1 on. Neither has operators: a sum or a difference is asked for, and where there
//! is none, the answer is none. Signs exist in the ledger alone.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A number of points that there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[schema(minimum = 0)]
pub struct Points(i64);

impl Points {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self(i64::MAX);

    /// `None`: it is negative.
    pub fn new(number: i64) -> Option<Self> {
        (number >= 0).then_some(Self(number))
    }

    /// The number, never negative.
    pub fn get(self) -> i64 {
        self.0
    }

    /// `None`: there is no such number of points.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(Self::new)
    }

    /// `None`: there are too few.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(Self::new)
    }
}

impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One point or more, as somebody may name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(Points);

impl Amount {
    pub const MAX: Self = Self(Points::MAX);

    /// A JSON integer from 1 to `most`; anything else is no amount: not `1.0`, not `1e2`, not `"1"`.
    pub fn parse(value: Option<&Value>, most: Self) -> Option<Self> {
        value.and_then(Value::as_i64).and_then(Self::new).filter(|amount| *amount <= most)
    }

    fn new(number: i64) -> Option<Self> {
        Points::new(number).filter(|points| *points > Points::ZERO).map(Self)
    }

    /// As points.
    pub fn points(self) -> Points {
        self.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a setting that is no amount is told.
#[derive(Debug, thiserror::Error)]
#[error("must be a whole number from 1 to {}", Points::MAX)]
pub struct NoAmount;

impl FromStr for Amount {
    type Err = NoAmount;

    fn from_str(text: &str) -> Result<Self, NoAmount> {
        text.parse().ok().and_then(Self::new).ok_or(NoAmount)
    }
}
