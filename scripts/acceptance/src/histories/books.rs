//! What everybody has when nothing runs any more.

use std::collections::BTreeMap;

use serde_json::Value;

use super::clients::Recorder;
use super::history::{Account, Status};
use super::parse;
use super::wire::{Sent, Wire};
use crate::patience::within;

const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// The accounts of all users, as soon as nothing is held any more and two readings are the same: a request
/// whose client hung up may still run for a moment.
pub(super) async fn read(recorder: &Recorder) -> BTreeMap<usize, Account> {
    let mut before = String::new();
    within(LIMIT, "the books come to rest", async || {
        let mut books = BTreeMap::new();
        for (user, token) in recorder.plan().tokens.iter().enumerate() {
            books.insert(user, account(&recorder.plan().replicas, token).await?);
        }
        let held = books.values().flat_map(|account| &account.reservations);
        let held = held.filter(|reservation| reservation.status == Status::Held).count();
        let now = format!("{books:?}");
        if held > 0 || std::mem::replace(&mut before, now.clone()) != now {
            return Err(format!("{held} are held"));
        }
        Ok(books)
    })
    .await
}

async fn account(replicas: &[String], token: &str) -> Result<Account, String> {
    let mut wires: Vec<Wire> = replicas.iter().map(|replica| Wire::to(replica)).collect();
    let reservations = all(&mut wires, token, "/v1/reservations?limit=200").await?;
    let ledger = all(&mut wires, token, "/v1/points/history?limit=200").await?;
    let balance = get(&mut wires, token, "/v1/points").await?;
    let unreadable = |what: &str| format!("a {what} cannot be read");
    let mut account = Account {
        reservations: reservations
            .iter()
            .map(parse::reservation)
            .collect::<Option<_>>()
            .ok_or_else(|| unreadable("reservation"))?,
        ledger: ledger.iter().map(parse::row).collect::<Option<_>>().ok_or_else(|| unreadable("row"))?,
        balance: balance["balance"].as_i64().ok_or_else(|| unreadable("balance"))?,
    };
    account.ledger.reverse();
    Ok(account)
}

/// All pages of a list.
async fn all(wires: &mut [Wire], token: &str, path: &str) -> Result<Vec<Value>, String> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(wires, token, &format!("{path}{cursor}")).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(items),
        }
    }
}

/// From whichever replica answers.
async fn get(wires: &mut [Wire], token: &str, path: &str) -> Result<Value, String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: booking\r\nauthorization: Bearer {token}\r\n\r\n");
    let mut last = "no replica answers".to_owned();
    for wire in wires {
        match wire.exchange(&request, None).await {
            Sent::Answered(200, body) => {
                return serde_json::from_str(&body).map_err(|error| error.to_string());
            }
            Sent::Answered(status, body) => last = format!("{path}: {status} {body}"),
            Sent::Lost | Sent::Never => {}
        }
    }
    Err(last)
}
