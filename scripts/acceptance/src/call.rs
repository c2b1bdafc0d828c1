//! One request in the making; awaiting it sends it and checks its answer.

use std::pin::Pin;
use std::str::FromStr as _;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;

use crate::answer::Answer;
use crate::world::World;

/// A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Queue,
    QueueOps,
    Booking,
    BookingOps,
}

impl Side {
    /// Whether it belongs to the queue service.
    pub fn is_queue(self) -> bool {
        matches!(self, Self::Queue | Self::QueueOps)
    }
}

/// What a world has seen: which call was answered how.
#[derive(Clone, Debug)]
pub struct Seen {
    pub side: Side,
    pub method: String,
    /// Without the query.
    pub path: String,
    pub status: u16,
    pub code: Option<String>,
}

/// A request. Without [`Call::on`] it goes to one replica or another.
#[must_use = "a call is sent when it is awaited"]
pub struct Call<'w> {
    world: &'w World,
    side: Side,
    method: Method,
    path: String,
    replica: Option<usize>,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

impl<'w> Call<'w> {
    pub(crate) fn new(world: &'w World, side: Side, method: &str, path: &str) -> Self {
        let method = Method::from_str(method).expect("a method");
        let headers = HeaderMap::new();
        Self { world, side, method, path: path.to_owned(), replica: None, headers, body: None }
    }

    /// To that replica.
    pub fn on(mut self, replica: usize) -> Self {
        self.replica = Some(replica);
        self
    }

    /// With this credential.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// With this `Idempotency-Key`.
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// With one header more; a name may come twice.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_str(name).expect("a header name");
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).expect("a header value"));
        self
    }

    /// With a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// With these bytes as body.
    pub fn body(mut self, media: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", media)
    }

    /// Sends it; an error is a connection that failed.
    pub async fn attempt(self) -> Result<Answer, String> {
        let asked = format!("{} {}", self.method, self.path);
        let base = self.world.base(self.side, self.replica);
        let url = Url::parse(&format!("{base}{}", self.path)).expect("a URL");
        let mut request = self.world.http().request(self.method.clone(), url).headers(self.headers);
        if let Some(body) = self.body {
            request = request.body(body);
        }
        let permit = self.world.in_flight().acquire().await.expect("the world lives");
        let answer = request.send().await.map_err(|error| format!("{asked}: {error:?}"))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.map_err(|error| format!("{asked}: {error:?}"))?;
        drop(permit);
        let answer = Answer::new(asked, status, headers, text);
        answer.check();
        let path = self.path.split('?').next().unwrap_or_default().to_owned();
        let code = answer.code().map(str::to_owned);
        self.world.saw(Seen { side: self.side, method: self.method.to_string(), path, status, code });
        Ok(answer)
    }

    /// Sends it and leaves the body to be read piece by piece.
    pub async fn stream(self) -> reqwest::Response {
        let base = self.world.base(self.side, self.replica);
        let request = self.world.http().request(self.method.clone(), format!("{base}{}", self.path));
        let answer = request.headers(self.headers).send().await.expect("the service answers");
        let (method, status) = (self.method.to_string(), answer.status().as_u16());
        self.world.saw(Seen { side: self.side, method, path: self.path, status, code: None });
        answer
    }
}

impl<'w> IntoFuture for Call<'w> {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send + 'w>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.attempt().await.unwrap_or_else(|error| panic!("{error}")) })
    }
}
