//! Answers of the service, as outcomes.

use chrono::DateTime;
use serde_json::Value;
use uuid::Uuid;

use super::history::{Answer, Kind, Outcome, Reservation, Row, Shown, Status, Wish};

/// What an answer to `wish` says. A 5xx leaves open whether it was done, but for a 500, which should never be said
/// and is a refusal by the name `internal`; a success that cannot be read is a failure of the test.
pub fn outcome(wish: &Wish, status: u16, body: &str) -> Outcome {
    let json: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    match status {
        200..300 => {
            let answer = answer(wish, &json);
            Outcome::Ok(answer.unwrap_or_else(|| panic!("{wish:?} was answered {status} {body}")))
        }
        400..=500 => Outcome::Refused {
            code: json["code"].as_str().unwrap_or("(no code)").to_owned(),
            seats: numbers(&json["seat_numbers"]),
            balance: json["balance"].as_i64(),
            amount: json["amount"].as_i64(),
        },
        _ => Outcome::Lost,
    }
}

fn answer(wish: &Wish, json: &Value) -> Option<Answer> {
    Some(match wish {
        Wish::Hold { .. } => Answer::Held(reservation(json)?),
        Wish::ReadReservation { .. } => Answer::Reservation(reservation(json)?),
        Wish::Release { .. } => Answer::Released,
        Wish::Pay { .. } => Answer::Paid {
            payment: id(&json["payment_id"])?,
            reservation: id(&json["reservation_id"])?,
            amount: json["amount"].as_i64()?,
            balance: json["balance_after"].as_i64()?,
            paid_at: micros(&json["paid_at"])?,
            seats: seats(&json["seats"]),
        },
        Wish::Refund { .. } => Answer::Refunded {
            payment: id(&json["payment_id"])?,
            amount: json["amount"].as_i64()?,
            balance: json["balance_after"].as_i64()?,
            refunded_at: micros(&json["refunded_at"])?,
        },
        Wish::Charge { .. } | Wish::Use { .. } => Answer::Moved {
            entry: id(&json["entry_id"])?,
            amount: match wish {
                Wish::Use { .. } => -json["amount"].as_i64()?,
                _ => json["amount"].as_i64()?,
            },
            balance: json["balance"].as_i64()?,
        },
        Wish::ReadBalance => Answer::Balance(json["balance"].as_i64()?),
        Wish::ReadMap => Answer::Map(map(json)?),
        Wish::ReadHistory => Answer::History(page(json)?),
    })
}

/// A reservation, as every answer has it.
pub fn reservation(json: &Value) -> Option<Reservation> {
    Some(Reservation {
        id: id(&json["reservation_id"])?,
        status: Status::parse(json["status"].as_str()?)?,
        seats: seats(&json["seats"]),
        amount: json["amount"].as_i64()?,
        held_at: micros(&json["held_at"])?,
        expires_at: micros(&json["expires_at"])?,
        payment: id(&json["payment_id"]),
    })
}

/// A row of the ledger.
pub fn row(json: &Value) -> Option<Row> {
    Some(Row {
        entry: id(&json["entry_id"])?,
        kind: Kind::parse(json["kind"].as_str()?)?,
        amount: json["amount"].as_i64()?,
        balance_after: json["balance_after"].as_i64()?,
        payment: id(&json["payment_id"]),
        at: micros(&json["at"])?,
    })
}

fn page(json: &Value) -> Option<Vec<Row>> {
    json["items"].as_array()?.iter().map(row).collect()
}

fn map(json: &Value) -> Option<Vec<(i32, Shown)>> {
    let one = |seat: &Value| {
        let shown = match seat["status"].as_str()? {
            "available" => Shown::Available,
            "held" => Shown::Held,
            "sold" => Shown::Sold,
            _ => return None,
        };
        Some((i32::try_from(seat["number"].as_i64()?).ok()?, shown))
    };
    json["seats"].as_array()?.iter().map(one).collect()
}

/// Numbers of seats, in order.
fn seats(json: &Value) -> Vec<i32> {
    let numbers: Vec<Value> =
        json.as_array().into_iter().flatten().map(|seat| seat["number"].clone()).collect();
    let mut numbers = self::numbers(&Value::Array(numbers));
    numbers.sort_unstable();
    numbers
}

fn numbers(json: &Value) -> Vec<i32> {
    let numbers = json.as_array().into_iter().flatten().filter_map(Value::as_i64);
    numbers.filter_map(|number| i32::try_from(number).ok()).collect()
}

fn id(json: &Value) -> Option<Uuid> {
    json.as_str()?.parse().ok()
}

fn micros(json: &Value) -> Option<i64> {
    DateTime::parse_from_rfc3339(json.as_str()?).ok().map(|at| at.timestamp_micros())
}
