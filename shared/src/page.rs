//! Lists: `?limit=` and `?cursor=`, answered as `{items, next_cursor}`.
//!
//! A cursor is opaque to clients: base64url of the key of the last item seen. A page is read as
//! `limit + 1` rows, so that the last page says so without a count.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// The most items a page may have.
pub const MAX_LIMIT: u32 = 200;
const DEFAULT_LIMIT: u32 = 50;

/// The query parameters of a list, unparsed.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PageQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// A parsed request for a page whose items are ordered by `K`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOf<K> {
    /// 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// The key of the last item seen.
    pub after: Option<K>,
}

impl PageQuery {
    /// Refuses a limit out of range and a cursor that this service did not make.
    pub fn parse<K: DeserializeOwned>(&self) -> Result<PageOf<K>, Problem> {
        let limit = match &self.limit {
            None => DEFAULT_LIMIT,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
                    Problem::invalid_field("limit", format!("must be a whole number from 1 to {MAX_LIMIT}"))
                })?
            }
        };
        let after = match &self.cursor {
            None => None,
            Some(cursor) => {
                Some(decode(cursor).ok_or_else(|| Problem::invalid_field("cursor", "is not one of ours"))?)
            }
        };
        Ok(PageOf { limit, after })
    }
}

impl<K: Serialize> PageOf<K> {
    /// How many rows to ask the store for.
    pub fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Cuts the extra row off and makes the next cursor from the last item that stays.
    pub fn cut<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> K) -> Page<T> {
        let more = items.len() > self.limit as usize;
        items.truncate(self.limit as usize);
        let next_cursor = items.last().filter(|_| more).map(|last| encode(&key(last)));
        Page { items, next_cursor }
    }
}

/// One page of a list.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

/// The cursor that stands for `key`.
pub fn encode<K: Serialize>(key: &K) -> String {
    BASE64.encode(serde_json::to_vec(key).unwrap_or_default())
}

/// The key a cursor stands for.
pub fn decode<K: DeserializeOwned>(cursor: &str) -> Option<K> {
    serde_json::from_slice(&BASE64.decode(cursor).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit: Option<&str>, cursor: Option<&str>) -> PageQuery {
        PageQuery { limit: limit.map(str::to_owned), cursor: cursor.map(str::to_owned) }
    }

    #[test]
    fn pages_join_without_gap_or_overlap() {
        let page: PageOf<u32> = query(Some("2"), None).parse().unwrap();
        let first = page.cut(vec![9, 8, 7], |n| *n);
        assert_eq!(first.items, [9, 8]);
        let next: PageOf<u32> = query(Some("2"), first.next_cursor.as_deref()).parse().unwrap();
        assert_eq!(next.after, Some(8));
        assert_eq!(next.cut(vec![7, 6], |n| *n).next_cursor, None);
    }

    #[test]
    fn bad_limits_and_cursors_are_refused() {
        for limit in ["0", "201", "-1", "x", ""] {
            assert!(query(Some(limit), None).parse::<u32>().is_err(), "{limit}");
        }
        assert!(query(None, Some("%%%")).parse::<u32>().is_err());
        assert!(query(None, Some(&encode(&"text"))).parse::<u32>().is_err());
    }
}
