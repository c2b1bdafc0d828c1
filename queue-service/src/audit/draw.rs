//! Recomputes a lottery from what is published of it: `GET /v1/queues/{queue}` after the opening.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::line::{lottery, token};
use crate::queues::model::commitment_of;

/// What to recompute.
#[derive(Clone, Debug, clap::Args)]
pub struct DrawArgs {
    /// File with the answer to `GET /v1/queues/{queue}`; `-` = standard input.
    pub published: PathBuf,
    /// Queue token whose number is looked up; without it the whole order is printed.
    #[arg(long)]
    pub token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Published {
    draw: Option<Draw>,
}

#[derive(Debug, Deserialize)]
struct Draw {
    commitment: String,
    seed: Option<String>,
    lanes: Option<Vec<DrawnLane>>,
}

#[derive(Debug, Deserialize)]
struct DrawnLane {
    lane: Option<String>,
    first_number: u64,
    last_number: u64,
}

/// The order in words, when the seed is the one that was promised.
pub fn run(args: &DrawArgs) -> anyhow::Result<Vec<String>> {
    let text = if args.published.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(&args.published)
    };
    let text = text.with_context(|| format!("{}", args.published.display()))?;
    let place = args.token.as_deref().map(|text| token::place_in(text).context("--token is no queue token"));
    recompute(&text, place.transpose()?)
}

fn recompute(published: &str, place: Option<u64>) -> anyhow::Result<Vec<String>> {
    let published: Published = serde_json::from_str(published).context("not the answer of a queue")?;
    let Some(draw) = published.draw else { bail!("the queue has no lottery") };
    let (Some(seed), Some(lanes)) = (draw.seed, draw.lanes) else { bail!("the queue has not opened yet") };
    if commitment_of(&seed) != draw.commitment {
        bail!("the seed is not the one that was promised: its SHA-256 is {}", commitment_of(&seed));
    }
    let mut words = vec!["the seed is the one that was promised".to_owned()];
    for (index, lane) in (0..).zip(lanes) {
        let name = lane.lane.as_deref().unwrap_or("everybody's");
        let order = lottery::order(&seed, lane.first_number..=lane.last_number);
        let mine = |number: &u64| place.is_none_or(|place| place == index * crate::keys::LANE + number);
        for (position, number) in (1..).zip(&order).filter(|(_, number)| mine(number)) {
            words.push(format!("lane {name}: number {number} was drawn as {position} of {}", order.len()));
        }
    }
    if words.len() == 1 && place.is_some() {
        words.push("the token's place was not drawn: it joined after the opening".to_owned());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn published(seed: &str, commitment: &str) -> String {
        let lanes = json!([{ "lane": null, "first_number": 1, "last_number": 3 }]);
        json!({ "queue": "main", "draw": { "commitment": commitment, "seed": seed, "lanes": lanes } })
            .to_string()
    }

    #[test]
    fn the_order_is_told_only_for_the_promised_seed() {
        let good = published("abc", &commitment_of("abc"));
        assert_eq!(recompute(&good, None).unwrap().len(), 4);
        assert_eq!(recompute(&good, Some(2)).unwrap().len(), 2);
        assert!(recompute(&good, Some(4)).unwrap()[1].contains("not drawn"));
        assert!(recompute(&published("abd", &commitment_of("abc")), None).is_err());
        for unfit in ["", "{}", r#"{"draw":{"commitment":"x","seed":null,"lanes":null}}"#] {
            assert!(recompute(unfit, None).is_err(), "{unfit}");
        }
    }
}
