//! `/admin/changes` and `/admin/users/{id}/changes`: the audit log.

use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::Parameters;
use crate::http::extract::values::{Expected, parse_uuid};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::{Id, Time};
use crate::http::{Code, Shared};
use crate::identity::{self, ChangeFilter};
use axum::extract::State;
use domain::UserId;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The longest name of an actor or a subject, in characters.
const MAX_PARTY: usize = 100;
/// What a name is about that goes on with an id.
const WITH_ID: [&str; 5] = ["user", "partner", "callback", "parked", "mail"];
/// What a name is about that goes on with text: a part of the product, an address, a name that nobody has.
const WITH_TEXT: [&str; 3] = ["system", "address", "name"];

/// Who changed what.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    id: Id,
    at: Time,
    /// `user:<id>`, `partner:<id>`, `system:<name>`; `address:<address>` for a login that failed.
    #[schema(example = "user:0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11")]
    actor: String,
    #[schema(example = "user.roles_changed")]
    action: String,
    /// What was changed, such as `user:<id>`, `partner:<id>`, `callback:<id>`.
    #[schema(example = "user:0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11")]
    subject: String,
    /// In the actor's words.
    #[schema(required, example = json!(null))]
    reason: Option<String>,
    /// Its members depend on the action.
    #[schema(value_type = Object, example = json!({"from": ["user"], "to": ["user", "auditor"]}))]
    details: Value,
}

type ChangePage = Page<Change>;

/// `user:<id>`, `partner:<id>`, `callback:<id>`, `parked:<id>`, `mail:<id>`, `system:<name>`, `address:<address>`.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    max_length = 100,
    pattern = "^((user|partner|callback|parked|mail):[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(system|address|name):[!-~]+)$"
)]
#[expect(dead_code, reason = "shows a parameter of the query")]
struct Party(String);

/// Changes, newest first
///
/// Rights, keys, the catalogue's and accounts' corrections, requeues, resends, sessions, and for 90 days logins and
/// refusals. What is an event is in the log: `/audit/events/`.
#[utoipa::path(get, path = "/admin/changes", security(("Bearer" = ["admin"])),
    params(
        ("actor" = inline(Party), Query, description = "Only those by this actor."),
        ("subject" = inline(Party), Query, description = "Only those about this subject."),
        PageParams,
    ),
    responses((status = 200, description = "Changes.", body = ChangePage)))]
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Json<ChangePage>, Problem> {
    let (params, filter) = PageParams::read(parameters, "changes", |parameters| ChangeFilter {
        actor: parameters.optional("actor", party),
        subject: parameters.optional("subject", party),
    })?;
    list(&app, &filter, &params, &context).await
}

/// Changes of a user, newest first
#[utoipa::path(get, path = "/admin/users/{id}/changes", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The user."), PageParams),
    responses((status = 200, description = "Changes.", body = ChangePage)),
    extensions(("x-refusals" = json!(refusals(&[Code::UserNotFound])))))]
pub(crate) async fn of_user(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(user): path::Id<UserId>,
    context: Context,
    parameters: Parameters,
) -> Result<Json<ChangePage>, Problem> {
    let (params, ()) = PageParams::read(parameters, "changes", |_| ())?;
    let user = app.identity.get_user(user).await?.id;
    let filter = ChangeFilter { subject: Some(format!("user:{user}")), ..ChangeFilter::default() };
    list(&app, &filter, &params, &context).await
}

async fn list(
    app: &Shared,
    filter: &ChangeFilter,
    params: &PageParams,
    context: &Context,
) -> Result<Json<ChangePage>, Problem> {
    let slice = app.identity.find_changes(filter, params.after()?, params.limit).await?;
    Ok(Json(params.page(context, slice.map(Change::from))))
}

/// A name as the audit log writes it.
fn party(text: &str) -> Result<String, Expected> {
    let known = text.split_once(':').is_some_and(|(kind, rest)| {
        let visible = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
        (WITH_ID.contains(&kind) && parse_uuid(rest).is_some()) || (WITH_TEXT.contains(&kind) && visible)
    });
    if known && text.len() <= MAX_PARTY {
        return Ok(text.to_owned());
    }
    let (ids, texts) = (WITH_ID.join(", "), WITH_TEXT.join(", "));
    Err(format!("must be one of {ids} with `:` and an id, or one of {texts} with `:` and a text"))
}

impl From<identity::Change> for Change {
    fn from(change: identity::Change) -> Self {
        Self {
            id: change.id.into(),
            at: change.at.into(),
            actor: change.actor,
            action: change.action,
            subject: change.subject,
            reason: change.reason,
            details: change.details,
        }
    }
}
