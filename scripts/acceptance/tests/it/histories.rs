//! Histories of concurrent clients, and the checker that judges them; see [`acceptance::histories`].
//!
//! `toy` is a shop in memory, `bugs` shows that the checker finds each mistake that is put into it and finds none
//! in the correct one; `real` records histories of the service, `given_up` is what they found.

mod bugs;
mod given_up;
mod real;
mod toy;
