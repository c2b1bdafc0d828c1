//! Holds of named seats, made and looked at together.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use shared::coalesce::{Coalescer, Shape};
use shared::ids::new_id;
use shared::lifecycle::Lifecycle;
use uuid::Uuid;

use super::store::{self, NewHold, Taken};
use super::{Place, Rules, spend};
use crate::admitted::Entry;
use crate::changes::Changes;
use crate::config::ReleaseOn;
use crate::crash;
use crate::db::{self, Conn, Db, Tx};
use crate::holds::Refusal;
use crate::holds::model::Reservation;
use crate::holds::wish::{Look, Wanted};
use crate::idempotency;
use crate::outbox::Outbox;
use crate::together::{self, Apart, Batches, Draft, Fate};

const VERB: &str = "hold";
/// Looks write nothing: more of them go together.
const LOOKS: Shape = Shape { max: 256, ..together::SHAPE };
/// The most dates that are known to limit the seats of a user.
const LIMITED: usize = 100_000;

/// The batches.
pub struct Together {
    takes: Batches<Place, Reservation, Refusal>,
    looks: Coalescer<Arc<Place>, Look, db::Error>,
    limited: Arc<Limited>,
}

/// Dates that were seen to limit the seats of a user. Decides nothing: who does not line up where it is needed
/// is not given seats, and lines up the next time.
#[derive(Default)]
struct Limited(RwLock<HashSet<Uuid>>);

/// What the batches are made with.
#[derive(Clone)]
pub struct Tools {
    pub db: Db,
    pub outbox: Outbox,
    pub changes: Changes,
    pub rules: Rules,
}

impl Together {
    /// Starts the batches.
    pub fn start(tools: &Tools, lifecycle: &Lifecycle) -> Self {
        let limited = Arc::<Limited>::default();
        let work = Arc::new(Work { tools: tools.clone(), limited: limited.clone() });
        let takes = together::start(lifecycle, "holds", together::SHAPE, move |wishes: Vec<Arc<Place>>| {
            let work = work.clone();
            async move { work.batch(&wishes).await }
        });
        let db = tools.db.clone();
        let looks = together::start(lifecycle, "looks at holds", LOOKS, move |wishes: Vec<Arc<Place>>| {
            let db = db.clone();
            async move {
                let questions: Vec<_> = wishes.iter().map(|wish| wish.question()).collect();
                store::look(&mut *db.lane().await?, db.offset_ms(), &questions).await
            }
        });
        Self { takes, looks, limited }
    }

    /// Takes the seats, with whoever comes at the same time.
    pub async fn take(&self, wish: &Arc<Place>) -> db::Result<Fate<Reservation, Refusal>> {
        self.takes.submit(wish.clone()).await?
    }

    /// What is in the way of a wish.
    pub async fn look(&self, wish: &Arc<Place>) -> db::Result<Look> {
        self.looks.submit(wish.clone()).await?
    }

    /// Whether a look has taught that the date limits the seats of a user, which was not known before.
    pub fn learn(&self, look: &Look, wish: &Place) -> bool {
        let limit = look.date.as_ref().and_then(|date| date.limit);
        limit.and(wish.schedule).is_some_and(|schedule| self.limited.learn(schedule))
    }
}

impl Limited {
    fn knows(&self, schedule: Uuid) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&schedule)
    }

    fn learn(&self, schedule: Uuid) -> bool {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= LIMITED {
            known.clear();
        }
        known.insert(schedule)
    }
}

struct Work {
    tools: Tools,
    limited: Arc<Limited>,
}

/// What two wishes of one batch must not both want.
#[derive(PartialEq, Eq, Hash)]
enum Thing<'a> {
    /// A key, or a place under the limit.
    Of(&'a str),
    Token(&'a str),
    Seat(Uuid, i32),
}

impl Work {
    async fn batch(&self, wishes: &[Arc<Place>]) -> db::Result<Vec<Fate<Reservation, Refusal>>> {
        let mut spent = Vec::new();
        let fates = if self.is_one_statement(wishes) {
            let mut lane = self.tools.db.lane().await?;
            let outcome = self.take_at_a_stroke(&mut lane, wishes).await;
            together::judge(VERB, wishes.len(), outcome)?
        } else {
            let mut tx = self.tools.db.begin_impatiently().await?;
            let outcome = self.take(&mut tx, wishes, &mut spent).await;
            together::end(tx, VERB, wishes.len(), outcome).await?
        };
        crash::point("hold.committed")?;
        let dates = fates.iter().filter_map(|fate| match fate {
            Fate::Done(held) => Some(held.schedule_id),
            _ => None,
        });
        let dates: HashSet<Uuid> = dates.collect();
        if !dates.is_empty() {
            self.tools.outbox.committed(&spent);
            self.tools.changes.seats_of(dates);
        }
        Ok(fates)
    }

    /// Whether nothing has to be done but to take: a statement is a transaction by itself.
    fn is_one_statement(&self, wishes: &[Arc<Place>]) -> bool {
        let is_bare = |wish: &Arc<Place>| {
            wish.intent.is_none() && wish.schedule.is_none_or(|schedule| !self.limited.knows(schedule))
        };
        self.tools.rules.release_on == ReleaseOn::Payment && wishes.iter().all(is_bare)
    }

    /// In one round trip. It waits for no lock: the seats that somebody has are passed over, and nothing else is shared.
    async fn take_at_a_stroke(
        &self,
        conn: &mut Conn,
        wishes: &[Arc<Place>],
    ) -> Result<Vec<Fate<Reservation, Refusal>>, Refusal> {
        let mut draft = set_apart(wishes);
        let (asking, new) = self.new_holds(wishes, &draft);
        for (wish, taken) in self.seats(conn, asking, &new).await? {
            draft.decide(wish, Fate::Done(taken.reservation));
        }
        Ok(draft.fates())
    }

    /// The work of the transaction, and the entry tokens that it has spent.
    async fn take(
        &self,
        tx: &mut Tx,
        wishes: &[Arc<Place>],
        spent: &mut Vec<Entry>,
    ) -> Result<Vec<Fate<Reservation, Refusal>>, Refusal> {
        let Tools { db, outbox, rules, .. } = &self.tools;
        let mut draft = set_apart(wishes);
        let open = draft.open();
        let intents: Vec<_> = open.iter().map(|wish| wishes[*wish].intent.as_ref()).collect();
        for (wish, claimed) in open.into_iter().zip(idempotency::claim_all(tx, db, &intents).await?) {
            if let Err(refusal) = claimed {
                draft.decide(wish, Fate::Refused(refusal.into()));
            }
        }
        crash::point("hold.claimed")?;
        let (asking, new) = self.new_holds(wishes, &draft);
        let buyers: Vec<_> =
            new.iter().filter(|hold| hold.lined_up).map(|hold| (hold.schedule, hold.user)).collect();
        if !buyers.is_empty() {
            store::line_up(tx, &buyers).await?;
        }
        crash::point("hold.lined_up")?;
        let taken = self.seats(tx, asking, &new).await?;
        crash::point("hold.taken")?;
        let ending =
            taken.iter().filter_map(|(wish, taken)| rules.ending(taken, wishes[*wish].caller.entry()));
        spent.extend(ending.cloned());
        spend(outbox, tx, spent).await?;
        crash::point("hold.spent")?;
        let answers: Vec<_> =
            taken.iter().map(|(wish, taken)| (wishes[*wish].intent.as_ref(), &taken.reservation)).collect();
        idempotency::remember_all(tx, db, &answers).await?;
        crash::point("hold.remembered")?;
        for (wish, taken) in taken {
            draft.decide(wish, Fate::Done(taken.reservation));
        }
        Ok(draft.fates())
    }

    /// The wishes that are open, and the holds that would fulfil them.
    fn new_holds<'a>(
        &self,
        wishes: &'a [Arc<Place>],
        draft: &Draft<Reservation, Refusal>,
    ) -> (Vec<usize>, Vec<NewHold<'a>>) {
        draft.open().into_iter().filter_map(|wish| Some((wish, self.new_hold(&wishes[wish])?))).unzip()
    }

    /// Takes what can be taken; each beside its wish.
    async fn seats(
        &self,
        conn: &mut Conn,
        asking: Vec<usize>,
        new: &[NewHold<'_>],
    ) -> db::Result<Vec<(usize, Taken)>> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let by_id: HashMap<Uuid, usize> = new.iter().map(|hold| hold.id).zip(asking).collect();
        let (db, ttl_seconds) = (&self.tools.db, self.tools.rules.ttl_seconds);
        let taken = store::take(conn, db.offset_ms(), ttl_seconds, new).await?;
        let of = |taken: Taken| Some((*by_id.get(&taken.reservation.reservation_id)?, taken));
        Ok(taken.into_iter().filter_map(of).collect())
    }

    /// The hold that would fulfil a wish; `None` when no statement could make it, whatever there is: the look
    /// will say why.
    fn new_hold<'a>(&self, wish: &'a Place) -> Option<NewHold<'a>> {
        let (schedule, numbers) = (wish.schedule?, wish.wanted.named());
        let possible =
            wish.wanted.count() == numbers.len() && numbers.len() <= self.tools.rules.max_seats as usize;
        possible.then(|| NewHold {
            id: new_id(self.tools.db.clock()),
            user: wish.caller.user(),
            schedule,
            confined_to: wish.caller.confined_to(),
            entry: wish.caller.entry(),
            numbers,
            lined_up: self.limited.knows(schedule),
        })
    }
}

/// Whoever wants what an earlier one wants goes again.
fn set_apart(wishes: &[Arc<Place>]) -> Draft<Reservation, Refusal> {
    let (mut apart, mut draft) = (Apart::new(), Draft::new(wishes.len()));
    for (index, wish) in wishes.iter().enumerate() {
        let mut things = vec![Thing::Of(wish.caller.user())];
        things.extend(wish.jti().map(Thing::Token));
        if let (Some(schedule), Wanted::Named(numbers)) = (wish.schedule, &wish.wanted) {
            things.extend(numbers.possible().into_iter().map(|number| Thing::Seat(schedule, number)));
        }
        if !apart.takes(things) {
            draft.decide(index, Fate::Again);
        }
    }
    draft
}
