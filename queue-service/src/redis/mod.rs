//! Redis: scripts and plain commands, put to whatever `REDIS_URL` selects.
//!
//! ```text
//!   store.rs of each feature ─▶ Redis ─▶ lane ─▶ one server · the master of sentinels · a cluster
//!                                  ◀── what became of it (Fate): given up? put again?
//! ```
//!
//! | what comes back | given up | put again |
//! |---|---|---|
//! | the connection broke | yes | what may be done twice |
//! | no answer in time | yes | no |
//! | not here, not now (`READONLY`, `LOADING`, …): nothing was done | yes; not a cluster's, which follows by itself | yes |
//! | elsewhere (`MOVED`, `ASK`): nothing was done, and the client has heard | no | yes |
//! | anything else | no | no |
//!
//! Once more is all: who asked is told `unavailable` and asks again. Nobody knows whether a command
//! was carried out whose connection broke, so a join and an admission by hand are not repeated then.
//! A script that a server does not know (a new master, a restart) is sent to it whole.

mod lanes;
#[cfg(test)]
mod tests;
mod url;

use std::sync::Arc;

use futures_util::future::try_join_all;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind};
use shared::clock::Clock;

use self::lanes::{Lane, Lanes};
use self::url::Form;
use crate::keys::QueueKeys;

/// What stands in front of every script.
pub const PRELUDE: &str = concat!(
    include_str!("../prelude/head.lua"),
    include_str!("../prelude/limits.lua"),
    include_str!("../prelude/line.lua"),
    include_str!("../prelude/slots.lua"),
    include_str!("../prelude/loss.lua"),
    include_str!("../prelude/answer.lua"),
);

/// Redis did not do what was asked. Cheap to clone: a batch hands it to each of its items.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The queue has no settings.
    #[error("there is no such queue")]
    NoQueue,
    /// People are in line in an order that the change would break.
    #[error("people are in line in the present order")]
    OrderFixed,
    /// Anything else; for the log.
    #[error("{0}")]
    Failed(Arc<str>),
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some("NOQUEUE") => Self::NoQueue,
            Some("FIXED") => Self::OrderFixed,
            _ => Self::Failed(error.to_string().into()),
        }
    }
}

/// A script, and whether it may run twice for once.
pub struct Script {
    text: String,
    hash: String,
    repeatable: bool,
}

impl Script {
    /// From the text of one `.lua` file, the prelude in front and its tail behind.
    pub fn new(body: &str) -> Self {
        let tail = include_str!("../prelude/tail.lua");
        Self::without_prelude(&format!("{PRELUDE}\nlocal function body()\n{body}\nend\n{tail}"))
    }

    /// As `new`, for what must not be done twice.
    pub fn once(body: &str) -> Self {
        Self { repeatable: false, ..Self::new(body) }
    }

    /// From a file that stands alone.
    pub fn without_prelude(body: &str) -> Self {
        let hash = redis::Script::new(body).get_hash().to_owned();
        Self { text: body.to_owned(), hash, repeatable: true }
    }
}

/// The lanes of one process. Clones share them.
#[derive(Clone)]
pub struct Redis {
    lanes: Arc<Lanes>,
    is_strict: bool,
}

impl Redis {
    /// Prepares `lanes` connections to `url`; connects at the first use.
    pub fn new(url: &str, lanes: usize) -> Result<Self, String> {
        let lanes = Form::parse(url).and_then(|form| Lanes::new(form, lanes));
        let lanes = lanes.map_err(|error| format!("REDIS_URL cannot be used: {error}"))?;
        Ok(Self { lanes: Arc::new(lanes), is_strict: false })
    }

    /// As it is, and every restart of the server counts as if it had forgotten something (`prelude/loss.lua`).
    pub fn distrusting_restarts(self, is_strict: bool) -> Self {
        Self { is_strict, ..self }
    }

    /// Runs a script on a queue's keys. `args` follow those that the prelude takes. What the script tells of
    /// the store is remembered.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &QueueKeys,
        when: When,
        args: &[String],
    ) -> Result<T, StoreError> {
        let names: Vec<&str> = keys.for_scripts().iter().map(String::as_str).collect();
        let (when, nonce) = (when.arg(), nonce());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let witness = Witness { told: keys.memory().tell(), is_strict: self.is_strict };
        let first = Some((when.as_str(), nonce.as_str(), &witness));
        let question = Question::Script { script, keys: &names, first, args: &args };
        let (answer, told): (T, String) = self.ask(question, script.repeatable).await?;
        keys.memory().hear(told);
        Ok(answer)
    }

    /// Runs a script that stands alone.
    pub async fn run_plain<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[String],
    ) -> Result<T, StoreError> {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.ask(Question::Script { script, keys, first: None, args: &args }, script.repeatable).await
    }

    /// Runs plain commands on the keys of one slot in one round trip.
    pub async fn query<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, StoreError> {
        self.ask(Question::Pipeline(pipeline), true).await
    }

    /// Runs plain commands on keys of any slots: in one round trip, or in a cluster one each, side by side.
    pub async fn query_each<T: FromRedisValue>(&self, commands: &[Cmd]) -> Result<Vec<T>, StoreError> {
        let pipe = |commands: &[Cmd]| {
            let mut pipeline = redis::pipe();
            for command in commands {
                pipeline.add_command(command.clone());
            }
            pipeline
        };
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        if !self.lanes.are_of_a_cluster() {
            return self.query(&pipe(commands)).await;
        }
        let one = async |command: &Cmd| {
            let (answer,): (T,) = self.query(&pipe(std::slice::from_ref(command))).await?;
            Ok(answer)
        };
        try_join_all(commands.iter().map(one)).await
    }

    /// Whether the servers serve as a whole: a cluster says so of itself.
    pub async fn serves(&self) -> Result<(), StoreError> {
        if !self.lanes.are_of_a_cluster() {
            return Ok(());
        }
        let (info,): (String,) = self.query(redis::pipe().cmd("CLUSTER").arg("INFO")).await?;
        let state = info.lines().find_map(|line| line.strip_prefix("cluster_state:")).unwrap_or("unknown");
        let failed = || StoreError::Failed(format!("the state of the cluster is {state}").into());
        if state.trim() == "ok" { Ok(()) } else { Err(failed()) }
    }

    async fn ask<T: FromRedisValue>(
        &self,
        question: Question<'_>,
        repeatable: bool,
    ) -> Result<T, StoreError> {
        let number = self.lanes.turn();
        let (first, fate) = self.ask_once(&question, number).await?;
        let again = match fate {
            Some(Fate::Refused | Fate::Elsewhere) => true,
            Some(Fate::Broken) => repeatable,
            Some(Fate::Silent) | None => false,
        };
        if again { Ok(self.ask_once(&question, number).await?.0?) } else { Ok(first?) }
    }

    async fn ask_once<T: FromRedisValue>(
        &self,
        question: &Question<'_>,
        number: usize,
    ) -> Result<(RedisResult<T>, Option<Fate>), StoreError> {
        let lane = self.lane(number).await?;
        let answer = question.put(&lane).await;
        let fate = answer.as_ref().err().and_then(Fate::of);
        let given_up = match fate {
            Some(Fate::Broken | Fate::Silent) => true,
            Some(Fate::Refused) => !self.lanes.are_of_a_cluster(),
            Some(Fate::Elsewhere) | None => false,
        };
        if given_up {
            self.lanes.give_up(number, &lane).await;
        }
        Ok((answer, fate))
    }

    async fn lane(&self, number: usize) -> Result<Arc<Lane>, StoreError> {
        self.lanes.lane(number).await.map_err(|error| StoreError::Failed(error.into()))
    }
}

/// What an error says about the lane and the command; the table is at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Broken,
    Silent,
    Refused,
    Elsewhere,
}

impl Fate {
    fn of(error: &RedisError) -> Option<Self> {
        match error.code() {
            Some("READONLY" | "MASTERDOWN" | "LOADING" | "CLUSTERDOWN" | "TRYAGAIN" | "NOREPLICAS") => {
                Some(Self::Refused)
            }
            Some("MOVED" | "ASK") => Some(Self::Elsewhere),
            _ if error.is_unrecoverable_error() => Some(Self::Broken),
            _ if error.is_timeout() => Some(Self::Silent),
            _ => None,
        }
    }
}

/// What can be put to a lane, and put again.
enum Question<'a> {
    Script {
        script: &'a Script,
        keys: &'a [&'a str],
        /// What the prelude takes: when, nonce, and what is remembered.
        first: Option<(&'a str, &'a str, &'a Witness)>,
        args: &'a [&'a str],
    },
    Pipeline(&'a Pipeline),
}

/// What a call tells a script of the store: which server it goes to, and what is remembered of the queue.
struct Witness {
    told: String,
    is_strict: bool,
}

impl Witness {
    fn arg(&self, lane: &Lane) -> String {
        let strictly = if self.is_strict { "!" } else { "" };
        format!("{strictly}{} {}", lane.run_id().unwrap_or("-"), self.told)
    }
}

impl Question<'_> {
    async fn put<T: FromRedisValue>(&self, lane: &Lane) -> RedisResult<T> {
        let mut connection = lane.connection();
        match self {
            Self::Script { script, keys, first, args } => {
                let call = |word, body: &str| {
                    let mut call = redis::cmd(word);
                    call.arg(body).arg(keys.len()).arg(keys);
                    if let Some((when, nonce, witness)) = first {
                        call.arg(when).arg(nonce).arg(witness.arg(lane));
                    }
                    call.arg(args);
                    call
                };
                match call("EVALSHA", &script.hash).query_async(&mut connection).await {
                    Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                        call("EVAL", &script.text).query_async(&mut connection).await
                    }
                    known => known,
                }
            }
            Self::Pipeline(pipeline) => pipeline.query_async(&mut connection).await,
        }
    }
}

/// The moment at which a script acts.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// The time of Redis, plus so many milliseconds.
    Now { offset_ms: i64 },
    /// A moment of the reference model's own, ms since 1970.
    #[cfg(test)]
    At(i64),
}

impl When {
    /// The time of Redis, as far as this clock is moved.
    pub fn now(clock: &Clock) -> Self {
        Self::Now { offset_ms: clock.offset_ms() }
    }

    /// As the scripts take it.
    pub fn arg(self) -> String {
        match self {
            Self::Now { offset_ms } => offset_ms.to_string(),
            #[cfg(test)]
            Self::At(moment) => format!("@{moment}"),
        }
    }
}

/// Sixteen random bytes in hex.
fn nonce() -> String {
    format!("{:032x}", rand::random::<u128>())
}
