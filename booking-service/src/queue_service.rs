//! The queue service's ops listener, as this service calls it: never while a request waits.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Where it is and what opens it. An error does not name the place: it goes to the log.
#[derive(Clone)]
pub struct QueueService {
    pub http: reqwest::Client,
    /// `{QUEUE_OPS_URL}`
    pub base: String,
    pub secret: SecretString,
}

impl QueueService {
    /// Posts `body` to `path`; heard when this is `Ok`.
    pub async fn tell(&self, path: &str, body: &impl Serialize, limit: Duration) -> reqwest::Result<()> {
        self.answer(self.http.post(self.url(path)).json(body), limit).await.map(drop)
    }

    /// Posts `body` to `path`; what is answered. Whatever a stranger on the way may say, it is no `T`.
    pub async fn exchange<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> reqwest::Result<T> {
        let answer = self.answer(self.http.post(self.url(path)).json(body), limit).await?;
        answer.json().await.map_err(reqwest::Error::without_url)
    }

    /// What is at `path`.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> reqwest::Result<T> {
        let answer = self.answer(self.http.get(self.url(path)), limit).await?;
        answer.json().await.map_err(reqwest::Error::without_url)
    }

    async fn answer(
        &self,
        request: reqwest::RequestBuilder,
        limit: Duration,
    ) -> reqwest::Result<reqwest::Response> {
        let sent = request.bearer_auth(self.secret.expose_secret()).timeout(limit).send().await;
        sent.and_then(reqwest::Response::error_for_status).map_err(reqwest::Error::without_url)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.trim_end_matches('/'))
    }
}
