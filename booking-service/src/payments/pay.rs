//! The verb that pays a hold, with whatever payments of others come at the same time.
//!
//! ```text
//!   claim keys ─ lock reservations and seats ─ judge ─ exchange ─ remember ─ commit
//!                                                │         └ too few points: goes alone, and hears why
//!                                                └ refused: drops out, nothing of it is written
//! ```
//!
//! A payment that goes alone takes the same way, as a batch of one.

use std::collections::{HashMap, HashSet};
use std::slice;
use std::sync::Arc;

use shared::coalesce::Coalescer;
use shared::ids::new_id;
use shared::lifecycle::Lifecycle;
use uuid::Uuid;

use super::model::{Paid, Payable};
use super::store::{self, Claim, Exchanged, Met, NewPayment};
use super::{Pay, Payments, Refusal, Tools};
use crate::admitted::{self, Entry};
use crate::config::ReleaseOn;
use crate::crash;
use crate::db::{self, Conn, Tx};
use crate::holds::Status;
use crate::idempotency;
use crate::metrics;
use crate::retry;
use crate::together::{self, Apart, Batches, Draft, Fate};

/// What a payment has done.
#[derive(Debug)]
pub struct Sale {
    paid: Paid,
    schedule: Uuid,
    /// Entry tokens that ended with it.
    spent: Vec<Entry>,
}

/// Starts the batches.
pub fn start(tools: &Tools, lifecycle: &Lifecycle) -> Batches<Pay, Sale, Refusal> {
    let tools = tools.clone();
    let (batches, lanes) = Coalescer::new(together::SHAPE, move |wishes: Vec<Arc<Pay>>| {
        let tools = tools.clone();
        async move { tools.batch(&wishes).await }
    });
    together::start(lifecycle, "payments", lanes);
    batches
}

impl Payments {
    /// Pays a hold.
    pub async fn pay(&self, wish: Pay) -> Result<Paid, Refusal> {
        let paid = self.exchange(&Arc::new(wish)).await?.paid;
        metrics::one(metrics::PAYMENTS);
        metrics::many(metrics::POINTS_PAID, paid.amount.cast_unsigned());
        Ok(paid)
    }

    async fn exchange(&self, wish: &Arc<Pay>) -> Result<Sale, Refusal> {
        loop {
            match self.together.submit(wish.clone()).await.map_err(db::Error::from)?? {
                Fate::Done(sale) => return Ok(sale),
                Fate::Refused(refusal) => return Err(refusal),
                Fate::Again => {}
                Fate::Alone => {
                    let sale = retry::retried(|| self.tools.alone(wish)).await?;
                    self.tools.committed([&sale])?;
                    return Ok(sale);
                }
            }
        }
    }
}

impl Tools {
    async fn batch(&self, wishes: &[Arc<Pay>]) -> db::Result<Vec<Fate<Sale, Refusal>>> {
        let mut tx = self.db.begin_impatiently().await?;
        let outcome = self.exchange(&mut tx, wishes).await;
        let fates = together::end(tx, "payment", wishes.len(), outcome).await?;
        self.committed(fates.iter().filter_map(|fate| match fate {
            Fate::Done(sale) => Some(sale),
            _ => None,
        }))?;
        Ok(fates)
    }

    async fn alone(&self, wish: &Arc<Pay>) -> Result<Sale, Refusal> {
        let mut tx = self.db.begin().await?;
        let fates = self.exchange(&mut tx, slice::from_ref(wish)).await;
        let outcome = fates.and_then(|mut fates| match fates.pop() {
            Some(Fate::Done(sale)) => Ok(sale),
            Some(Fate::Refused(refusal)) => Err(refusal),
            _ => Err(db::Error::Failed("a payment alone has no fate".to_owned()).into()),
        });
        tx.end(outcome).await
    }

    /// Who hears of it.
    fn committed<'a>(&self, sales: impl IntoIterator<Item = &'a Sale>) -> db::Result<()> {
        crash::point("pay.committed")?;
        let (mut dates, mut spent) = (HashSet::new(), Vec::new());
        for sale in sales {
            dates.insert(sale.schedule);
            spent.extend(sale.spent.iter().cloned());
        }
        self.outbox.committed(&spent);
        self.changes.seats_of(dates);
        Ok(())
    }

    /// Points for seats. An error undoes all of it.
    async fn exchange(&self, tx: &mut Tx, wishes: &[Arc<Pay>]) -> Result<Vec<Fate<Sale, Refusal>>, Refusal> {
        let mut draft = set_apart(wishes);
        let open = draft.open();
        let intents: Vec<_> = open.iter().map(|wish| wishes[*wish].intent.as_ref()).collect();
        for (wish, claimed) in open.into_iter().zip(idempotency::claim_all(tx, &self.db, &intents).await?) {
            if let Err(refusal) = claimed {
                draft.decide(wish, Fate::Refused(refusal.into()));
            }
        }
        crash::point("pay.claimed")?;
        let payable = self.lock(tx, wishes, &mut draft).await?;
        crash::point("pay.locked")?;
        if payable.is_empty() {
            return Ok(draft.fates());
        }
        let mut sales = self.sell(tx, wishes, payable, &mut draft).await?;
        crash::point("pay.exchanged")?;
        let answers: Vec<_> =
            sales.iter().map(|(wish, sale)| (wishes[*wish].intent.as_ref(), &sale.paid)).collect();
        idempotency::remember_all(tx, &self.db, &answers).await?;
        crash::point("pay.remembered")?;
        for (wish, sale) in sales.drain(..) {
            draft.decide(wish, Fate::Done(sale));
        }
        Ok(draft.fates())
    }

    /// Locks what is to be paid; who cannot pay is refused.
    async fn lock(
        &self,
        tx: &mut Tx,
        wishes: &[Arc<Pay>],
        draft: &mut Draft<Sale, Refusal>,
    ) -> Result<Vec<(usize, Payable)>, Refusal> {
        let open = draft.open();
        let claims: Vec<_> = open.iter().map(|wish| wishes[*wish].claim()).collect();
        let met = store::lock_payable(tx, self.db.offset_ms(), &claims).await?;
        let mut payable = Vec::with_capacity(open.len());
        for (wish, met) in open.into_iter().zip(met) {
            match judge(tx, &wishes[wish], met).await? {
                Ok(found) => payable.push((wish, found)),
                Err(refusal) => draft.decide(wish, Fate::Refused(refusal)),
            }
        }
        Ok(payable)
    }

    /// Points for seats, of those who have enough. Under `RELEASE_ON=payment` the hold's entry token ends, and the one that is
    /// shown for it, which must not have ended before: two payments at once cannot both end it.
    async fn sell(
        &self,
        tx: &mut Tx,
        wishes: &[Arc<Pay>],
        payable: Vec<(usize, Payable)>,
        draft: &mut Draft<Sale, Refusal>,
    ) -> Result<Vec<(usize, Sale)>, Refusal> {
        let due: Vec<_> =
            payable.iter().map(|(wish, payable)| (wishes[*wish].caller.user(), payable.amount)).collect();
        let bills = self.points.bills(tx, &due).await?;
        let ending = |wish: usize, payable: &Payable| match self.release_on {
            ReleaseOn::Payment => payable.ending(wishes[wish].caller.entry()),
            ReleaseOn::Hold => Vec::new(),
        };
        let new = payable.iter().zip(bills).map(|((wish, payable), bill)| NewPayment {
            id: new_id(self.db.clock()),
            bill,
            reservation: payable.reservation_id,
            ending: self.outbox.messages(ending(*wish, payable)),
        });
        let new: Vec<_> = new.collect();
        let (mut exchanged, mut ended) = store::exchange(tx, self.db.offset_ms(), &new).await?;
        if let [NewPayment { bill, .. }] = &new[..]
            && exchanged.is_empty()
            && wishes.len() == 1
        {
            self.points.must_afford(tx, bill.user, bill.amount).await?;
            (exchanged, ended) = store::exchange(tx, self.db.offset_ms(), &new).await?;
        }
        let mut exchanged: HashMap<Uuid, Exchanged> =
            exchanged.into_iter().map(|it| (it.payment, it)).collect();
        let mut sales = Vec::with_capacity(new.len());
        for ((wish, payable), new) in payable.into_iter().zip(new) {
            let Some(done) = exchanged.remove(&new.id) else {
                draft.decide(wish, Fate::Alone);
                continue;
            };
            if usize::try_from(done.seats_sold) != Ok(payable.seats.len()) {
                return Err(Refusal::HoldExpired);
            }
            let paid_at = done.paid_at.ok_or(Refusal::HoldExpired)?;
            let spent: Vec<Entry> = new.ending.into_iter().map(|(entry, _)| entry).collect();
            let own = payable.own(wishes[wish].caller.entry());
            if !spent.is_empty() && own.is_some_and(|entry| !ended.contains(&entry.jti)) {
                return Err(admitted::Refusal::EntryCompleted.into());
            }
            let Payable { reservation_id, amount, seats, schedule_id: schedule, .. } = payable;
            let balance_after = done.balance_after;
            let paid = Paid { payment_id: new.id, reservation_id, amount, balance_after, paid_at, seats };
            sales.push((wish, Sale { paid, schedule, spent }));
        }
        Ok(sales)
    }
}

impl Pay {
    fn claim(&self) -> Claim<'_> {
        let jti = self.caller.entry().map(|entry| entry.jti.as_str());
        Claim { reservation: self.reservation, user: self.caller.user(), jti }
    }
}

/// Whoever pays twice in one batch, or shows the same token, goes again.
fn set_apart(wishes: &[Arc<Pay>]) -> Draft<Sale, Refusal> {
    let (mut apart, mut draft) = (Apart::new(), Draft::new(wishes.len()));
    for (index, wish) in wishes.iter().enumerate() {
        let claim = wish.claim();
        let things = [Some(("user", claim.user)), claim.jti.map(|jti| ("token", jti))];
        if !apart.takes(things.into_iter().flatten()) {
            draft.decide(index, Fate::Again);
        }
    }
    draft
}

/// What is in the way of paying, under the lock; beside it, trouble with the database.
async fn judge(conn: &mut Conn, wish: &Pay, met: Met) -> db::Result<Result<Payable, Refusal>> {
    let payable = match met.payable {
        _ if met.shown_is_spent => return Ok(Err(admitted::Refusal::EntryCompleted.into())),
        None => return Ok(Err(Refusal::ReservationNotFound)),
        Some(payable) => payable,
    };
    if !wish.caller.may_enter(&payable.queue) {
        return Ok(Err(admitted::Refusal::WrongQueue.into()));
    }
    Ok(match payable.status {
        Status::Held if payable.is_cancelled => Err(Refusal::NotHeld),
        Status::Held if payable.has_its_seats => Ok(payable),
        Status::Held | Status::Expired => Err(Refusal::HoldExpired),
        Status::Confirmed => {
            let payment = store::payment_of(conn, payable.reservation_id).await?;
            Err(Refusal::AlreadyPaid { payment })
        }
        Status::Cancelled | Status::Refunded => Err(Refusal::NotHeld),
    })
}
