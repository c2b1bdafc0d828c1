//! The user token: who the caller is, in the words of the identity provider.
//!
//! In development (`DEV_IDENTITY_KEY` set) the service is its own identity provider: tokens signed
//! with that key are taken, and `POST /v1/dev/login` of the queue service hands them out.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::keys::SigningKey;
use super::memory::Memory;
use super::{KeySource, PublicKeys, Untrusted, check_times, verified};
use crate::clock::Clock;
use crate::lifecycle::Lifecycle;

const DEVELOPMENT_TTL: Duration = Duration::from_secs(24 * 3600);
const MAX_USER_BYTES: usize = 255;

/// Settings of who is believed about users.
#[derive(Clone, Debug, clap::Args)]
pub struct UserTokenConfig {
    /// JWK set of the identity provider: http(s) URL or file.
    #[arg(long, env = "USER_JWKS")]
    pub user_jwks: Option<String>,
    /// Expected `iss` of user tokens; unset = not checked.
    #[arg(long, env = "USER_ISSUER")]
    pub user_issuer: Option<String>,
    /// Expected `aud` of user tokens; unset = not checked.
    #[arg(long, env = "USER_AUDIENCE")]
    pub user_audience: Option<String>,
    /// Ed25519 private key (PKCS#8 PEM file). Set = development: its user tokens are accepted,
    /// development login is on, weak secrets are allowed.
    #[arg(long, env = "DEV_IDENTITY_KEY")]
    pub dev_identity_key: Option<PathBuf>,
}

/// Whether somebody can be called that: 1 to 255 bytes without NUL, which not every store takes.
pub fn is_user(name: &str) -> bool {
    (1..=MAX_USER_BYTES).contains(&name.len()) && !name.contains('\0')
}

/// All that a token says; lives while it is read.
#[derive(Deserialize)]
struct UserClaims {
    sub: Option<String>,
    exp: Option<i64>,
    nbf: Option<i64>,
    iss: Option<String>,
    aud: Option<Audience>,
    #[serde(flatten)]
    others: HashMap<String, Value>,
}

/// What is kept of it: what providers say besides is large and ours to forget.
#[derive(Debug)]
struct Gist {
    /// `None` when nobody can be called that.
    user: Option<String>,
    exp: Option<i64>,
    nbf: Option<i64>,
    /// Whether issuer and audience are the configured ones.
    is_for_us: bool,
    lane: Option<String>,
}

/// Who a genuine token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownUser {
    pub id: String,
    /// The lane that the token claims.
    pub lane: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn has(&self, expected: &str) -> bool {
        match self {
            Self::One(one) => one == expected,
            Self::Many(many) => many.iter().any(|one| one == expected),
        }
    }
}

/// Verifies user tokens, and in development makes them.
pub struct UserTokens {
    provider: Option<Arc<PublicKeys>>,
    development: Option<Development>,
    issuer: Option<String>,
    audience: Option<String>,
    lane_claim: Option<String>,
    /// Of the provider's tokens.
    memory: Memory<Gist>,
    clock: Clock,
}

struct Development {
    key: SigningKey,
    keys: PublicKeys,
    memory: Memory<Gist>,
}

impl UserTokens {
    /// As configured; refuses a configuration under which nobody could be known.
    pub async fn new(
        config: &UserTokenConfig,
        http: reqwest::Client,
        clock: Clock,
        lifecycle: &Lifecycle,
    ) -> Result<Self, String> {
        let development = match &config.dev_identity_key {
            None => None,
            Some(path) => {
                let key =
                    SigningKey::from_file(path).map_err(|error| format!("DEV_IDENTITY_KEY: {error}"))?;
                let source = KeySource::Fixed(json!({ "keys": [key.jwk()] }));
                let keys = PublicKeys::new(source, http.clone(), clock.clone(), lifecycle);
                keys.refresh().await?;
                Some(Development { key, keys, memory: Memory::default() })
            }
        };
        let provider = config.user_jwks.as_deref().map(|source| {
            Arc::new(PublicKeys::new(KeySource::parse(source), http, clock.clone(), lifecycle))
        });
        if provider.is_none() && development.is_none() {
            return Err("neither USER_JWKS nor DEV_IDENTITY_KEY is set: no user could be known".to_owned());
        }
        let (issuer, audience) = (config.user_issuer.clone(), config.user_audience.clone());
        let memory = Memory::default();
        Ok(Self { provider, development, issuer, audience, lane_claim: None, memory, clock })
    }

    /// As it is, and the claim of that name is read: the lane that its user may stand in.
    pub fn reading_lanes(self, claim: &str) -> Self {
        Self { lane_claim: Some(claim.to_owned()), ..self }
    }

    /// Whether development is on.
    pub fn is_development(&self) -> bool {
        self.development.is_some()
    }

    /// The identity provider's keys, where there are any to keep fresh.
    pub fn provider(&self) -> Option<&Arc<PublicKeys>> {
        self.provider.as_ref()
    }

    /// The user that a genuine, unexpired token names.
    pub async fn verify(&self, token: &str) -> Result<KnownUser, Untrusted> {
        let gist = self.signed_gist(token).await?;
        let id = gist.user.as_ref().ok_or(Untrusted::Malformed)?;
        check_times(gist.exp.ok_or(Untrusted::Malformed)?, gist.nbf, self.clock.unix_seconds())?;
        if !gist.is_for_us {
            return Err(Untrusted::WrongAudience);
        }
        Ok(KnownUser { id: id.clone(), lane: gist.lane.clone() })
    }

    async fn signed_gist(&self, token: &str) -> Result<Arc<Gist>, Untrusted> {
        let is_of_users = |typ: Option<&str>| typ != Some(super::entry::TYPE);
        let gist = |claims| self.gist(claims);
        if let Some(development) = &self.development {
            let known = verified(token, is_of_users, &development.keys, &development.memory, gist).await;
            if known.is_ok() || self.provider.is_none() {
                return known;
            }
        }
        match &self.provider {
            Some(keys) => verified(token, is_of_users, keys, &self.memory, gist).await,
            None => Err(Untrusted::UnknownKey),
        }
    }

    fn gist(&self, claims: UserClaims) -> Gist {
        let UserClaims { sub, exp, nbf, iss, aud, others } = claims;
        let is_issuer = self.issuer.is_none() || self.issuer == iss;
        let is_audience =
            self.audience.as_ref().is_none_or(|expected| aud.as_ref().is_some_and(|aud| aud.has(expected)));
        let lane = self.lane_claim.as_ref().and_then(|claim| others.get(claim)?.as_str());
        Gist {
            user: sub.filter(|sub| is_user(sub)),
            exp,
            nbf,
            is_for_us: is_issuer && is_audience,
            lane: lane.map(str::to_owned),
        }
    }

    /// A user token of development, or `None` outside it.
    pub fn development_login(&self, user: &str, lane: Option<&str>) -> Option<Result<String, String>> {
        #[derive(Serialize)]
        struct Claims<'a> {
            sub: &'a str,
            iat: i64,
            exp: i64,
            #[serde(skip_serializing_if = "Option::is_none")]
            iss: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            aud: Option<&'a str>,
            #[serde(flatten)]
            lane: Option<HashMap<&'a str, &'a str>>,
        }
        let development = self.development.as_ref()?;
        let iat = self.clock.unix_seconds();
        let claims = Claims {
            sub: user,
            iat,
            exp: iat + DEVELOPMENT_TTL.as_secs().cast_signed(),
            iss: self.issuer.as_deref(),
            aud: self.audience.as_deref(),
            lane: self.lane_claim.as_deref().zip(lane).map(|claim| HashMap::from([claim])),
        };
        Some(development.key.sign("JWT", &claims))
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::fingerprint;
    use super::super::tests::new_key;
    use super::*;

    #[tokio::test]
    async fn a_remembered_token_keeps_nothing_that_is_not_used() {
        super::super::install_crypto();
        let (key, clock) = (new_key(), Clock::system());
        let source = KeySource::Fixed(json!({ "keys": [key.jwk()] }));
        let keys =
            Arc::new(PublicKeys::new(source, reqwest::Client::new(), clock.clone(), &Lifecycle::new()));
        keys.refresh().await.unwrap();
        let mut said =
            json!({ "sub": "ann", "exp": clock.unix_seconds() + 60, "tier": "vip", "aud": ["a", "us"] });
        for number in 0..50 {
            said[format!("foreign-{number}")] = json!({ "is": number });
        }
        let token = key.sign("JWT", &said).unwrap();
        let users = UserTokens {
            provider: Some(keys.clone()),
            development: None,
            issuer: None,
            audience: Some("us".into()),
            lane_claim: Some("tier".into()),
            memory: Memory::default(),
            clock,
        };
        let ann = KnownUser { id: "ann".into(), lane: Some("vip".into()) };
        assert_eq!(users.verify(&token).await, Ok(ann.clone()));
        let kept = users.memory.find(&fingerprint(&token).expect("short enough"), &keys).expect("remembered");
        assert!(!format!("{kept:?}").contains("foreign"), "{kept:?}");
        assert_eq!(users.verify(&token).await, Ok(ann));
    }
}
