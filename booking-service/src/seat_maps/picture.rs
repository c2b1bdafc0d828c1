//! A seat map as bytes.
//!
//! What never changes of a hall is written once ([`Plan`]): for each seat the JSON up to its status.
//! A version ([`Picture`]) copies these pieces and puts the words between them. The `ETag` is a digest
//! of the plan and of what each seat shows, the same on every replica.

use std::io::Write as _;
use std::sync::OnceLock;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use uuid::Uuid;

use super::hall::{SeatLine, State};
use super::model::SeatStatus;

/// What is before a seat's number.
const BEFORE_NUMBER: &str = r#"{"number":"#;
const BEFORE_STATUS: &str = r#","status":""#;
const AFTER_STATUS: &str = "\"}";
/// What ends the tag of a zipped map: other bytes, another tag.
pub const ZIPPED: &str = ".gz";

/// The part of a hall's map that never changes.
pub struct Plan {
    schedule: Uuid,
    /// One seat after another: its members up to the status.
    pieces: Vec<u8>,
    /// Where each seat's piece ends.
    ends: Vec<u32>,
    /// How many digits each number has.
    digits: Vec<u8>,
    digest: Vec<u8>,
}

/// One version of a map.
pub struct Picture {
    /// Without quotes.
    tag: String,
    etag: Bytes,
    zipped_etag: Bytes,
    body: Bytes,
    zipped: OnceLock<Bytes>,
    /// When the last hold ran out that it shows as such.
    true_from: Option<DateTime<Utc>>,
    /// When the next one does.
    true_until: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct Head<'a> {
    number: i32,
    section: Option<&'a str>,
    row: Option<&'a str>,
    tier: Option<&'a str>,
    price: i64,
}

impl Plan {
    /// Of a date's seats, in the order of their numbers.
    pub fn new(schedule: Uuid, seats: &[SeatLine]) -> Self {
        let (mut pieces, mut ends, mut digits) = (Vec::new(), Vec::new(), Vec::new());
        for seat in seats {
            let head = Head {
                number: seat.number,
                section: seat.section.as_deref(),
                row: seat.row.as_deref(),
                tier: seat.tier.as_deref(),
                price: seat.price,
            };
            // Plain fields into memory: nothing can fail.
            if serde_json::to_writer(&mut pieces, &head).is_ok() {
                pieces.pop();
            }
            pieces.extend_from_slice(BEFORE_STATUS.as_bytes());
            ends.push(u32::try_from(pieces.len()).unwrap_or(u32::MAX));
            digits.push(u8::try_from(seat.number.to_string().len()).unwrap_or(u8::MAX));
        }
        let mut context = Context::new(&SHA256);
        context.update(schedule.as_bytes());
        context.update(&pieces);
        let digest = context.finish().as_ref().to_vec();
        Self { schedule, pieces, ends, digits, digest }
    }

    /// The map at a moment of the database's.
    pub fn picture(&self, states: &[State], at: DateTime<Utc>) -> Picture {
        let shown: Vec<SeatStatus> = states.iter().map(|state| state.shown(at)).collect();
        let deadlines = states.iter().filter_map(|state| match state {
            State::Held { until } => Some(*until),
            State::Free | State::Sold => None,
        });
        let tag = self.tag(&shown);
        let etag = |end| Bytes::from(format!("\"{tag}{end}\""));
        Picture {
            etag: etag(""),
            zipped_etag: etag(ZIPPED),
            tag,
            body: self.body(&shown).into(),
            zipped: OnceLock::new(),
            true_from: deadlines.clone().filter(|until| *until <= at).max(),
            true_until: deadlines.filter(|until| *until > at).min(),
        }
    }

    fn tag(&self, shown: &[SeatStatus]) -> String {
        let mut context = Context::new(&SHA256);
        context.update(&self.digest);
        context.update(&shown.iter().map(|status| *status as u8).collect::<Vec<_>>());
        URL_SAFE_NO_PAD.encode(context.finish().as_ref())
    }

    fn body(&self, shown: &[SeatStatus]) -> Vec<u8> {
        let available = shown.iter().filter(|status| **status == SeatStatus::Available).count();
        let mut body = Vec::with_capacity(self.pieces.len() + shown.len() * 24 + 200);
        let sold_out = available == 0;
        let head = format!(
            r#"{{"schedule_id":"{}","remaining":{available},"sold_out":{sold_out},"seats":["#,
            self.schedule
        );
        body.extend_from_slice(head.as_bytes());
        for ((piece, _), status) in self.seats().zip(shown) {
            body.extend_from_slice(piece);
            body.extend_from_slice(status.word().as_bytes());
            body.extend_from_slice(AFTER_STATUS.as_bytes());
            body.push(b',');
        }
        close_list(&mut body);
        body.extend_from_slice(br#","available_seat_numbers":["#);
        for ((_, number), _) in self.seats().zip(shown).filter(|(_, s)| **s == SeatStatus::Available) {
            body.extend_from_slice(number);
            body.push(b',');
        }
        close_list(&mut body);
        body.push(b'}');
        body
    }

    /// Each seat's piece, and the digits of its number.
    fn seats(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut begin = 0;
        self.ends.iter().zip(&self.digits).map(move |(end, digits)| {
            let piece = &self.pieces[begin..*end as usize];
            begin = *end as usize;
            (piece, &piece[BEFORE_NUMBER.len()..BEFORE_NUMBER.len() + usize::from(*digits)])
        })
    }
}

/// Turns the last comma into the end of the list.
fn close_list(body: &mut Vec<u8>) {
    if body.last() == Some(&b',') {
        body.pop();
    }
    body.push(b']');
}

impl State {
    /// What a seat in this state shows at a moment of the database's.
    fn shown(self, at: DateTime<Utc>) -> SeatStatus {
        match self {
            Self::Held { until } if until > at => SeatStatus::Held,
            Self::Free | Self::Held { .. } => SeatStatus::Available,
            Self::Sold => SeatStatus::Sold,
        }
    }
}

impl Picture {
    /// Whether no deadline lies between what it shows and this moment, on either side.
    pub fn is_true_at(&self, at: DateTime<Utc>) -> bool {
        self.true_from.is_none_or(|from| from <= at) && self.true_until.is_none_or(|until| at < until)
    }

    /// What names this version; the same for the same bytes.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// What names it on the wire, as it is or zipped.
    pub fn etag(&self, zipped: bool) -> Bytes {
        if zipped { self.zipped_etag.clone() } else { self.etag.clone() }
    }

    /// As JSON.
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// The same, zipped; whoever asks first does the work.
    pub fn zipped(&self) -> Bytes {
        self.zipped.get_or_init(|| zip(&self.body)).clone()
    }

    /// The same, if somebody has done the work.
    pub fn zipped_before(&self) -> Option<Bytes> {
        self.zipped.get().cloned()
    }
}

fn zip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    // Into memory: nothing can fail.
    match encoder.write_all(body).and_then(|()| encoder.finish()) {
        Ok(zipped) => zipped.into(),
        Err(_) => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use serde_json::Value;

    use super::super::model::SeatStatus::{Available, Held, Sold};
    use super::super::model::{Seat, SeatMap};
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn hall(states: &[State]) -> (Plan, Vec<SeatLine>) {
        let seat = |(state, number): (&State, i32)| SeatLine {
            number,
            section: (number % 2 == 0).then(|| "Gallery \"left\"\n".to_owned()),
            row: (number % 3 == 0).then(|| "ä".to_owned()),
            tier: (number % 5 == 0).then(|| "VIP".to_owned()),
            price: i64::from(number) * 1000,
            state: *state,
        };
        let lines: Vec<SeatLine> = states.iter().zip([1, 9, 10, 11, 999, 12_345]).map(seat).collect();
        (Plan::new(Uuid::max(), &lines), lines)
    }

    /// What serde would write.
    fn expected(lines: &[SeatLine], shown: &[SeatStatus]) -> String {
        let seats: Vec<Seat> = lines
            .iter()
            .zip(shown)
            .map(|(line, status)| Seat {
                number: line.number,
                section: line.section.clone(),
                row: line.row.clone(),
                tier: line.tier.clone(),
                price: line.price,
                status: *status,
            })
            .collect();
        let available: Vec<i32> =
            seats.iter().filter(|seat| seat.status == Available).map(|seat| seat.number).collect();
        let map = SeatMap {
            schedule_id: Uuid::max(),
            remaining: available.len(),
            sold_out: available.is_empty(),
            seats,
            available_seat_numbers: available,
        };
        serde_json::to_string(&map).unwrap()
    }

    #[test]
    fn a_picture_is_what_serde_would_write() {
        let held = |seconds| State::Held { until: at(seconds) };
        let states = [State::Free, held(10), State::Sold, held(20), State::Free, held(5)];
        let (plan, lines) = hall(&states);
        for (now, shown) in [
            (0, [Available, Held, Sold, Held, Available, Held]),
            (5, [Available, Held, Sold, Held, Available, Available]),
            (10, [Available, Available, Sold, Held, Available, Available]),
            (99, [Available, Available, Sold, Available, Available, Available]),
        ] {
            let picture = plan.picture(&states, at(now));
            assert_eq!(String::from_utf8(picture.body().to_vec()).unwrap(), expected(&lines, &shown));
        }
        let (plan, lines) = hall(&[State::Sold; 6]);
        let body = plan.picture(&[State::Sold; 6], at(0)).body();
        assert_eq!(String::from_utf8(body.to_vec()).unwrap(), expected(&lines, &[Sold; 6]));
        serde_json::from_slice::<Value>(&body).unwrap();
    }

    #[test]
    fn a_picture_is_true_between_two_deadlines() {
        let states = [State::Held { until: at(10) }, State::Held { until: at(20) }];
        let (plan, _) = hall(&states);
        let picture = plan.picture(&states, at(12));
        assert!(picture.is_true_at(at(12)) && picture.is_true_at(at(19)));
        assert!(!picture.is_true_at(at(20)), "the second hold has run out");
        assert!(picture.is_true_at(at(10)) && !picture.is_true_at(at(9)), "the first had not");
    }

    #[test]
    fn the_tag_is_of_what_is_shown() {
        let (plan, _) = hall(&[State::Free; 3]);
        let tag = |states: &[State], now| plan.picture(states, at(now)).tag().to_owned();
        let free = tag(&[State::Free; 3], 0);
        let held = [State::Free, State::Held { until: at(5) }, State::Free];
        assert_ne!(free, tag(&held, 0));
        assert_eq!(free, tag(&held, 5));
        let (other, _) = hall(&[State::Free; 4]);
        assert_ne!(free, other.picture(&[State::Free; 3], at(0)).tag());
    }

    #[test]
    fn zipped_is_the_same() {
        let (plan, _) = hall(&[State::Free; 6]);
        let picture = plan.picture(&[State::Free; 6], at(0));
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&*picture.zipped()).read_to_end(&mut text).unwrap();
        assert_eq!(text, picture.body());
    }
}
