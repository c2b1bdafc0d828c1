//! A standing as a stream: one status at once, one at each change, an end.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio_util::sync::CancellationToken;

use super::room::{Refusal, Room, Stay};
use super::{Ended, Standing};
use crate::queues::model::QueueState;

/// How often the standing of a listener near the front is looked at; others wait as long as a poll
/// would. The looks of all listeners share batches.
const PAUSE: Duration = Duration::from_millis(500);
const NEAR: u64 = 100;

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
    pub room: Arc<Room>,
    pub user: String,
    pub place: Option<u64>,
    pub stopping: CancellationToken,
    /// What was told last; `None` before the first status.
    told: Option<Told>,
    pause: Duration,
    over: bool,
}

/// The parts of a status whose change is worth telling.
type Told = (Standing, QueueState);

impl Listener {
    /// Begins with a standing that was just looked at.
    pub fn new(room: Arc<Room>, user: String, place: Option<u64>, stopping: CancellationToken) -> Self {
        Self { room, user, place, stopping, told: None, pause: PAUSE, over: false }
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
        self.pause = match stay.standing {
            Standing::Waiting { position } if position > NEAR => {
                Duration::from_millis(stay.scene.poll_after_ms(&stay.standing, rand::random()))
            }
            _ => PAUSE,
        };
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
                () = self.stopping.cancelled() => {
                    self.over = true;
                    let jitter = rand::random_range(1_000..5_000);
                    return Some(LineEvent::ComeBack(Duration::from_millis(jitter)));
                }
            }
            match self.room.look(&self.user, self.place).await {
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
                Err(_) => {}
            }
        }
    }
}
