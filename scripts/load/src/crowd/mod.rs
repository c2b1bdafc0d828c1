//! People: each does one thing after another, each thing at its moment. The open loop of the load tests.
//!
//! ```text
//!            ┌────────────────── at its moment, behind its door ◀──────────────────┐
//!            ▼                                                                     │ Next
//!   agenda ──▶ door 0: connections ─▶ ask ─▶ the queue service   ─▶ hear ──────────┤
//!          └─▶ door 1: connections ─▶ ask ─▶ the booking service ─▶ hear ──────────┘
//!                                                                    │
//!                                              tallies (latency from the moment) · findings
//! ```
//!
//! A person is a value that travels: whoever holds it is the only one, so it has no lock, no task and no timer. A
//! person who comes at a moment comes at that moment, however slow the service is: what waits for a free
//! connection waits in its latency. What a person does after an answer is counted from that answer.

mod agenda;
mod findings;
mod tallies;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::{Answer, Client, Failure};
use crate::tally::Outcome;

pub use agenda::Agenda;
pub use findings::Findings;
pub use tallies::{Kind, Tallies};
pub use watch::{Sample, watch};

/// What people of a test do.
pub trait Crowd: Send + Sync + 'static {
    type Person: Send + 'static;

    /// What the person does now: the request, behind what `into` holds, which is nothing.
    fn ask(&self, person: &mut Self::Person, into: &mut Vec<u8>) -> Kind;

    /// Hears what came of it, and says what the person does next. `Err` names what is wrong with the answer: it then
    /// counts as that.
    fn hear(&self, person: &mut Self::Person, answer: Result<&Answer<'_>, Failure>) -> Heard;
}

/// What a person makes of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    pub next: Next,
    pub wrong: Option<&'static str>,
}

/// What a person does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Asks again behind this door, so long from now.
    Ask(usize, Duration),
    /// Is done.
    Done,
}

impl From<Next> for Heard {
    fn from(next: Next) -> Self {
        Self { next, wrong: None }
    }
}

/// A service, and how many connections there are to each of its addresses.
#[derive(Clone, Debug)]
pub struct Doorway {
    pub addresses: Vec<SocketAddr>,
    pub connections: usize,
}

/// Lets everybody live: until all are done, or `agenda` is stopped.
pub async fn run<C: Crowd>(
    crowd: &Arc<C>,
    doorways: &[Doorway],
    agenda: &Arc<Agenda<C::Person>>,
    tallies: &Arc<Tallies>,
) {
    let mut tasks = JoinSet::new();
    for (door, way) in doorways.iter().enumerate() {
        for address in way.addresses.iter().flat_map(|address| std::iter::repeat_n(*address, way.connections))
        {
            let (crowd, agenda, tallies) = (crowd.clone(), agenda.clone(), tallies.clone());
            tasks.spawn(async move { serve(&*crowd, door, address, &agenda, &tallies).await });
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn serve<C: Crowd>(
    crowd: &C,
    door: usize,
    address: SocketAddr,
    agenda: &Agenda<C::Person>,
    tallies: &Tallies,
) {
    let (mut client, mut request) = (Client::new(address), Vec::new());
    while let Some((intended, mut person)) = agenda.next(door).await {
        request.clear();
        let kind = crowd.ask(&mut person, &mut request);
        let answer = client.send(&request).await;
        let heard = crowd.hear(&mut person, answer.as_ref().map_err(|failure| *failure));
        let outcome = match (heard.wrong, answer) {
            (Some(wrong), _) => Outcome::Wrong(wrong),
            (None, Err(failure)) => Outcome::Failed(failure),
            (None, Ok(answer)) if answer.status < 400 => Outcome::Good(answer.status),
            (None, Ok(answer)) => Outcome::Refused(answer.status, answer.code().into()),
        };
        tallies.add(kind, outcome, intended);
        match heard.next {
            Next::Ask(door, after) => agenda.put(Instant::now() + after, door, person),
            Next::Done => agenda.done(),
        }
    }
}
