//! The extractors that hand over a [`Caller`], and the refusals on the wire.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use shared::extract::bearer;
use shared::problem::{Problem, codes as general};
use shared::secrets::Role;
use tokio::time::Instant;

use super::{Caller, Door, Gate, Refusal, Subject};
use crate::app::App;
use crate::{codes, db};

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
            Refusal::EntryRequired => entry_required(None),
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
        app.secrets.require(Role::Operator, &parts.headers).map(|()| Self)
    }
}

/// The refusal that says where to queue; `null` where that is not known.
fn entry_required(queue_url: Option<String>) -> Problem {
    Problem::new(&codes::ENTRY_TOKEN_REQUIRED, "Only people who were let in may do this.")
        .with("queue_url", queue_url)
}

/// Adds where to queue to the refusal of somebody without an entry token, as well as it is known:
/// `look_up` finds the queue in front of `subject`, and is asked only when it must be.
pub async fn point_to_queue<T>(
    app: &App,
    outcome: Result<T, Problem>,
    subject: Option<Subject>,
    look_up: impl Future<Output = db::Result<Option<String>>>,
) -> Result<T, Problem> {
    let (refusal, subject) = match (outcome, subject) {
        (Err(refusal), Some(subject)) if *refusal.code() == codes::ENTRY_TOKEN_REQUIRED => (refusal, subject),
        (outcome, _) => return outcome,
    };
    let queue = match app.door.signs.find(subject, Instant::now()) {
        Some(queue) => queue,
        None => match look_up.await {
            Ok(queue) => {
                app.door.signs.put(subject, queue.clone(), Instant::now());
                queue
            }
            // No answer of the database is no sign, and not worth another refusal.
            Err(_) => None,
        },
    };
    let base = app.door.queue_public_url.trim_end_matches('/');
    let url = queue.map(|queue| format!("{base}/v1/queues/{queue}/tokens"));
    Err(url.map_or(refusal, |url| entry_required(Some(url))))
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
