//! `/auth/sessions` and `/admin/users/{id}/sessions`: where somebody is logged in.

use crate::http::context::Context;
use crate::http::extract::caller::{Admin, User};
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::Parameters;
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::{Id, Time};
use crate::http::{Code, Shared};
use crate::identity::{Caller, LiveSession, SessionId};
use axum::extract::State;
use axum::http::StatusCode;
use domain::UserId;
use serde::Serialize;
use utoipa::ToSchema;

/// A live session.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    id: Id,
    created_at: Time,
    /// When its newest tokens were given out.
    last_used_at: Time,
    /// The address that it was opened from; null when it is not known.
    #[schema(required, example = "192.0.2.7")]
    address: Option<String>,
    /// Whether this request belongs to it.
    is_current: bool,
}

type SessionPage = Page<Session>;

impl Session {
    fn of(live: &LiveSession, current: Option<SessionId>) -> Self {
        Self {
            id: live.id.0.into(),
            created_at: live.created_at.into(),
            last_used_at: live.last_used_at.into(),
            address: live.address.map(|address| address.to_string()),
            is_current: current == Some(live.id),
        }
    }
}

/// Your sessions, newest first
#[utoipa::path(get, path = "/auth/sessions", security(("Bearer" = ["user"])), params(PageParams),
    responses((status = 200, description = "Live sessions.", body = SessionPage)))]
pub(crate) async fn list_own(
    State(app): State<Shared>,
    user: User,
    context: Context,
    parameters: Parameters,
) -> Result<Json<SessionPage>, Problem> {
    list(&app, user.id, Some(user.session), &context, parameters).await
}

/// End one of your sessions
///
/// Its tokens are refused within a second, everywhere.
#[utoipa::path(delete, path = "/auth/sessions/{id}", security(("Bearer" = ["user"])),
    params(("id" = Id, Path, description = "The session.")),
    responses((status = 204, description = "It has ended.")),
    extensions(("x-refusals" = json!(refusals(&[Code::SessionNotFound])))))]
pub(crate) async fn end_own(
    State(app): State<Shared>,
    user: User,
    path::Id(session): path::Id<SessionId>,
) -> Result<StatusCode, Problem> {
    app.identity.end_session_of(user.id, session, app.clock.now().utc()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A user's sessions, newest first
#[utoipa::path(get, path = "/admin/users/{id}/sessions", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The user."), PageParams),
    responses((status = 200, description = "Live sessions.", body = SessionPage)),
    extensions(("x-refusals" = json!(refusals(&[Code::UserNotFound])))))]
pub(crate) async fn list_of_user(
    State(app): State<Shared>,
    Admin(admin): Admin,
    path::Id(user): path::Id<UserId>,
    context: Context,
    parameters: Parameters,
) -> Result<Json<SessionPage>, Problem> {
    let user = app.identity.get_user(user).await?.id;
    let current = if let Caller::User { session, .. } = admin { Some(session) } else { None };
    list(&app, user, current, &context, parameters).await
}

/// End all sessions of a user
#[utoipa::path(delete, path = "/admin/users/{id}/sessions", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The user.")),
    responses((status = 204, description = "They have ended.")),
    extensions(("x-refusals" = json!(refusals(&[Code::UserNotFound])))))]
pub(crate) async fn end_all_of_user(
    State(app): State<Shared>,
    Admin(admin): Admin,
    path::Id(user): path::Id<UserId>,
) -> Result<StatusCode, Problem> {
    app.identity.end_sessions_of(user, &admin.actor(), app.clock.now().utc()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list(
    app: &Shared,
    user: UserId,
    current: Option<SessionId>,
    context: &Context,
    parameters: Parameters,
) -> Result<Json<SessionPage>, Problem> {
    let (params, ()) = PageParams::read(parameters, "sessions", |_| ())?;
    let after = params.after()?;
    let slice = app.identity.live_sessions(user, after, params.limit, app.clock.now().utc()).await?;
    Ok(Json(params.page(context, slice.map(|live| Session::of(&live, current)))))
}
