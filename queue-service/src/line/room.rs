//! What one replica has running for one queue, and the verbs of the line.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use shared::clock::Clock;
use shared::coalesce::{Coalescer, Shape, Unanswered};
use shared::lifecycle::Lifecycle;
use tokio::sync::Notify;

use super::claims::Claims;
use super::feed::Claim;
use super::listeners::Listeners;
use super::model::{Ended, Scene, Standing};
use super::signs::{GRACE_MS, Signs};
use super::store::{self, Join, Left, Look, News, Seen, Verdict};
use super::view::{Sight, View};
use crate::keys::QueueKeys;
use crate::queues::model::QueueState;
use crate::queues::recent::Recent;
use crate::queues::{QueueId, Queues, Report};
use crate::redis::{Redis, StoreError, When};

/// Requests in one script call; keeps a call around a millisecond.
const BATCHES: Shape = Shape { lanes: 1, crowd: 1, max: 256, waiting: 8_192 };

/// A queue on this replica.
pub struct Room {
    pub id: QueueId,
    pub keys: QueueKeys,
    pub clock: Clock,
    pub redis: Redis,
    pub queues: Queues,
    /// What this replica calls itself among those that follow the queue.
    pub replica: String,
    /// Rung when something happened that admission may act on.
    pub bell: Notify,
    /// Whether the last step of admission left anybody in line.
    pub crowded: AtomicBool,
    pub view: View,
    pub signs: Signs,
    pub claims: Claims,
    pub listeners: Arc<Listeners>,
    polls_of_view: metrics::Counter,
    polls_of_store: metrics::Counter,
    recent: Recent,
    joins: Coalescer<Join, Seen, StoreError>,
    looks: Coalescer<Look, Seen, StoreError>,
}

/// A live place and the queue around it.
#[derive(Clone, Debug)]
pub struct Stay {
    pub user: String,
    pub place: u64,
    pub standing: Standing,
    pub scene: Arc<Scene>,
    /// The present time, which answers count from; the scene may be a moment older.
    pub now: DateTime<Utc>,
    /// Made by this call.
    pub fresh: bool,
}

/// Where a place in line stood a moment ago, by the view alone.
#[derive(Debug)]
pub struct Glance {
    place: u64,
    now_ms: i64,
    standing: Standing,
    scene: Arc<Scene>,
}

/// Why a verb of the line was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the queue is closed")]
    Closed,
    #[error("the queue is draining")]
    Draining,
    #[error("the user is in line already")]
    AlreadyInQueue,
    #[error("the place has ended")]
    Ended(Ended),
    #[error("the user has no place")]
    NoPlace,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

impl Room {
    /// Opens a room: its batches run until the process stops.
    pub fn open(id: QueueId, queues: Queues, redis: Redis, clock: Clock, lifecycle: &Lifecycle) -> Arc<Self> {
        let keys = queues.keys(&id);
        let context = (redis.clone(), keys.clone(), clock.clone());
        let (joins, run_joins) = Coalescer::new(BATCHES, move |joins: Vec<Join>| {
            let (redis, keys, clock) = context.clone();
            async move { store::join(&redis, &keys, When::now(&clock), &joins).await }
        });
        let context = (redis.clone(), keys.clone(), clock.clone());
        let (looks, run_looks) = Coalescer::new(BATCHES, move |looks: Vec<Look>| {
            let (redis, keys, clock) = context.clone();
            async move { store::look(&redis, &keys, When::now(&clock), &looks).await }
        });
        let context = (queues.clone(), id.clone());
        let (recent, run_reports) = Recent::new(clock.clone(), move || {
            let (queues, id) = context.clone();
            async move { queues.report(&id).await }
        });
        for (name, lanes) in [("joins", run_joins), ("polls", run_looks), ("reports", run_reports)] {
            for lane in lanes {
                lifecycle.spawn_support(name, lane);
            }
        }
        let polls = |answered_by| crate::metrics::polls(id.as_str(), answered_by);
        let (polls_of_view, polls_of_store) = (polls("view"), polls("store"));
        Arc::new(Self {
            id,
            keys,
            view: View::new(clock.clone()),
            clock,
            redis,
            queues,
            replica: format!("{:016x}", rand::random::<u64>()),
            bell: Notify::new(),
            crowded: AtomicBool::new(true),
            signs: Signs::default(),
            claims: Claims::default(),
            listeners: Arc::default(),
            polls_of_view,
            polls_of_store,
            recent,
            joins,
            looks,
        })
    }

    /// Takes a place in line, or finds the one the user has.
    pub async fn join(&self, user: &str, lane: Option<&str>) -> Result<Stay, Refusal> {
        let join = Join { user: user.to_owned(), lane: lane.unwrap_or_default().to_owned() };
        let seen = self.joins.submit(join).await??;
        if let Verdict::Stands { news, .. } = seen.verdict
            && news != News::Known
        {
            self.crowded.store(true, Ordering::Relaxed);
            self.bell.notify_one();
            if news == News::Replaced {
                self.view.settle().await;
            }
        }
        self.stay(user, seen).await.map_err(|refusal| match refusal {
            Refusal::Ended(Ended::QueueClosed) => Refusal::Closed,
            other => other,
        })
    }

    /// Polls: the standing of a place (or of whatever place the user has), and a sign of life.
    pub async fn look(&self, user: &str, place: Option<u64>) -> Result<Stay, Refusal> {
        self.view.refresh().await;
        if let Some(stay) = place.and_then(|place| self.glance(user, place)) {
            self.polls_of_view.increment(1);
            return Ok(stay);
        }
        self.polls_of_store.increment(1);
        // Boxed: few polls come here, and each has room for what it may wait for.
        Box::pin(async {
            let seen = self.looks.submit(Look { user: user.to_owned(), place }).await??;
            self.stay(user, seen).await
        })
        .await
    }

    /// The standing of a place that is in line, by the view alone; `None` when only Redis can tell.
    fn glance(&self, user: &str, place: u64) -> Option<Stay> {
        self.heed(user, self.standing(place, self.view.sight(place))?)
    }

    /// As [`Room::glance`] for somebody who does not wait, in two steps: this one changes nothing.
    pub fn glance_at_once(&self, place: u64) -> Option<Glance> {
        self.standing(place, self.view.fresh_sight(place)?)
    }

    /// The second step: a sign of life; `None` when only Redis can tell.
    pub fn heed_at_once(&self, user: &str, glance: Glance) -> Option<Stay> {
        let stay = self.heed(user, glance)?;
        self.polls_of_view.increment(1);
        Some(stay)
    }

    fn standing(&self, place: u64, (now_ms, sight): (i64, Sight)) -> Option<Glance> {
        let Sight::InLine { position } = sight else { return None };
        let scene = self.view.scene()?;
        let standing = match scene.state {
            QueueState::Closed => return None,
            // Whether it has opened since is for Redis to say.
            QueueState::Scheduled if scene.opens_at.is_none_or(|at| at.timestamp_millis() <= now_ms) => {
                return None;
            }
            QueueState::Scheduled => Standing::Scheduled,
            _ if scene.opens_at.is_some_and(|at| at.timestamp_millis() > now_ms) => Standing::Scheduled,
            _ => Standing::Waiting { position: position? },
        };
        Some(Glance { place, now_ms, standing, scene })
    }

    fn heed(&self, user: &str, Glance { place, now_ms, standing, scene }: Glance) -> Option<Stay> {
        let silence_ms = i64::try_from(scene.waiting_ttl_ms).unwrap_or(i64::MAX);
        let lapses = standing != Standing::Scheduled && silence_ms > 0;
        let since_ms = scene.silence_since().map_or(0, |at| at.timestamp_millis());
        let is_alive = |last: Option<i64>| {
            !lapses || last.is_some_and(|last| now_ms <= last.max(since_ms) + silence_ms + GRACE_MS)
        };
        if !self.signs.mark_if(place, now_ms, is_alive) {
            return None;
        }
        let now = DateTime::from_timestamp_millis(now_ms)?.max(scene.now);
        Some(Stay { user: user.to_owned(), place, standing, scene, now, fresh: false })
    }

    /// The queue's numbers for everybody: a moment old, and never of another state than polls tell.
    pub async fn recent_report(&self) -> Result<Arc<Report>, Refusal> {
        self.view.refresh().await;
        let scene = self.view.scene();
        let is_so = |report: &Report| {
            scene
                .as_ref()
                .is_some_and(|scene| (scene.state, scene.opens_at) == (report.state, report.opens_at))
        };
        Ok(self.recent.report(is_so).await??)
    }

    /// Ends a stay, for every replica. Leaving twice is leaving once.
    pub async fn leave(&self, user: &str, place: Option<u64>) -> Result<(), StoreError> {
        let look = Look { user: user.to_owned(), place };
        let left = store::leave(&self.redis, &self.keys, When::now(&self.clock), &look).await?;
        if left != Left::Nothing {
            self.claims.forget(user);
            self.bell.notify_one();
        }
        if left == Left::PlaceInLine {
            self.view.settle().await;
        }
        Ok(())
    }

    async fn stay(&self, user: &str, Seen { scene, verdict }: Seen) -> Result<Stay, Refusal> {
        self.view.hear_newer_scene(&scene);
        let (place, standing, news) = match verdict {
            Verdict::Stands { place, standing, news } => (place, standing, news),
            Verdict::Ended(ended) => return Err(Refusal::Ended(ended)),
            Verdict::NoPlace => return Err(Refusal::NoPlace),
            Verdict::AlreadyInQueue => return Err(Refusal::AlreadyInQueue),
            Verdict::Draining => return Err(Refusal::Draining),
        };
        let is_connected = self.view.is_connected(place).await;
        if is_connected {
            self.view.hear_place(place);
        }
        let standing = match standing {
            // Told by the view, as every replica tells it: Redis is ahead of it.
            Standing::Waiting { position } if is_connected => {
                self.view.refresh().await;
                Standing::Waiting { position: self.view.position_soon(place).await.unwrap_or(position) }
            }
            other => other,
        };
        match &standing {
            Standing::Active(admission) => {
                let claim = Claim { user: user.to_owned(), place, admission: admission.clone() };
                self.claims.note(claim, scene.now.timestamp());
                self.view.until_shown(place).await;
            }
            _ => self.signs.mark(place, scene.now.timestamp_millis()),
        }
        let now = scene.now;
        Ok(Stay { user: user.to_owned(), place, standing, scene, now, fresh: news != News::Known })
    }
}
