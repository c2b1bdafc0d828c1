//! The seats of a new date, as an operator describes them.

use serde::Deserialize;
use shared::extract::objects_or_null;
use utoipa::ToSchema;

use super::model::Invalid;

/// The most seats of one date.
pub const MAX_SEATS: i64 = 100_000;
/// The highest price, in points: the sum of any reservation stays far inside i64.
pub const MAX_PRICE: i64 = 1_000_000_000_000;
const MAX_NAME: usize = 40;

/// Seats 1 to `count` at one `price`, or `blocks`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeatsBody {
    pub count: Option<i64>,
    pub price: Option<i64>,
    #[serde(default, deserialize_with = "objects_or_null")]
    pub blocks: Option<Vec<BlockBody>>,
}

/// Seats `from` to `to`, both inclusive.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockBody {
    pub section: Option<String>,
    pub row: Option<String>,
    pub from: i64,
    pub to: i64,
    pub price: i64,
    /// The name of the price.
    pub tier: Option<String>,
}

/// A run of seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub section: Option<String>,
    pub row: Option<String>,
    pub from: i32,
    pub to: i32,
    pub price: i64,
    pub tier: Option<String>,
}

impl SeatsBody {
    /// The runs of seats, no number twice, in the order of their numbers.
    pub fn blocks(self) -> Result<Vec<Block>, Invalid> {
        let bodies = match (self.count, self.price, self.blocks) {
            (Some(to), Some(price), None) => {
                vec![BlockBody { section: None, row: None, from: 1, to, price, tier: None }]
            }
            (None, None, Some(blocks)) => blocks,
            _ => return Err(Invalid::new("seats", "must be {count, price} or {blocks}")),
        };
        let mut blocks = bodies.into_iter().map(Block::parse).collect::<Result<Vec<_>, _>>()?;
        if blocks.is_empty() {
            return Err(Invalid::new("seats.blocks", "must not be empty"));
        }
        blocks.sort_by_key(|block| block.from);
        if let Some(pair) = blocks.windows(2).find(|pair| pair[0].to >= pair[1].from) {
            return Err(Invalid::new("seats.blocks", format!("seat {} comes twice", pair[1].from)));
        }
        let total: i64 = blocks.iter().map(|block| i64::from(block.to - block.from) + 1).sum();
        if total > MAX_SEATS {
            return Err(Invalid::new("seats", format!("must be at most {MAX_SEATS} seats")));
        }
        Ok(blocks)
    }
}

impl Block {
    fn parse(body: BlockBody) -> Result<Self, Invalid> {
        let number = |n: i64| i32::try_from(n).ok().filter(|n| (1..10_000_000).contains(n));
        let (Some(from), Some(to)) = (number(body.from), number(body.to)) else {
            return Err(Invalid::new("seats", "numbers and counts must be from 1 to 9999999"));
        };
        if to < from {
            return Err(Invalid::new("seats.blocks", "`to` must not be below `from`"));
        }
        if !(0..=MAX_PRICE).contains(&body.price) {
            return Err(Invalid::new("seats.price", format!("must be from 0 to {MAX_PRICE}")));
        }
        for name in [&body.section, &body.row, &body.tier].into_iter().flatten() {
            let length = name.chars().count();
            if length == 0 || length > MAX_NAME || name.contains('\0') {
                return Err(Invalid::new(
                    "seats.blocks",
                    format!("section, row and tier must be 1 to {MAX_NAME} characters"),
                ));
            }
        }
        let BlockBody { section, row, price, tier, .. } = body;
        Ok(Self { section, row, from, to, price, tier })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(json: &str) -> Result<Vec<Block>, Invalid> {
        serde_json::from_str::<SeatsBody>(json).unwrap().blocks()
    }

    #[test]
    fn a_count_is_one_block_and_blocks_come_sorted() {
        let one = blocks(r#"{"count":50,"price":10000}"#).unwrap();
        assert_eq!((one[0].from, one[0].to, one[0].price), (1, 50, 10_000));
        let two = blocks(
            r#"{"blocks":[{"section":"B","row":"1","from":11,"to":20,"price":5},
                          {"section":"A","row":"1","from":1,"to":10,"price":0}]}"#,
        )
        .unwrap();
        assert_eq!((two.len(), two[0].from), (2, 1));
    }

    #[test]
    fn halls_that_cannot_be_are_refused() {
        for bad in [
            r"{}",
            r#"{"count":5}"#,
            r#"{"count":0,"price":1}"#,
            r#"{"count":100001,"price":1}"#,
            r#"{"count":5,"price":-1}"#,
            r#"{"blocks":[]}"#,
            r#"{"count":5,"price":1,"blocks":[]}"#,
            r#"{"blocks":[{"section":"A","row":"1","from":5,"to":4,"price":1}]}"#,
            r#"{"blocks":[{"from":1,"to":4,"price":1,"tier":""}]}"#,
            r#"{"blocks":[{"from":1,"to":4,"price":1,"tier":"a name of more than forty characters is too long"}]}"#,
            r#"{"blocks":[{"section":"A","row":"1","from":1,"to":5,"price":1},
                          {"section":"A","row":"2","from":5,"to":9,"price":1}]}"#,
        ] {
            assert!(blocks(bad).is_err(), "{bad}");
        }
    }
}
