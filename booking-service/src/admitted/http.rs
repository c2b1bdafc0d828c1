//! The extractors that hand over a [`Caller`], and the refusals on the wire.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use shared::extract::bearer;
use shared::problem::{Problem, codes as general};
use shared::secrets;

use super::{Caller, Door, Gate, Refusal};
use crate::app::App;
use crate::codes;

/// A row of the API, as far as credentials go.
pub trait Row: Send + Sync + 'static {
    /// The gate that may be closed in front of it.
    const GATE: Option<Gate>;
}

/// A row that never needs an entry token.
pub struct Anyone;

impl Row for Anyone {
    const GATE: Option<Gate> = None;
}

/// Whoever looks at a row that needs no user: nobody in particular while its gate is open.
pub struct Guest<R> {
    caller: Option<Caller>,
    row: PhantomData<R>,
}

impl<R> Guest<R> {
    /// Refuses the entry token of another queue.
    pub fn enter(&self, queue: &str) -> Result<(), Problem> {
        match &self.caller {
            Some(caller) if !caller.may_enter(queue) => Err(counted(Refusal::WrongQueue).into()),
            _ => Ok(()),
        }
    }
}

impl<R: Row> FromRequestParts<App> for Guest<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let closed = R::GATE.is_some_and(|gate| app.door.gated.closes(gate));
        let caller = if closed {
            Some(Buyer::<R>::from_request_parts(parts, app).await?.unspent(&app.door)?)
        } else {
            None
        };
        Ok(Self { caller, row: PhantomData })
    }
}

/// Somebody who acts on a row, not yet asked whether the entry token is spent: a replay comes
/// before that question, and [`Buyer::unspent`] is the only way on to a [`Caller`].
pub struct Buyer<R> {
    caller: Caller,
    row: PhantomData<R>,
}

impl<R> Buyer<R> {
    /// The user.
    pub fn user(&self) -> &str {
        self.caller.user()
    }

    /// The caller, unless the entry token is known to be spent.
    pub fn unspent(self, door: &Door) -> Result<Caller, Problem> {
        door.unspent(&self.caller).map_err(counted)?;
        Ok(self.caller)
    }
}

impl<R: Row> FromRequestParts<App> for Buyer<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let token = match bearer(&parts.headers) {
            Ok(token) => Some(token),
            Err(problem) if *problem.code() == general::UNAUTHORIZED => None,
            Err(problem) => return Err(problem),
        };
        let caller = app.door.admit(token, R::GATE).await.map_err(|refusal| match counted(refusal) {
            Refusal::EntryRequired => entry_required(&app.door, None),
            refusal => refusal.into(),
        })?;
        app.limits.check_user(caller.user())?;
        Ok(Self { caller, row: PhantomData })
    }
}

/// Somebody who acts on a row without idempotency keys.
pub struct Admitted<R> {
    pub caller: Caller,
    row: PhantomData<R>,
}

impl<R: Row> FromRequestParts<App> for Admitted<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Buyer::<R>::from_request_parts(parts, app).await?.unspent(&app.door)?;
        Ok(Self { caller, row: PhantomData })
    }
}

/// Somebody who knows `ADMIN_TOKEN`.
pub struct Operator;

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        secrets::require(&app.secrets.admin_token, &parts.headers).map(|()| Self)
    }
}

/// The refusal that says where to queue: for this queue, or to choose one.
pub fn entry_required(door: &Door, queue: Option<&str>) -> Problem {
    let base = door.queue_public_url.trim_end_matches('/');
    let url = match queue {
        Some(queue) => format!("{base}/v1/queues/{queue}/tokens"),
        None => format!("{base}/v1/queues"),
    };
    Problem::new(&codes::ENTRY_TOKEN_REQUIRED, "Only people who were let in may do this.")
        .with("queue_url", url)
}

/// Takes a refusal down in the metrics.
fn counted(refusal: Refusal) -> Refusal {
    crate::metrics::refused("enter", refusal.code().word);
    refusal
}

impl Refusal {
    /// The word of the contract.
    fn code(self) -> &'static shared::problem::Code {
        match self {
            Self::NoCredential => &general::UNAUTHORIZED,
            Self::EntryRequired => &codes::ENTRY_TOKEN_REQUIRED,
            Self::EntryExpired => &codes::ENTRY_TOKEN_EXPIRED,
            Self::EntryRevoked => &codes::ENTRY_TOKEN_REVOKED,
            Self::EntryCompleted => &codes::ENTRY_TOKEN_COMPLETED,
            Self::WrongQueue => &codes::WRONG_QUEUE,
            Self::Invalid(_) => &general::INVALID_TOKEN,
            Self::NoKeys => &general::UNAVAILABLE,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = match refusal {
            Refusal::NoKeys => "The keys to verify tokens with cannot be had now.".to_owned(),
            refusal => {
                let mut detail = refusal.to_string();
                if let Some(first) = detail.get_mut(..1) {
                    first.make_ascii_uppercase();
                }
                format!("{detail}.")
            }
        };
        Problem::new(refusal.code(), detail)
    }
}
