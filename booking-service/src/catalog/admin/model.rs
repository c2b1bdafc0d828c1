//! What operators send, and when it is refused.
#![expect(clippy::option_option, reason = "null is told from left out")]

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use shared::extract::object_or_null;
use utoipa::ToSchema;

use super::Setup;
use crate::catalog::hall::{Block, SeatsBody};
use crate::catalog::model::{Invalid, Times};

const MAX_TITLE: usize = 200;

/// A new concert.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConcertBody {
    pub title: String,
    pub queue: String,
}

impl ConcertBody {
    /// Refuses a title or queue that cannot be.
    pub fn check(self) -> Result<Self, Invalid> {
        Ok(Self { title: title(&self.title)?, queue: queue(self.queue)? })
    }
}

/// A change of a concert; what is left out stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConcertPatch {
    pub title: Option<String>,
    pub queue: Option<String>,
}

impl ConcertPatch {
    /// Refuses a title or queue that cannot be.
    pub fn check(self) -> Result<Self, Invalid> {
        Ok(Self {
            title: self.title.as_deref().map(title).transpose()?,
            queue: self.queue.map(queue).transpose()?,
        })
    }
}

/// A new date.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleBody {
    pub starts_at: DateTime<Utc>,
    pub sales_open_at: DateTime<Utc>,
    pub sales_close_at: DateTime<Utc>,
    #[serde(default, deserialize_with = "object_or_null")]
    pub seats: Option<SeatsBody>,
    pub max_seats_per_user: Option<i64>,
    /// When it is not the concert's.
    pub queue: Option<String>,
}

impl ScheduleBody {
    /// The date and its seats.
    pub fn check(self) -> Result<(Setup, Vec<Block>), Invalid> {
        let Self { starts_at, sales_open_at, sales_close_at, .. } = self;
        let setup = Setup {
            times: Times { starts_at, sales_open_at, sales_close_at }.check()?,
            max_seats_per_user: self.max_seats_per_user.map(limit).transpose()?,
            queue: self.queue.map(queue).transpose()?,
        };
        Ok((setup, blocks(self.seats)?))
    }
}

/// A change of a date; what is left out stays. `null` takes a limit or an own queue away.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulePatch {
    pub starts_at: Option<DateTime<Utc>>,
    pub sales_open_at: Option<DateTime<Utc>>,
    pub sales_close_at: Option<DateTime<Utc>>,
    /// Only while the date has none.
    #[serde(default, deserialize_with = "object_or_null")]
    pub seats: Option<SeatsBody>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i64>)]
    pub max_seats_per_user: Option<Option<i64>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub queue: Option<Option<String>>,
}

impl SchedulePatch {
    /// What the date is after the change, and seats to be made. A show that is moved to an earlier
    /// time ends its sale with it, unless the patch says otherwise.
    pub fn apply(self, old: Setup) -> Result<(Setup, Vec<Block>), Invalid> {
        let starts_at = self.starts_at.unwrap_or(old.times.starts_at);
        let sales_close_at = self.sales_close_at.unwrap_or_else(|| old.times.sales_close_at.min(starts_at));
        let sales_open_at = self.sales_open_at.unwrap_or(old.times.sales_open_at);
        let setup = Setup {
            times: Times { starts_at, sales_open_at, sales_close_at }.check()?,
            max_seats_per_user: match self.max_seats_per_user {
                Some(given) => given.map(limit).transpose()?,
                None => old.max_seats_per_user,
            },
            queue: match self.queue {
                Some(given) => given.map(queue).transpose()?,
                None => old.queue,
            },
        };
        Ok((setup, blocks(self.seats)?))
    }
}

/// Tells `null` from left out.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

fn blocks(seats: Option<SeatsBody>) -> Result<Vec<Block>, Invalid> {
    seats.map_or_else(|| Ok(Vec::new()), SeatsBody::blocks)
}

fn title(given: &str) -> Result<String, Invalid> {
    let title = given.trim();
    if (1..=MAX_TITLE).contains(&title.chars().count()) && !title.contains('\0') {
        Ok(title.to_owned())
    } else {
        Err(Invalid::new("title", format!("must be 1 to {MAX_TITLE} characters")))
    }
}

fn queue(queue: String) -> Result<String, Invalid> {
    let slug = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if (1..=64).contains(&queue.len()) && queue.bytes().all(slug) {
        Ok(queue)
    } else {
        Err(Invalid::new("queue", "must be 1 to 64 of a-z, 0-9 and -"))
    }
}

fn limit(limit: i64) -> Result<i32, Invalid> {
    let limit = i32::try_from(limit).ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| Invalid::new("max_seats_per_user", "must be a whole number from 1 on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        let body = r#"{"starts_at":"2030-01-02T00:00:00Z","sales_open_at":"2030-01-01T00:00:00Z",
            "sales_close_at":"2030-01-01T23:00:00+00:00","max_seats_per_user":2,"queue":"own"}"#;
        serde_json::from_str::<ScheduleBody>(body).unwrap().check().unwrap().0
    }

    fn patched(patch: &str) -> Result<Setup, Invalid> {
        serde_json::from_str::<SchedulePatch>(patch).unwrap().apply(setup()).map(|(setup, _)| setup)
    }

    #[test]
    fn what_a_patch_leaves_out_stays_and_null_takes_away() {
        assert_eq!(patched("{}").unwrap(), setup());
        let bare = patched(r#"{"queue":null,"max_seats_per_user":null}"#).unwrap();
        assert_eq!((bare.queue, bare.max_seats_per_user), (None, None));
        assert!(patched(r#"{"max_seats_per_user":0}"#).is_err());
    }

    #[test]
    fn an_earlier_show_ends_its_sale() {
        let earlier = patched(r#"{"starts_at":"2030-01-01T12:00:00Z"}"#).unwrap();
        assert_eq!(earlier.times.sales_close_at, earlier.times.starts_at);
        assert!(patched(r#"{"sales_close_at":"2031-01-01T12:00:00Z"}"#).is_err());
    }

    #[test]
    fn unknown_members_titles_and_slugs_are_refused() {
        assert!(serde_json::from_str::<ConcertBody>(r#"{"title":"t","queue":"q","x":1}"#).is_err());
        let body = |title: &str, queue: &str| ConcertBody { title: title.into(), queue: queue.into() };
        assert!(body("Demo", "main-1").check().is_ok());
        assert!(body(" ", "main").check().is_err() && body("t\0", "main").check().is_err());
        assert!(body("t", "Main").check().is_err() && body("t", "").check().is_err());
    }
}
