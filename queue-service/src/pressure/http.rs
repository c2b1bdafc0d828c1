//! Pressure on the wire.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::extract::RawBody;
use shared::problem::Problem;

use super::store;
use crate::app::App;
use crate::caller::Service;
use crate::metrics;
use crate::queues::settings::Adaptive;
use crate::redis::{StoreError, When};

/// How a process of the service behind the line has had it lately. Null = too little to tell.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct Pressure {
    /// Which process.
    reporter: String,
    p99_ms: Option<f64>,
    /// Answers 5xx among all, 0 to 1.
    error_rate: Option<f64>,
    /// The longest wait for a connection to its store.
    pool_wait_ms: Option<f64>,
}

/// The queues whose rate heeds it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Heeded {
    heeded: u64,
}

impl Pressure {
    /// The first measure beyond its bound.
    fn excess(&self, bounds: &Adaptive) -> Option<&'static str> {
        let measures = [
            ("p99_ms", self.p99_ms, bounds.p99_ms),
            ("error_rate", self.error_rate, bounds.error_rate),
            ("pool_wait_ms", self.pool_wait_ms, bounds.pool_wait_ms),
        ];
        let beyond =
            |measure: Option<f64>, bound: Option<f64>| measure.zip(bound).is_some_and(|(m, b)| m > b);
        measures.into_iter().find(|(_, measure, bound)| beyond(*measure, *bound)).map(|(word, ..)| word)
    }
}

/// `POST /internal/v1/pressure`
pub async fn pressure(State(app): State<App>, _: Service, body: RawBody) -> Result<Json<Heeded>, Problem> {
    let pressure: Pressure = body.parse()?;
    if !(1..=64).contains(&pressure.reporter.len()) {
        return Err(Problem::invalid_field("reporter", "must have 1 to 64 bytes"));
    }
    let mut heeded = 0;
    for room in app.rooms.all() {
        let settings = match app.queues.report(&room.id).await {
            Ok(report) => report.settings.clone(),
            Err(StoreError::NoQueue) => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(bounds) = settings.adaptive else { continue };
        let excess = pressure.excess(&bounds).unwrap_or_default();
        let when = When::now(&room.clock);
        let outflow = store::pressure(&room.redis, &room.keys, when, &pressure.reporter, excess).await?;
        metrics::outflow(room.id.as_str(), outflow.share);
        if outflow.is_first_slowing {
            tracing::warn!(queue = room.id.as_str(), reason = excess, "the rate is slowed");
        }
        if outflow.is_whole_again {
            tracing::info!(queue = room.id.as_str(), "the rate is whole again");
        }
        heeded += 1;
    }
    Ok(Json(Heeded { heeded }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_beyond_a_bound_that_is_set_counts() {
        let pressure =
            Pressure { reporter: "a".into(), p99_ms: Some(900.0), error_rate: Some(0.2), pool_wait_ms: None };
        assert_eq!(pressure.excess(&Adaptive::default()), Some("p99_ms"));
        assert_eq!(pressure.excess(&Adaptive { p99_ms: None, ..Adaptive::default() }), Some("error_rate"));
        assert_eq!(
            pressure.excess(&Adaptive { p99_ms: Some(900.0), error_rate: None, ..Adaptive::default() }),
            None
        );
    }
}
