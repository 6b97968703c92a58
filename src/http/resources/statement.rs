//! Statements of users and partners, for themselves and for administrators: one list, four ways to it.

use crate::app::statement::{self, Audience, Period};
use crate::http::context::Context;
use crate::http::extract::caller::{Admin, Partner, User};
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::{Parameters, time};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::{Id, Money, Position, SignedMoney, Time};
use crate::http::{Code, Shared};
use axum::extract::State;
use domain::{AccountId, PartnerId, UserId};
use serde::Serialize;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{IntoParams, ToSchema};

/// What came into an account or left it.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatementEntry {
    /// Of its event.
    position: Position,
    at: Time,
    kind: EntryKind,
    amount: SignedMoney,
    /// After it: the balance of the entry before it and the amount.
    balance: Money,
    /// Null for a credit or a debit.
    #[schema(required)]
    transaction_id: Option<Id>,
    /// Of a credit or a debit, in the words of the one who made it. Administrators also see why a transaction was resolved.
    #[schema(required, example = "Paid at the desk")]
    reason: Option<String>,
}

/// `credit` and `debit`: paid in and out. `hold`: reserved for a transaction; either `release`: it came back, or
/// `charge`: it became final, which moves nothing (`0.00`).
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntryKind {
    Credit,
    Debit,
    Hold,
    Release,
    Charge,
}

type StatementEntryPage = Page<StatementEntry>;

impl IntoParams for Period {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = |name, what| {
            let time = SchemaFormat::KnownFormat(KnownFormat::DateTime);
            let time = ObjectBuilder::new().schema_type(Type::String).format(Some(time));
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
            parameter.description(Some(what)).schema(Some(Schema::from(time))).build()
        };
        vec![
            parameter("from", "Only what was recorded at this time (RFC 3339) or later."),
            parameter("to", "Only what was recorded before this time; not before `from`."),
        ]
    }
}

/// Statement, newest first
///
/// Each balance is the balance of the entry before it and the amount, and the newest is what is available.
#[utoipa::path(get, path = "/account/statement", security(("Bearer" = ["user"])), params(Period, PageParams),
    responses((status = 200, description = "The caller's statement.", body = StatementEntryPage)))]
pub(crate) async fn of_caller(
    State(app): State<Shared>,
    user: User,
    context: Context,
    parameters: Parameters,
) -> Result<Json<StatementEntryPage>, Problem> {
    list(&app, user.id.into(), Audience::Owner, &context, parameters).await
}

/// Statement of the float account, newest first
///
/// Each balance is the balance of the entry before it and the amount, and the newest is what is available.
#[utoipa::path(get, path = "/partner/statement", security(("ApiKey" = [])), params(Period, PageParams),
    responses((status = 200, description = "The caller's statement.", body = StatementEntryPage)))]
pub(crate) async fn of_calling_partner(
    State(app): State<Shared>,
    partner: Partner,
    context: Context,
    parameters: Parameters,
) -> Result<Json<StatementEntryPage>, Problem> {
    list(&app, partner.id.into(), Audience::Owner, &context, parameters).await
}

/// A user's statement, newest first
#[utoipa::path(get, path = "/admin/users/{id}/statement", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The user."), Period, PageParams),
    responses((status = 200, description = "The statement.", body = StatementEntryPage)),
    extensions(("x-refusals" = json!(refusals(&[Code::UserNotFound])))))]
pub(crate) async fn of_user(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(user): path::Id<UserId>,
    context: Context,
    parameters: Parameters,
) -> Result<Json<StatementEntryPage>, Problem> {
    let user = app.identity.get_user(user).await?;
    list(&app, user.id.into(), Audience::Admin, &context, parameters).await
}

/// A partner's statement, newest first
#[utoipa::path(get, path = "/admin/partners/{id}/statement", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The partner."), Period, PageParams),
    responses((status = 200, description = "The statement.", body = StatementEntryPage)),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound])))))]
pub(crate) async fn of_partner(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(partner): path::Id<PartnerId>,
    context: Context,
    parameters: Parameters,
) -> Result<Json<StatementEntryPage>, Problem> {
    let partner = app.identity.get_partner(partner).await?;
    list(&app, partner.id.into(), Audience::Admin, &context, parameters).await
}

async fn list(
    app: &Shared,
    account: AccountId,
    audience: Audience,
    context: &Context,
    parameters: Parameters,
) -> Result<Json<StatementEntryPage>, Problem> {
    let (params, period) = PageParams::read(parameters, "statement", |parameters| Period {
        from: parameters.optional("from", time),
        to: parameters.optional("to", time),
    })?;
    if period.from.zip(period.to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::invalid_field("from", "must not be later than to"));
    }
    let after = params.after()?;
    let slice = app.statements.list(account, audience, period, after, params.limit).await?;
    Ok(Json(params.page(context, slice.map(StatementEntry::from))))
}

impl From<statement::Entry> for StatementEntry {
    fn from(entry: statement::Entry) -> Self {
        let statement::Entry { position, at, kind, amount, balance, transaction_id, reason } = entry;
        Self {
            position: Position(position),
            at: at.into(),
            kind: kind.into(),
            amount: amount.into(),
            balance: balance.into(),
            transaction_id: transaction_id.map(Into::into),
            reason,
        }
    }
}

impl From<statement::EntryKind> for EntryKind {
    fn from(kind: statement::EntryKind) -> Self {
        use statement::EntryKind as K;
        match kind {
            K::Credit => Self::Credit,
            K::Debit => Self::Debit,
            K::Hold => Self::Hold,
            K::Release => Self::Release,
            K::Charge => Self::Charge,
        }
    }
}
