//! What each person in line does.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use acceptance::SERVICE_TOKEN;
use tokio::time::Instant;

use super::Arguments;
use super::promises::Admission;
use crate::crowd::{Crowd, Findings, Heard, Kind, Next};
use crate::http::{Answer, Failure, post};
use crate::line::{Said, Stay, jti_of};

/// Doors of the crowd.
const PUBLIC: usize = 0;
const OPS: usize = 1;

pub const NO_LAPSE: &str = "nobody lapses who polls";

const SECOND: Duration = Duration::from_secs(1);
/// Who leaves the line does so within so many seconds.
const PATIENCE_SECONDS: f64 = 15.0;

/// Somebody.
pub struct Person {
    step: Step,
    stay: Stay,
    is_rude: bool,
    leaves_at: Option<Instant>,
    asked: Instant,
    answered: Instant,
    jti: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Join,
    Poll,
    LeaveLine,
    Complete,
    LeaveActive,
}

/// What came of them.
#[derive(Debug, Default)]
pub struct Counts {
    pub came: AtomicU64,
    pub left: AtomicU64,
    /// How often the ops listener said how many are active.
    pub samples: AtomicU64,
}

/// The line, and what was seen of it.
pub struct Line {
    queue: &'static str,
    pub arguments: Arguments,
    pub findings: Findings,
    pub counts: Counts,
    admissions: Mutex<Vec<Admission>>,
}

impl Person {
    /// Who comes at `at`.
    pub fn new(user_token: String, arguments: &Arguments, at: Instant) -> Self {
        let leaves = rand::random_bool(arguments.leavers);
        let patience = Duration::from_secs_f64(rand::random_range(0.0..PATIENCE_SECONDS));
        Self {
            step: Step::Join,
            stay: Stay::of(user_token),
            is_rude: rand::random_bool(arguments.rude),
            leaves_at: leaves.then(|| at + patience),
            asked: at,
            answered: at,
            jti: String::new(),
        }
    }

    fn go(&mut self, step: Step, after: Duration) -> Next {
        self.step = step;
        Next::Ask(if step == Step::Complete { OPS } else { PUBLIC }, after)
    }
}

impl Line {
    pub fn new(queue: &'static str, arguments: Arguments) -> Self {
        let (findings, counts, admissions) = (Findings::default(), Counts::default(), Mutex::default());
        Self { queue, arguments, findings, counts, admissions }
    }

    /// Everybody who was told to be let in.
    pub fn admissions(&self) -> Vec<Admission> {
        self.admissions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn waits(&self, person: &mut Person, waiting: u64, told: Duration) -> Next {
        if person.leaves_at.is_some_and(|at| at <= Instant::now()) {
            return person.go(Step::LeaveLine, Duration::ZERO);
        }
        #[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
        let after = match self.arguments.polls_per_second {
            Some(rate) => Duration::from_secs_f64(waiting as f64 / rate * rand::random_range(0.5..1.5)),
            None if person.is_rude => SECOND,
            None => told,
        };
        person.go(Step::Poll, after)
    }

    fn let_in(&self, person: &mut Person, admitted_ms: i64, entry: &str) -> Next {
        let admission = Admission { asked: person.asked, answered: person.answered, admitted_ms };
        self.admissions.lock().unwrap_or_else(PoisonError::into_inner).push(admission);
        let stay = Duration::from_millis(self.arguments.stay_ms).mul_f64(rand::random_range(0.5..1.5));
        match jti_of(entry) {
            Some(jti) if !rand::random_bool(self.arguments.walkers) => {
                person.jti = jti;
                person.go(Step::Complete, stay)
            }
            _ => person.go(Step::LeaveActive, stay),
        }
    }

    fn heard_in_line(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Next {
        if person.step == Step::Join && answer.is_ok() {
            person.answered = Instant::now();
        }
        match person.stay.hear(answer, &self.findings) {
            Said::Waiting { waiting, after, .. } => self.waits(person, waiting, after),
            Said::Active { admitted_ms, entry } => self.let_in(person, admitted_ms, &entry),
            Said::Later(after) => person.go(person.step, after),
            said => {
                self.findings.expect(said != Said::Ended, NO_LAPSE, || "a place has ended".to_owned());
                Next::Done
            }
        }
    }
}

impl Crowd for Line {
    type Person = Person;

    fn ask(&self, person: &mut Person, into: &mut Vec<u8>) -> Kind {
        match person.step {
            Step::Join => {
                person.asked = Instant::now();
                self.counts.came.fetch_add(1, Relaxed);
                person.stay.ask_join(self.queue, into);
                Kind::Join
            }
            Step::Poll => {
                person.stay.ask_poll(self.queue, into);
                Kind::Poll
            }
            Step::LeaveLine | Step::LeaveActive => {
                person.stay.ask_leave(self.queue, into);
                Kind::Leave
            }
            Step::Complete => {
                let path = format!("/internal/v1/queues/{}/completions", self.queue);
                into.extend(post(&path, Some(SERVICE_TOKEN), &format!(r#"{{"jtis":["{}"]}}"#, person.jti)));
                Kind::Complete
            }
        }
    }

    fn hear(&self, person: &mut Person, answer: Result<&Answer<'_>, Failure>) -> Heard {
        match person.step {
            Step::Join | Step::Poll => self.heard_in_line(person, answer).into(),
            Step::LeaveLine => {
                self.counts.left.fetch_add(1, Relaxed);
                person.stay.hear(answer, &self.findings);
                Next::Done.into()
            }
            Step::LeaveActive => {
                person.stay.hear(answer, &self.findings);
                Next::Done.into()
            }
            Step::Complete => {
                let is_heard = answer.is_ok_and(|answer| answer.status == 200 || answer.status >= 500);
                Heard { next: Next::Done, wrong: (!is_heard).then_some("a completion was not heard") }
            }
        }
    }
}
