//! A crowd, put in line without its requests: for load tests, which need a million people before they begin.
//!
//! It is the script of the joins, in larger batches. A service that runs takes it for the joins of another replica.

use anyhow::{Context as _, anyhow};
use futures_util::{StreamExt as _, TryStreamExt as _};
use shared::clock::Clock;
use shared::tokens;

use crate::keys::Keyspace;
use crate::line::store::{self, Join};
use crate::redis::{Redis, When};

/// People in one call of the script: some milliseconds of Redis.
const BATCH: usize = 500;
const AT_ONCE: usize = 4;

/// Lines up `users`, in about this order, in everybody's lane of a queue that exists.
pub async fn line_up(redis_url: &str, prefix: &str, queue: &str, users: &[String]) -> anyhow::Result<()> {
    tokens::install_crypto();
    let redis = Redis::new(redis_url, AT_ONCE).map_err(|error| anyhow!(error))?;
    let keys = Keyspace::new(prefix).queue(queue);
    let when = When::now(&Clock::system());
    let batches = futures_util::stream::iter(users.chunks(BATCH)).map(|users| {
        let joins: Vec<Join> =
            users.iter().map(|user| Join { user: user.clone(), lane: String::new() }).collect();
        let (redis, keys) = (&redis, &keys);
        async move { store::join(redis, keys, when, &joins).await }
    });
    let lined_up = batches.buffered(AT_ONCE).try_for_each(|_| async { Ok(()) });
    lined_up.await.with_context(|| format!("nobody can be put in line of {queue}"))
}
