//! What a shopper asks the booking service, what is known of its seats, and a shop to ask.
//!
//! ```text
//!   asks: requests, answers ─▶ shown: the last seat map that anybody has read, to choose from
//!                           └▶ owners: whose each seat is by the answers alone: never two people's at once
//!   house: a database of its own, a concert with a date, points for everybody
//! ```

mod asks;
mod house;
mod owners;
mod shown;

pub use asks::{
    Answered, Hold, SCHEDULE_CODES, answered, ask_charge, ask_hold, ask_map, ask_pay, ask_refund,
    ask_release, number_of, taken,
};
pub use house::{House, Terms};
pub use owners::{ONE_OWNER, Owners};
pub use shown::Shown;
