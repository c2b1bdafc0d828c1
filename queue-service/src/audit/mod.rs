//! Audits: whether what a queue did is what it promised, from what it has written down.
//!
//! ```text
//!   log (a stream with a cap, tail.lua) ─▶ store ─▶ model: order · rate · cap ─▶ violations
//!   GET /v1/queues/{queue} ─▶ draw: commitment, seed ─▶ the order of a lottery, recomputed
//! ```
//!
//! The log is written in the step that lets people in, and read by nothing else. `queue-service audit`
//! checks what is left of it, `queue-service draw` needs no access at all: published data suffice.

mod draw;
mod model;
mod store;

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use shared::{boot, tokens};

pub use draw::DrawArgs;
pub use draw::run as draw;

use crate::config::Config;
use crate::keys::Keyspace;
use crate::redis::Redis;

/// What an audit found, in words.
pub struct Audit {
    pub words: Vec<String>,
    pub is_violated: bool,
}

/// Checks the logs of all queues, or of one, and says what was found; failure when a promise was broken.
pub async fn audit(config: &Config, only: Option<&str>) -> anyhow::Result<ExitCode> {
    let audit = audit_logs(&config.redis_url, &config.redis_key_prefix, only).await?;
    let said = boot::say(&audit.words.join("\n"))?;
    Ok(if audit.is_violated { ExitCode::FAILURE } else { said })
}

/// Checks the logs of all queues under a prefix, or of one.
pub async fn audit_logs(redis_url: &str, prefix: &str, only: Option<&str>) -> anyhow::Result<Audit> {
    tokens::install_crypto();
    let redis = Redis::new(redis_url, 1).map_err(|error| anyhow!(error))?;
    let keyspace = Keyspace::new(prefix);
    let ids = store::ids(&redis, &keyspace).await.context("cannot list the queues")?;
    if let Some(only) = only
        && !ids.iter().any(|id| id.as_str() == only)
    {
        return Err(anyhow!("there is no queue {only}"));
    }
    let mut audit = Audit { words: Vec::new(), is_violated: false };
    for id in ids.iter().filter(|id| only.is_none_or(|only| id.as_str() == only)) {
        let log = store::read(&redis, &keyspace.queue(id.as_str())).await;
        let (entries, order) = log.with_context(|| id.as_str().to_owned())?;
        let findings = model::check(&entries, &order);
        audit.is_violated |= !findings.violations.is_empty();
        audit.words.push(format!("{}: {}", id.as_str(), findings.summary()));
        audit
            .words
            .extend(findings.violations.iter().map(|violation| format!("{}: {violation}", id.as_str())));
    }
    Ok(audit)
}
