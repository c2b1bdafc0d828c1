//! What operators do with the catalogue.

pub mod http;
mod model;
mod store;

use shared::ids::new_id;
use uuid::Uuid;

use super::model::{Concert, Invalid, Schedule, Times};
use super::store as catalog;
use crate::changes::Changes;
use crate::db::{self, Db};
pub use model::{ConcertBody, ConcertPatch, ScheduleBody, SchedulePatch};

/// Why an operator is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such concert")]
    ConcertNotFound,
    #[error("there is no such date")]
    ScheduleNotFound,
    #[error("the date was cancelled")]
    ScheduleCancelled,
    #[error("the date has seats")]
    SeatsExist,
    #[error("{0:?}")]
    Invalid(Invalid),
    #[error(transparent)]
    Db(#[from] db::Error),
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// Makes a concert.
pub async fn create_concert(db: &Db, body: ConcertBody) -> Result<Concert, Refusal> {
    let body = body.check()?;
    let id = new_id(db.clock());
    Ok(store::insert_concert(&mut *db.lane().await?, db.offset_ms(), id, &body.title, &body.queue).await?)
}

/// Changes a concert.
pub async fn change_concert(db: &Db, id: Uuid, patch: ConcertPatch) -> Result<Concert, Refusal> {
    let patch = patch.check()?;
    let changed = store::update_concert(&mut *db.lane().await?, id, patch.title, patch.queue).await?;
    changed.ok_or(Refusal::ConcertNotFound)
}

/// Makes a date, with its seats where they are given.
pub async fn create_schedule(
    db: &Db,
    changes: &Changes,
    concert: Uuid,
    body: ScheduleBody,
) -> Result<Schedule, Refusal> {
    let (new, seats) = body.check()?;
    let id = new_id(db.clock());
    let mut tx = db.begin().await?;
    store::insert_schedule(&mut tx, db.offset_ms(), id, concert, &new).await?;
    store::insert_seats(&mut tx, id, &seats).await?;
    tx.commit().await?;
    changes.seats_of([id]);
    schedule(db, id).await
}

/// Changes a date; seats only where it has none yet.
pub async fn change_schedule(
    db: &Db,
    changes: &Changes,
    id: Uuid,
    patch: SchedulePatch,
) -> Result<Schedule, Refusal> {
    let mut tx = db.begin().await?;
    let (old, is_cancelled) = store::lock_schedule(&mut tx, id).await?.ok_or(Refusal::ScheduleNotFound)?;
    if is_cancelled {
        return Err(Refusal::ScheduleCancelled);
    }
    let (new, seats) = patch.apply(old)?;
    store::update_schedule(&mut tx, id, &new).await?;
    if !seats.is_empty() {
        if store::has_seats(&mut tx, id).await? {
            return Err(Refusal::SeatsExist);
        }
        store::insert_seats(&mut tx, id, &seats).await?;
    }
    tx.commit().await?;
    changes.seats_of([id]);
    schedule(db, id).await
}

async fn schedule(db: &Db, id: Uuid) -> Result<Schedule, Refusal> {
    let found = catalog::schedule(&mut *db.lane().await?, db.offset_ms(), id).await?;
    found.ok_or(Refusal::ScheduleNotFound)
}

/// What a date is made of, beside its seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    pub times: Times,
    pub max_seats_per_user: Option<i32>,
    /// `None`: the concert's.
    pub queue: Option<String>,
}
