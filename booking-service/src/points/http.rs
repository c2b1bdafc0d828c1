//! `/v1/points`.

use axum::Json;
use axum::extract::State;
use axum::response::{ErrorResponse, IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::extract::{Query, RawBody};
use shared::page::{Page, PageQuery};
use shared::problem::Problem;
use utoipa::ToSchema;

use super::{Amount, Balance, Kind, LedgerEntry, Move, Moved, Points, Refusal, Statement, memo};
use crate::admitted::{Admitted, Anyone, Buyer};
use crate::answers::Created;
use crate::app::App;
use crate::idempotency::{KeyHeader, Need};
use crate::{codes, metrics};

/// A charge. Its members are judged one by one, so that an amount that is none says so by name.
#[derive(Serialize, ToSchema)]
pub struct ChargeBody {
    #[schema(minimum = 1)]
    pub amount: i64,
}

/// A use.
#[derive(Serialize, ToSchema)]
pub struct UseBody {
    #[schema(minimum = 1)]
    pub amount: i64,
    #[schema(max_length = 200)]
    pub memo: Option<String>,
}

pub async fn balance(State(app): State<App>, who: Admitted<Anyone>) -> Result<Json<Balance>, ErrorResponse> {
    Ok(Json(app.points.balance(who.caller.user()).await?))
}

/// Query of the ledger.
#[derive(Debug, Default, Deserialize)]
pub struct StatementQuery {
    kind: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[serde(flatten)]
    page: PageQuery,
}

pub async fn history(
    State(app): State<App>,
    who: Admitted<Anyone>,
    query: Result<Query<StatementQuery>, Problem>,
) -> Result<Json<Page<LedgerEntry>>, ErrorResponse> {
    let Query(query) = query?;
    let page = query.page.parse()?;
    let statement = Statement::parse(query.kind.as_deref(), query.from.as_deref(), query.to.as_deref())
        .map_err(|(field, message)| Problem::invalid_field(field, message))?;
    Ok(Json(app.points.history(who.caller.user(), &statement, &page).await?))
}

pub async fn charge(
    State(app): State<App>,
    buyer: Buyer<Anyone>,
    key: KeyHeader,
    raw: Result<RawBody, Problem>,
) -> Result<Created<Moved>, ErrorResponse> {
    carry_out(&app, buyer, key, raw, Kind::Charge).await
}

pub async fn use_points(
    State(app): State<App>,
    buyer: Buyer<Anyone>,
    key: KeyHeader,
    raw: Result<RawBody, Problem>,
) -> Result<Created<Moved>, ErrorResponse> {
    carry_out(&app, buyer, key, raw, Kind::Use).await
}

async fn carry_out(
    app: &App,
    buyer: Buyer<Anyone>,
    key: KeyHeader,
    raw: Result<RawBody, Problem>,
    kind: Kind,
) -> Result<Created<Moved>, ErrorResponse> {
    let limits = app.points.limits();
    let parse = |raw: &RawBody| {
        let Value::Object(body) = raw.parse().map_err(unless_amount)? else {
            return Err(Problem::invalid_field("body", "must be an object"));
        };
        let most = if kind == Kind::Charge { limits.charge } else { limits.spend };
        let amount = Amount::parse(body.get("amount"), most).ok_or_else(invalid_amount)?;
        let memo = match kind {
            Kind::Use => memo(body.get("memo")).map_err(|message| Problem::invalid_field("memo", message))?,
            _ => None,
        };
        Ok((amount, memo))
    };
    let (caller, intent, (amount, memo)) = key.admit(app, buyer, raw, Need::Required, parse).await?;
    let wish = Move { user: caller.user().to_owned(), kind, amount, memo, intent };
    Ok(Created(app.points.carry_out(wish).await?))
}

/// A number that no machine has room for is no amount, rather than no JSON of ours.
fn unless_amount(problem: Problem) -> Problem {
    if problem.is_about("amount") { invalid_amount() } else { problem }
}

fn invalid_amount() -> Problem {
    metrics::refused("points", codes::INVALID_AMOUNT.word);
    not_an_amount()
}

fn not_an_amount() -> Problem {
    let detail = "The amount must be a JSON integer from 1 on, within the limits.";
    Problem::new(&codes::INVALID_AMOUNT, detail)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::InvalidAmount => not_an_amount(),
            Self::Insufficient { balance, amount } => insufficient(balance, amount),
            Self::BalanceLimit { balance, amount, most } => Problem::new(
                &codes::BALANCE_LIMIT_REACHED,
                format!("There are {balance} points, {amount} more would be above {most}."),
            )
            .with("balance", balance.get())
            .with("amount", amount.get())
            .with("max", most.get()),
            Self::Key(refusal) => return refusal.into_response(),
            Self::Db(error) => error.into(),
        };
        metrics::refused("points", problem.code().word);
        problem.into_response()
    }
}

/// The refusal of a debit above the balance.
pub fn insufficient(balance: Points, amount: Points) -> Problem {
    Problem::new(&codes::INSUFFICIENT_POINTS, format!("There are {balance} points, {amount} are needed."))
        .with("balance", balance.get())
        .with("amount", amount.get())
}
