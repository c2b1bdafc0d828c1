//! The verb that pays a hold, with whatever payments of others come at the same time.
//!
//! ```text
//!   claim keys ─ lock reservations and seats ─ judge ─ debit ─ record ─ spend ─ remember ─ commit
//!                                                │       └ too few points: goes alone, and hears why
//!                                                └ refused: drops out, nothing of it is written
//! ```
//!
//! A payment that goes alone takes the same way, as a batch of one.

use std::collections::{HashMap, HashSet};
use std::slice;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use shared::coalesce::Coalescer;
use shared::ids::new_id;
use shared::lifecycle::Lifecycle;
use uuid::Uuid;

use super::model::{Paid, Payable};
use super::store::{self, Claim, Met};
use super::{Pay, Payments, Refusal, Tools};
use crate::admitted::{self, Entry};
use crate::config::ReleaseOn;
use crate::crash;
use crate::db::{self, Conn, Tx};
use crate::holds::Status;
use crate::idempotency;
use crate::metrics;
use crate::points::Fee;
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

/// A payment on its way: of which wish, and what of.
struct Exchange {
    wish: usize,
    payment: Uuid,
    payable: Payable,
    balance_after: i64,
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
        let exchanges = self.debit(tx, wishes, payable, &mut draft).await?;
        crash::point("pay.debited")?;
        if exchanges.is_empty() {
            return Ok(draft.fates());
        }
        let paid_at = self.record(tx, &exchanges).await?;
        crash::point("pay.recorded")?;
        let mut sales = self.spend(tx, wishes, exchanges, &paid_at).await?;
        crash::point("pay.spent")?;
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

    /// Takes the points.
    async fn debit(
        &self,
        tx: &mut Tx,
        wishes: &[Arc<Pay>],
        payable: Vec<(usize, Payable)>,
        draft: &mut Draft<Sale, Refusal>,
    ) -> Result<Vec<Exchange>, Refusal> {
        let mut exchanges: Vec<_> = payable
            .into_iter()
            .map(|(wish, payable)| Exchange {
                wish,
                payment: new_id(self.db.clock()),
                payable,
                balance_after: 0,
            })
            .collect();
        let fee = |it: &Exchange| Fee {
            user: wishes[it.wish].caller.user(),
            payment: it.payment,
            amount: it.payable.amount,
        };
        if let ([_], [one]) = (wishes, &mut exchanges[..]) {
            one.balance_after = self.points.pay(tx, &fee(one)).await?;
            return Ok(exchanges);
        }
        let fees: Vec<_> = exchanges.iter().map(fee).collect();
        let balances = self.points.pay_all(tx, &fees).await?;
        let mut able = Vec::with_capacity(exchanges.len());
        for (exchange, balance) in exchanges.into_iter().zip(balances) {
            match balance {
                Some(balance_after) => able.push(Exchange { balance_after, ..exchange }),
                None => draft.decide(exchange.wish, Fate::Alone),
            }
        }
        Ok(able)
    }

    /// Writes the payments down; when each was paid.
    async fn record(
        &self,
        tx: &mut Tx,
        exchanges: &[Exchange],
    ) -> Result<HashMap<Uuid, DateTime<Utc>>, Refusal> {
        let payments: Vec<_> = exchanges.iter().map(|it| (it.payment, it.payable.reservation_id)).collect();
        let recorded = store::record(tx, self.db.offset_ms(), &payments).await?;
        let sold: HashMap<Uuid, i64> =
            recorded.iter().map(|(payment, _, seats)| (*payment, *seats)).collect();
        let is_whole = |it: &Exchange| {
            sold.get(&it.payment).is_some_and(|seats| usize::try_from(*seats) == Ok(it.payable.seats.len()))
        };
        if !exchanges.iter().all(is_whole) {
            return Err(Refusal::HoldExpired);
        }
        Ok(recorded.into_iter().map(|(payment, paid_at, _)| (payment, paid_at)).collect())
    }

    /// Under `RELEASE_ON=payment` the hold's entry token ends, and the one that is shown for it,
    /// which must not have ended before: two payments at once cannot both end it.
    async fn spend(
        &self,
        tx: &mut Tx,
        wishes: &[Arc<Pay>],
        exchanges: Vec<Exchange>,
        paid_at: &HashMap<Uuid, DateTime<Utc>>,
    ) -> Result<Vec<(usize, Sale)>, Refusal> {
        let mut sales = Vec::with_capacity(exchanges.len());
        let mut must_end = Vec::new();
        for Exchange { wish, payment, payable, balance_after } in exchanges {
            let shown = wishes[wish].caller.entry();
            let spent = match self.release_on {
                ReleaseOn::Payment => payable.ending(shown),
                ReleaseOn::Hold => Vec::new(),
            };
            if !spent.is_empty() {
                must_end.extend(payable.own(shown));
            }
            let paid_at = *paid_at.get(&payment).ok_or(Refusal::HoldExpired)?;
            let Payable { reservation_id, amount, seats, schedule_id: schedule, .. } = payable;
            let paid = Paid { payment_id: payment, reservation_id, amount, balance_after, paid_at, seats };
            sales.push((wish, Sale { paid, schedule, spent }));
        }
        let ending: Vec<Entry> = sales.iter().flat_map(|(_, sale)| sale.spent.iter().cloned()).collect();
        let ended: HashSet<String> = self.outbox.spend(tx, &ending).await?.into_iter().collect();
        if must_end.iter().all(|entry| ended.contains(&entry.jti)) {
            Ok(sales)
        } else {
            Err(admitted::Refusal::EntryCompleted.into())
        }
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
