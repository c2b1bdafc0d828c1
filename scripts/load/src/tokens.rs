//! What users show: signed here with the keys of the stand, before any clock runs.

use acceptance::Keys;
use anyhow::anyhow;
use serde_json::json;
use shared::clock::Clock;
use shared::tokens::entry::{AUDIENCE, EntryClaims};
use shared::tokens::keys::SigningKey;

use crate::stand::Stand;

const DAY_SECONDS: i64 = 24 * 3600;
/// `iss` of entry tokens: what both services take when nobody says otherwise.
const ISSUER: &str = "queue-service";

/// Who has the number `n` in a crowd.
pub fn person(n: u64) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

/// Signs. About 20 µs each.
#[derive(Debug)]
pub struct Tokens {
    identity: SigningKey,
    entry: SigningKey,
    clock: Clock,
}

impl Tokens {
    pub fn new(keys: &Keys) -> Self {
        shared::tokens::install_crypto();
        Self { identity: keys.identity_key(), entry: keys.entry_key(), clock: Clock::system() }
    }

    /// A user token, good for a day.
    pub fn user(&self, id: &str) -> anyhow::Result<String> {
        let now = self.clock.unix_seconds();
        let claims = json!({ "sub": id, "iat": now, "exp": now + DAY_SECONDS });
        self.identity.sign("JWT", &claims).map_err(|error| anyhow!(error))
    }

    /// An entry token of an admission that never was: it takes no slot. Good for a day.
    pub fn entry(&self, user: &str, queue: &str) -> anyhow::Result<String> {
        self.entry_of(user, queue, &uuid::Uuid::new_v4().to_string())
    }

    /// As [`Tokens::entry`], of the admission `jti`.
    pub fn entry_of(&self, user: &str, queue: &str, jti: &str) -> anyhow::Result<String> {
        let now = self.clock.unix_seconds();
        let claims = EntryClaims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user.to_owned(),
            queue: queue.to_owned(),
            jti: jti.to_owned(),
            iat: now,
            nbf: now,
            exp: now + DAY_SECONDS,
        };
        shared::tokens::entry::sign(&claims, &self.entry).map_err(|error| anyhow!(error))
    }
}

impl Stand {
    /// User tokens of the people numbered up to `people`, signed by all processors at once.
    pub fn user_tokens(&self, people: u64) -> anyhow::Result<Vec<String>> {
        let signers = u64::try_from(std::thread::available_parallelism()?.get())?;
        let shares = std::thread::scope(|scope| {
            let share = |signer: u64| {
                let (tokens, from, to) =
                    (self.tokens(), people * signer / signers, people * (signer + 1) / signers);
                scope.spawn(move || {
                    (from..to).map(|n| tokens.user(&person(n))).collect::<anyhow::Result<Vec<_>>>()
                })
            };
            let signing: Vec<_> = (0..signers).map(share).collect();
            signing.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        let mut tokens = Vec::new();
        for share in shares {
            tokens.extend(share.map_err(|_| anyhow!("a signer has failed"))??);
        }
        Ok(tokens)
    }
}
