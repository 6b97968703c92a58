//! `/admin/mail` and `/admin/users/{id}/mail`: what users were told, without its text.

use super::{Reason, only_reason};
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::{Parameters, variant};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::{Id, Position, Time};
use crate::http::{Code, Shared};
use crate::processors::notifications::{self, MailFilter, MailView};
use axum::extract::State;
use axum::http::StatusCode;
use domain::UserId;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A mail to a user. Its address and its text are written when it is sent, and not kept.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mail {
    /// The id of the event that it tells of; also in its `Message-ID`.
    id: Id,
    user_id: Id,
    /// Of that event.
    position: Position,
    #[schema(value_type = MailKind)]
    kind: String,
    /// The transaction, or the subscription that ends.
    aggregate_id: Id,
    #[schema(value_type = MailStatus)]
    status: notifications::MailStatus,
    /// Tries since it was made or sent again.
    #[schema(value_type = u32, minimum = 0, example = 1)]
    attempts: i32,
    /// Null unless it is pending.
    #[schema(required, example = json!(null))]
    next_attempt_at: Option<Time>,
    /// Why the last try did not count, or why nobody was written to.
    #[schema(required, example = json!(null))]
    last_error: Option<String>,
    created_at: Time,
    /// When it was sent, skipped or parked.
    #[schema(required)]
    finished_at: Option<Time>,
}

/// What it is about.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "shows what the table has")]
enum MailKind {
    Succeeded,
    Failed,
    ExpirySoon,
}

/// How far it is. A skipped one had nobody to go to; a parked one waits for a person.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "shows `notifications::MailStatus`")]
enum MailStatus {
    Pending,
    Sent,
    Skipped,
    Parked,
}

/// A mail is sent again.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailSentAgain {
    id: Id,
    #[schema(example = "The mail is sent again")]
    message: &'static str,
}

type MailPage = Page<Mail>;

/// Mails, the newest event first
#[utoipa::path(get, path = "/admin/mail", security(("Bearer" = ["admin"])),
    params(("status" = MailStatus, Query, description = "Only those with this status."), PageParams),
    responses((status = 200, description = "Mails.", body = MailPage)))]
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Json<MailPage>, Problem> {
    let (params, status) = PageParams::read(parameters, "mail", |parameters| {
        parameters.optional("status", variant::<notifications::MailStatus>)
    })?;
    list(&app, MailFilter { status, user: None }, &params, &context).await
}

/// A user's mails, the newest event first
#[utoipa::path(get, path = "/admin/users/{id}/mail", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The user."), PageParams),
    responses((status = 200, description = "Mails.", body = MailPage)),
    extensions(("x-refusals" = json!(refusals(&[Code::UserNotFound])))))]
pub(crate) async fn of_user(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(user): path::Id<UserId>,
    context: Context,
    parameters: Parameters,
) -> Result<Json<MailPage>, Problem> {
    let (params, ()) = PageParams::read(parameters, "mail", |_| ())?;
    let user = app.identity.get_user(user).await?.id;
    list(&app, MailFilter { status: None, user: Some(user) }, &params, &context).await
}

/// Send a mail again
///
/// With all its tries, to the address that the user has now.
#[utoipa::path(post, path = "/admin/mail/{id}/resend", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The mail.")),
    request_body = Option<Reason>,
    responses((status = 202, description = "On its way.", body = MailSentAgain)),
    extensions(("x-refusals" = json!(refusals(&[Code::MailNotFound, Code::Conflict])))))]
pub(crate) async fn resend(
    State(app): State<Shared>,
    Admin(admin): Admin,
    path::Id(id): path::Id<Uuid>,
    fields: Option<Fields>,
) -> Result<(StatusCode, Json<MailSentAgain>), Problem> {
    let by = admin.actor().because(only_reason(fields)?);
    app.mails.resend(id, &by).await?;
    tracing::info!(mail_id = %id, actor = %by, "mail {id} is sent again by {by}");
    Ok((StatusCode::ACCEPTED, Json(MailSentAgain { id: id.into(), message: "The mail is sent again" })))
}

async fn list(
    app: &Shared,
    filter: MailFilter,
    params: &PageParams,
    context: &Context,
) -> Result<Json<MailPage>, Problem> {
    let slice = app.mails.list(filter, params.after()?, params.limit).await?;
    Ok(Json(params.page(context, slice.map(Mail::from))))
}

impl From<MailView> for Mail {
    fn from(mail: MailView) -> Self {
        Self {
            id: mail.id.into(),
            user_id: mail.user_id.into(),
            position: Position(mail.position),
            kind: mail.kind,
            aggregate_id: mail.aggregate_id.into(),
            status: mail.status,
            attempts: mail.attempts,
            next_attempt_at: mail.next_attempt_at.map(Into::into),
            last_error: mail.last_error,
            created_at: mail.created_at.into(),
            finished_at: mail.finished_at.map(Into::into),
        }
    }
}
