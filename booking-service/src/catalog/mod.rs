//! What there is to buy: concerts and their dates.
//!
//! Everything here reads, but for `admin`. What a date has left is judged on the database's clock in
//! the statement that reads it: a hold past its deadline counts as available at once, swept or not.
//! What each seat shows is `seat_maps`.

pub mod admin;
mod hall;
pub mod http;
mod model;
mod store;

use chrono::{DateTime, Utc};
use shared::page::{Page, PageOf};
use uuid::Uuid;

pub use model::{Concert, Dates, Invalid, Report, Schedule};

use crate::db::{self, Db};

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such concert")]
    ConcertNotFound,
    #[error("there is no such date")]
    ScheduleNotFound,
    #[error("the date has no seats yet")]
    SeatsNotReady,
    #[error(transparent)]
    Db(#[from] db::Error),
}

/// Concerts with a date on sale or to come on sale, by age.
pub async fn concerts(db: &Db, page: &PageOf<Uuid>) -> Result<Page<Concert>, Refusal> {
    list(db, page, Shown::Current).await
}

/// All concerts, by age.
pub async fn all_concerts(db: &Db, page: &PageOf<Uuid>) -> Result<Page<Concert>, Refusal> {
    list(db, page, Shown::All).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Current,
    All,
}

async fn list(db: &Db, page: &PageOf<Uuid>, shown: Shown) -> Result<Page<Concert>, Refusal> {
    let mut lane = db.lane().await?;
    let rows = store::concerts(&mut lane, db.offset_ms(), page, shown == Shown::Current).await?;
    Ok(page.cut(rows, |concert| concert.concert_id))
}

/// One concert, on sale or not.
pub async fn concert(db: &Db, id: Option<Uuid>) -> Result<Concert, Refusal> {
    let id = id.ok_or(Refusal::ConcertNotFound)?;
    store::concert(&mut *db.lane().await?, id).await?.ok_or(Refusal::ConcertNotFound)
}

/// The dates of a concert, the earliest first.
pub async fn schedules(
    db: &Db,
    concert: Uuid,
    dates: &Dates,
    page: &PageOf<(DateTime<Utc>, Uuid)>,
) -> Result<Page<Schedule>, Refusal> {
    let rows = store::schedules(&mut *db.lane().await?, db.offset_ms(), concert, dates, page).await?;
    Ok(page.cut(rows, |schedule| (schedule.starts_at, schedule.schedule_id)))
}

/// A date that exists, and the queue in front of it.
pub async fn existing_schedule(db: &Db, id: Option<Uuid>) -> Result<(Uuid, String), Refusal> {
    let id = id.ok_or(Refusal::ScheduleNotFound)?;
    let queue = queue_of_schedule(db, id).await?;
    Ok((id, queue.ok_or(Refusal::ScheduleNotFound)?))
}

/// The queue in front of a concert, if there is such a concert.
pub async fn queue_of_concert(db: &Db, id: Uuid) -> db::Result<Option<String>> {
    let concert = store::concert(&mut *db.lane().await?, id).await?;
    Ok(concert.map(|concert| concert.queue))
}

/// The queue in front of a date, if there is such a date.
pub async fn queue_of_schedule(db: &Db, id: Uuid) -> db::Result<Option<String>> {
    store::queue_of_schedule(&mut *db.lane().await?, id).await
}

/// The queues that dates of a concert have of their own.
pub async fn own_queues(db: &Db, concert: Uuid) -> Result<Vec<String>, Refusal> {
    Ok(store::own_queues(&mut *db.lane().await?, concert).await?)
}

/// How a date sells.
pub async fn report(db: &Db, id: Option<Uuid>) -> Result<Report, Refusal> {
    let id = id.ok_or(Refusal::ScheduleNotFound)?;
    store::report(&mut *db.lane().await?, db.offset_ms(), id).await?.ok_or(Refusal::ScheduleNotFound)
}
