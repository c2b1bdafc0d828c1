//! Who is calling, by the credential of the request.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use shared::extract::bearer;
use shared::problem::{Problem, codes};
use shared::secrets::Role;
use shared::tokens::Untrusted;
use shared::tokens::user::KnownUser;

use crate::app::App;
use crate::line::token::{self, PlaceToken};

/// A verified user token: the caller is this user, and may stand in this lane.
pub struct User {
    pub id: String,
    pub lane: Option<String>,
}

/// A verified user token or queue token.
pub enum Caller {
    User(String),
    Place {
        token: PlaceToken,
        /// As it was sent.
        text: String,
    },
}

impl Caller {
    pub fn user(&self) -> &str {
        match self {
            Self::User(user) => user,
            Self::Place { token, .. } => &token.user,
        }
    }

    /// The place that the credential is for; `None` = whatever place the user has.
    pub fn place(&self) -> Option<u64> {
        match self {
            Self::User(_) => None,
            Self::Place { token, .. } => Some(token.place),
        }
    }
}

/// The bearer of `ADMIN_TOKEN`.
pub struct Operator;

/// The bearer of `SERVICE_TOKEN`.
pub struct Service;

impl FromRequestParts<App> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let KnownUser { id, lane } = user(bearer(&parts.headers)?, app).await?;
        Ok(Self { id, lane })
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let text = bearer(&parts.headers)?;
        if !text.starts_with(token::PREFIX) {
            return Box::pin(user(text, app)).await.map(|user| Self::User(user.id));
        }
        let token = app.queue_tokens.verify(text).ok_or_else(|| {
            Problem::new(&codes::INVALID_TOKEN, "The queue token is not one that this service has signed.")
        })?;
        app.limits.check_user(&token.user)?;
        Ok(Self::Place { token, text: text.to_owned() })
    }
}

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        app.secrets.require(Role::Operator, &parts.headers).map(|()| Self)
    }
}

impl FromRequestParts<App> for Service {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        app.secrets.require(Role::Service, &parts.headers).map(|()| Self)
    }
}

async fn user(token: &str, app: &App) -> Result<KnownUser, Problem> {
    let user = app.users.verify(token).await.map_err(|untrusted| match untrusted {
        Untrusted::KeysUnavailable => Problem::unavailable("identity provider", untrusted),
        reason => Problem::new(&codes::INVALID_TOKEN, format!("The user token is refused: {reason}.")),
    })?;
    app.limits.check_user(&user.id)?;
    Ok(user)
}
