//! Charges, and uses, carried out together: batches of one kind each, so that accounts are locked in one order.

use std::sync::Arc;

use shared::ids::new_id;
use shared::lifecycle::Lifecycle;

use super::model::{Kind, Moved};
use super::{Limits, Move, Refusal, store};
use crate::crash;
use crate::db::{self, Db, Tx};
use crate::idempotency;
use crate::together::{self, Apart, Batches, Draft, Fate};

/// Starts the batches of one kind.
pub fn start(db: &Db, limits: Limits, kind: Kind, lifecycle: &Lifecycle) -> Batches<Move, Moved, Refusal> {
    let db = db.clone();
    together::start(lifecycle, kind.word(), together::SHAPE, move |wishes: Vec<Arc<Move>>| {
        let db = db.clone();
        async move { batch(&db, limits, kind, &wishes).await }
    })
}

async fn batch(
    db: &Db,
    limits: Limits,
    kind: Kind,
    wishes: &[Arc<Move>],
) -> db::Result<Vec<Fate<Moved, Refusal>>> {
    let mut tx = db.begin_impatiently().await?;
    let outcome = move_points(&mut tx, db, limits, kind, wishes).await;
    let fates = together::end(tx, kind.word(), wishes.len(), outcome).await?;
    crash::point("points.committed")?;
    Ok(fates)
}

async fn move_points(
    tx: &mut Tx,
    db: &Db,
    limits: Limits,
    kind: Kind,
    wishes: &[Arc<Move>],
) -> Result<Vec<Fate<Moved, Refusal>>, Refusal> {
    let (mut apart, mut draft) = (Apart::new(), Draft::new(wishes.len()));
    for (index, wish) in wishes.iter().enumerate() {
        if !apart.takes([&wish.user]) {
            draft.decide(index, Fate::Again);
        }
    }
    let open = draft.open();
    let intents: Vec<_> = open.iter().map(|wish| wishes[*wish].intent.as_ref()).collect();
    for (wish, claimed) in open.into_iter().zip(idempotency::claim_all(tx, db, &intents).await?) {
        if let Err(refusal) = claimed {
            draft.decide(wish, Fate::Refused(refusal.into()));
        }
    }
    crash::point("points.claimed")?;
    let open = draft.open();
    let movements: Vec<_> = open.iter().map(|wish| wishes[*wish].movement(new_id(db.clock()))).collect();
    let balances = if kind.is_credit() {
        store::credit(tx, db.offset_ms(), kind, &movements, limits.balance.points()).await?
    } else {
        store::debit(tx, db.offset_ms(), kind, &movements).await?
    };
    crash::point("points.moved")?;
    let mut moved = Vec::with_capacity(open.len());
    for ((wish, movement), balance) in open.into_iter().zip(movements).zip(balances) {
        match balance {
            Some(balance) => {
                let (entry_id, amount) = (movement.entry_id, movement.amount);
                moved.push((wish, Moved { entry_id, amount, balance }));
            }
            // Why is told who goes alone.
            None => draft.decide(wish, Fate::Alone),
        }
    }
    let answers: Vec<_> = moved.iter().map(|(wish, moved)| (wishes[*wish].intent.as_ref(), moved)).collect();
    idempotency::remember_all(tx, db, &answers).await?;
    crash::point("points.remembered")?;
    for (wish, moved) in moved {
        draft.decide(wish, Fate::Done(moved));
    }
    Ok(draft.fates())
}
