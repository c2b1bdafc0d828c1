//! Redis, as an operator sees it.

use std::time::Duration;

use anyhow::Context as _;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

/// A connection that waits as long as it takes: rewriting and forgetting a million people takes seconds.
pub struct Redis(MultiplexedConnection);

impl Redis {
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
        Ok(Self(redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?))
    }

    /// One figure of `INFO`.
    pub async fn info(&mut self, name: &str) -> anyhow::Result<f64> {
        let text: String = redis::cmd("INFO").arg("all").query_async(&mut self.0).await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("Redis says no {name}"))?.trim().parse()?)
    }

    /// Processor seconds so far.
    pub async fn processor(&mut self) -> anyhow::Result<f64> {
        Ok(self.info("used_cpu_sys").await? + self.info("used_cpu_user").await?)
    }

    /// Returns when nothing is left to write in the background.
    pub async fn settle(&mut self) -> anyhow::Result<()> {
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let rewrite =
                self.info("aof_rewrite_in_progress").await? + self.info("aof_rewrite_scheduled").await?;
            if rewrite + self.info("rdb_bgsave_in_progress").await? < 0.5 {
                return Ok(());
            }
        }
        anyhow::bail!("Redis rewrites its file for a minute")
    }

    /// The crowd goes home: what comes next is not to pay for it.
    pub async fn forget(&mut self) -> anyhow::Result<()> {
        redis::cmd("FLUSHALL").query_async::<()>(&mut self.0).await?;
        self.settle().await
    }
}
