//! A standing as a stream: one status at once, one at each change, an end.
//!
//! A listener in line is answered from the view and costs Redis nothing. It is woken when something became
//! of its place or of the queue, and else looks as often as a poll would (near the front twice a second):
//! that is also its sign of life. Only who is let in asks Redis: once to claim, then when the slot
//! is given up or the token may be renewed.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio_util::sync::CancellationToken;

use super::listeners::Listening;
use super::room::{Refusal, Room, Stay};
use super::{Ended, Standing};
use crate::queues::model::QueueState;

const NEAR: u64 = 100;
const NEAR_PAUSE: Duration = Duration::from_millis(500);
/// Redis is away: what is known stands.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// After the end of a token, so that the look finds it ended.
const AFTER_END: Duration = Duration::from_millis(50);
/// What became of the place between the first look and the listening is found by a second look.
const SECOND_LOOK: Duration = Duration::from_millis(50);

/// What a listener is told.
#[derive(Debug)]
pub enum LineEvent {
    /// Something changed.
    Status(Box<Stay>),
    /// The place has ended; nothing follows.
    Ended(Ended),
    /// This replica stops; come back after so long.
    ComeBack(Duration),
}

/// The standing of one place from now on.
pub struct Listener {
    room: Arc<Room>,
    user: String,
    place: u64,
    stopping: CancellationToken,
    listening: Listening,
    /// What was told last; `None` before the first status.
    told: Option<Told>,
    pause: Duration,
    over: bool,
}

/// The parts of a status whose change is worth telling.
type Told = (Standing, QueueState);

impl Listener {
    /// Begins with a standing that was just looked at.
    pub fn new(room: Arc<Room>, stay: &Stay, stopping: CancellationToken) -> Self {
        let listening = room.listeners.listen(stay.place);
        let (user, place) = (stay.user.clone(), stay.place);
        Self { room, user, place, stopping, listening, told: None, pause: NEAR_PAUSE, over: false }
    }

    /// The stream; it looks only while it is read.
    pub fn events(self, first: Stay) -> Pin<Box<dyn Stream<Item = LineEvent> + Send>> {
        Box::pin(futures_util::stream::unfold((self, Some(first)), |(mut this, first)| async move {
            let event = match first {
                Some(stay) => this.tell(stay),
                None => this.next().await,
            }?;
            Some((event, (this, None)))
        }))
    }

    fn tell(&mut self, stay: Stay) -> Option<LineEvent> {
        self.pause = if self.told.is_none() { SECOND_LOOK } else { pause_after(&stay) };
        let told = (stay.standing.clone(), stay.scene.state);
        if self.told.as_ref() == Some(&told) {
            return None;
        }
        self.told = Some(told);
        Some(LineEvent::Status(Box::new(stay)))
    }

    async fn next(&mut self) -> Option<LineEvent> {
        if self.over {
            return None;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.pause) => {}
                rung = self.listening.bell.changed() => drop(rung),
                changed = self.listening.state.changed() => drop(changed),
                () = self.stopping.cancelled() => {
                    self.over = true;
                    let jitter = rand::random_range(1_000..5_000);
                    return Some(LineEvent::ComeBack(Duration::from_millis(jitter)));
                }
            }
            match self.room.look(&self.user, Some(self.place)).await {
                Ok(stay) => {
                    if let Some(event) = self.tell(stay) {
                        return Some(event);
                    }
                }
                Err(Refusal::Ended(ended)) => {
                    self.over = true;
                    return Some(LineEvent::Ended(ended));
                }
                Err(Refusal::NoPlace) => {
                    self.over = true;
                    return Some(LineEvent::Ended(Ended::Expired));
                }
                // The store is away for a moment: the listener keeps what it knows.
                Err(_) => self.pause = RETRY_PAUSE,
            }
        }
    }
}

fn pause_after(Stay { place, standing, scene, now, .. }: &Stay) -> Duration {
    let as_a_poll = || Duration::from_millis(scene.poll_after_ms(*place, standing, *now, rand::random()));
    match standing {
        Standing::Waiting { position } if *position <= NEAR => NEAR_PAUSE.min(as_a_poll()),
        Standing::Active(admission) if !scene.renews => {
            let left = admission.exp * 1000 - now.timestamp_millis();
            Duration::from_millis(u64::try_from(left).unwrap_or(0)) + AFTER_END
        }
        Standing::Scheduled => {
            let left = scene.opens_at.map_or(0, |at| (at - *now).num_milliseconds());
            as_a_poll().min(Duration::from_millis(u64::try_from(left).unwrap_or(0)) + AFTER_END)
        }
        _ => as_a_poll(),
    }
}
