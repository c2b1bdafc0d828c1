//! Concerts, their dates and their seats.
#![expect(clippy::struct_field_names, reason = "the names are the contract's")]

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use serde::Serialize;
use shared::clock::{as_rfc3339, as_rfc3339_or_null};
use utoipa::ToSchema;
use uuid::Uuid;

/// A concert.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Concert {
    pub concert_id: Uuid,
    pub title: String,
    /// The queue in front of it, where a date has none of its own.
    pub queue: String,
    #[serde(serialize_with = "as_rfc3339")]
    pub created_at: DateTime<Utc>,
}

/// A date of a concert.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Schedule {
    pub schedule_id: Uuid,
    pub concert_id: Uuid,
    /// The queue in front of it.
    pub queue: String,
    #[serde(serialize_with = "as_rfc3339")]
    pub starts_at: DateTime<Utc>,
    #[serde(serialize_with = "as_rfc3339")]
    pub sales_open_at: DateTime<Utc>,
    #[serde(serialize_with = "as_rfc3339")]
    pub sales_close_at: DateTime<Utc>,
    /// The most seats one user may have of it, held and sold together.
    pub max_seats_per_user: Option<i32>,
    /// Since when it is known that it does not take place; null: it does.
    #[serde(serialize_with = "as_rfc3339_or_null")]
    pub cancelled_at: Option<DateTime<Utc>>,
    pub seats_total: i64,
    /// Seats that nobody has; of a cancelled date none.
    pub remaining: i64,
    pub sold_out: bool,
}

/// How a date sells.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Report {
    pub schedule_id: Uuid,
    pub seats_total: i64,
    pub sold: i64,
    pub held: i64,
    pub free: i64,
    /// Points paid for the seats that are sold.
    pub revenue: i64,
    /// The same for each price, the dearest first.
    pub tiers: Vec<TierReport>,
}

/// How the seats of one price sell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TierReport {
    /// Null: the price has no name.
    pub tier: Option<String>,
    pub price: i64,
    pub seats_total: i64,
    pub sold: i64,
    pub held: i64,
    pub free: i64,
    pub revenue: i64,
}

impl Report {
    /// The sum of its prices.
    pub fn new(schedule_id: Uuid, tiers: Vec<TierReport>) -> Self {
        let sum = |of: fn(&TierReport) -> i64| tiers.iter().map(of).sum();
        Self {
            schedule_id,
            seats_total: sum(|tier| tier.seats_total),
            sold: sum(|tier| tier.sold),
            held: sum(|tier| tier.held),
            free: sum(|tier| tier.free),
            revenue: sum(|tier| tier.revenue),
            tiers,
        }
    }
}

/// Which dates a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    pub from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub until: Option<DateTime<Utc>>,
    pub bookable_only: bool,
}

/// What is wrong with a value, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid {
    pub field: &'static str,
    pub message: String,
}

impl Invalid {
    /// `message` about `field`.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

impl Dates {
    /// From query values: days in UTC, both inclusive.
    pub fn parse(from: Option<&str>, to: Option<&str>, bookable: Option<&str>) -> Result<Self, Invalid> {
        let midnight = |day: NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc();
        let bookable_only = match bookable {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => return Err(Invalid::new("bookable", "must be true or false")),
        };
        let until = day("to", to)?.and_then(|day| midnight(day).checked_add_signed(TimeDelta::days(1)));
        Ok(Self { from: day("from", from)?.map(midnight), until, bookable_only })
    }
}

fn day(field: &'static str, text: Option<&str>) -> Result<Option<NaiveDate>, Invalid> {
    let Some(text) = text else { return Ok(None) };
    // chrono alone also takes signs and spaces, and years that Postgres does not have.
    let shaped = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    match text.parse::<NaiveDate>().ok().filter(|day| shaped && day.year() >= 1) {
        Some(day) => Ok(Some(day)),
        None => Err(Invalid::new(field, "must be a date, YYYY-MM-DD")),
    }
}

/// Whether a date may start then.
pub fn is_start(at: DateTime<Utc>) -> bool {
    (1970..=9000).contains(&at.year())
}

/// Times of a date that fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub starts_at: DateTime<Utc>,
    pub sales_open_at: DateTime<Utc>,
    pub sales_close_at: DateTime<Utc>,
}

impl Times {
    /// Refuses a sale that ends before it begins or goes on after the start.
    pub fn check(self) -> Result<Self, Invalid> {
        if self.sales_open_at >= self.sales_close_at {
            return Err(Invalid::new("sales_close_at", "must be after sales_open_at"));
        }
        if self.sales_close_at > self.starts_at {
            return Err(Invalid::new("sales_close_at", "must not be after starts_at"));
        }
        for (field, at) in [("starts_at", self.starts_at), ("sales_open_at", self.sales_open_at)] {
            if !is_start(at) {
                return Err(Invalid::new(field, "is out of range"));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_both_ends_count() {
        let dates = Dates::parse(Some("2026-03-01"), Some("2026-03-01"), None).unwrap();
        assert!(dates.bookable_only);
        assert_eq!(dates.until.unwrap() - dates.from.unwrap(), TimeDelta::days(1));
        for bad in [
            "2026-13-01",
            "yesterday",
            "2026-3-1",
            "",
            "2026-03-01T00:00:00Z",
            "-9999-1-01",
            "+12026-1-1",
            "2026- 3- 1",
            "0000-01-01",
        ] {
            assert_eq!(Dates::parse(None, Some(bad), None).unwrap_err().field, "to", "{bad}");
        }
        assert!(Dates::parse(None, None, Some("yes")).is_err());
    }

    #[test]
    fn a_sale_ends_after_it_begins_and_before_the_show() {
        let at = |hour: i64| DateTime::from_timestamp(1_800_000_000 + hour * 3600, 0).unwrap();
        let times = |open, close, start| {
            Times { sales_open_at: at(open), sales_close_at: at(close), starts_at: at(start) }.check()
        };
        assert!(times(0, 1, 1).is_ok());
        assert!(times(1, 1, 2).is_err() && times(0, 3, 2).is_err());
    }
}
