//! What a seat map says. [`super::picture`] writes it by hand; these are its shape.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What a seat shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeatStatus {
    Available,
    Held,
    Sold,
}

impl SeatStatus {
    /// The word of it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Held => "held",
            Self::Sold => "sold",
        }
    }
}

/// A seat of the map.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Seat {
    pub number: i32,
    pub section: Option<String>,
    pub row: Option<String>,
    /// The name of its price, where it has one.
    pub tier: Option<String>,
    pub price: i64,
    pub status: SeatStatus,
}

/// All seats of a date, in the order of their numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SeatMap {
    pub schedule_id: Uuid,
    pub remaining: usize,
    pub sold_out: bool,
    pub seats: Vec<Seat>,
    pub available_seat_numbers: Vec<i32>,
}
