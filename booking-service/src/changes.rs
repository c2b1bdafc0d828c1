//! Who hears it when seats of a date change hands: the seat maps of this replica at once, the queue
//! service by a report of what is left. Other replicas follow the database.

use uuid::Uuid;

use crate::reports::Stock;
use crate::seat_maps::SeatMaps;

/// Passes changes on. Clones pass them to the same.
#[derive(Clone)]
pub struct Changes {
    maps: SeatMaps,
    stock: Stock,
}

impl Changes {
    /// To these.
    pub fn new(maps: SeatMaps, stock: Stock) -> Self {
        Self { maps, stock }
    }

    /// Seats of these dates have changed hands. Call after the commit: whoever looks before it may come
    /// too soon to see it.
    pub fn seats_of(&self, schedules: impl IntoIterator<Item = Uuid>) {
        let schedules: Vec<Uuid> = schedules.into_iter().collect();
        self.maps.touched(&schedules);
        self.stock.changed(&schedules);
    }
}
