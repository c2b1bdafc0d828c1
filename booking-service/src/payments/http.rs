//! `/v1/payments`.

use axum::Json;
use axum::extract::State;
use axum::response::{ErrorResponse, IntoResponse, Response};
use serde::Deserialize;
use shared::extract::{RawBody, Segment};
use shared::problem::Problem;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{GiveBack, Paid, Pay, Receipt, Refunded, Refusal};
use crate::admitted::{Admitted, Anyone, Buyer, Gate, Row, Subject, point_to_queue};
use crate::answers::Created;
use crate::app::App;
use crate::holds::{SeatNumbers, http as holds};
use crate::idempotency::{KeyHeader, Need};
use crate::{codes, metrics};

pub struct PayRow;

impl Row for PayRow {
    const GATE: Option<Gate> = Some(Gate::Pay);
}

/// Which hold to pay; what it costs is the service's to say.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct PayBody {
    pub reservation_id: String,
}

/// Which seats to give back; left out: all that are left.
///
/// An unknown member is refused: a misspelt one would give back everything.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundBody {
    pub seat_numbers: Option<Vec<i64>>,
}

pub async fn pay(
    State(app): State<App>,
    buyer: Result<Buyer<PayRow>, Problem>,
    key: KeyHeader,
    raw: Result<RawBody, Problem>,
) -> Result<Created<Paid>, ErrorResponse> {
    let reservation = buyer.is_err().then(|| reservation_of(&raw)).flatten();
    let look_up = app.holds.queue_of(reservation.unwrap_or_default());
    let buyer = point_to_queue(&app, buyer, reservation.map(Subject::Reservation), look_up).await?;
    let parse = |raw: &RawBody| Ok(raw.parse::<PayBody>()?.reservation_id.parse().ok());
    let (caller, intent, reservation) = key.admit(&app, buyer, raw, Need::Honoured, parse).await?;
    Ok(Created(app.payments.pay(Pay { caller, reservation, intent }).await?))
}

fn reservation_of(raw: &Result<RawBody, Problem>) -> Option<Uuid> {
    let body: PayBody = raw.as_ref().ok()?.parse().ok()?;
    body.reservation_id.parse().ok()
}

pub async fn receipt(
    State(app): State<App>,
    who: Admitted<Anyone>,
    Segment(id): Segment<Uuid>,
) -> Result<Json<Receipt>, ErrorResponse> {
    Ok(Json(app.payments.receipt(who.caller.user(), id).await?))
}

pub async fn refund(
    State(app): State<App>,
    buyer: Buyer<Anyone>,
    Segment(id): Segment<Uuid>,
    key: KeyHeader,
    raw: Result<RawBody, Problem>,
) -> Result<Created<Refunded>, ErrorResponse> {
    let payment = match app.payments.receipt(buyer.user(), id).await {
        Ok(receipt) => receipt.paid.payment_id,
        Err(refusal) => {
            // Nothing can have been remembered of it: a spent token is refused first.
            buyer.unspent(&app.door)?;
            return Err(refusal.into());
        }
    };
    let (caller, intent, wanted) = key.admit(&app, buyer, raw, Need::Honoured, wanted).await?;
    let wish = GiveBack { user: caller.user().to_owned(), payment, wanted, intent };
    Ok(Created(app.payments.refund(&wish).await?))
}

/// Without a body, as without the member: all seats.
fn wanted(raw: &RawBody) -> Result<Option<SeatNumbers>, Problem> {
    if raw.bytes().trim_ascii().is_empty() {
        return Ok(None);
    }
    let body: RefundBody = raw.parse()?;
    Ok(body.seat_numbers.map(SeatNumbers::parse).transpose()?)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::Door(refusal) => refusal.into(),
            Self::ReservationNotFound => holds::not_found(),
            Self::NotHeld => holds::not_held(),
            Self::HoldExpired => holds::expired(),
            Self::AlreadyPaid { payment } => Problem::new(&codes::ALREADY_PAID, "The reservation is paid.")
                .with("payment_id", payment.map(|id| id.to_string())),
            Self::PaymentNotFound => Problem::new(&codes::PAYMENT_NOT_FOUND, "You have no such payment."),
            Self::UnknownSeat(numbers) => Problem::new(&codes::UNKNOWN_SEAT, "The payment has no such seat.")
                .with("seat_numbers", numbers),
            Self::AlreadyRefunded(numbers) => {
                Problem::new(&codes::ALREADY_REFUNDED, "These seats were given back.")
                    .with("seat_numbers", numbers)
            }
            Self::ShowStarted => Problem::new(&codes::SHOW_STARTED, "The show has started."),
            Self::Points(refusal) => return refusal.into_response(),
            Self::Key(refusal) => return refusal.into_response(),
            Self::Db(error) => error.into(),
        };
        metrics::refused("payment", problem.code().word);
        problem.into_response()
    }
}
