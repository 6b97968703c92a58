//! `/admin/users`: people who may log in.

use super::{cursor, key, reason};
use crate::app::registration;
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::Wanted;
use crate::http::extract::path::Id;
use crate::http::extract::query::{Parameters, text};
use crate::http::extract::values::{Expected, boolean, line, list, secret};
use crate::http::problem::Problem;
use crate::http::resources::auth::shown;
use crate::identity::{NewUser, Roles, UserChange};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::{Metadata, UserId};
use serde_json::Value;
use serde_json::value::RawValue;

/// The longest text that is handed on to be judged, in characters.
const MAX_TEXT: usize = 1024;

/// `POST /admin/users/`: writes the row, then opens the account; a request that was cut off in between
/// goes on where it stopped when it is sent again.
pub(crate) async fn create(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    fields: Fields,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (new, reason) = fields.read_strictly(|fields| (new_user(fields), reason(fields)))?;
    let now = app.clock.now().utc();
    let metadata = Metadata { reason: reason.clone(), ..context.metadata(admin.actor().to_string()) };
    let by = admin.actor().because(reason);
    let user = registration::create_user(&app.log, &app.identity, &new, &by, &metadata, now).await?;
    Ok((StatusCode::CREATED, Json(shown(&user))))
}

/// `GET /admin/users/?q=`
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (wanted, q) = Wanted::read(parameters, "users", |parameters| parameters.optional("q", text))?;
    let after = wanted.key(cursor)?;
    let page = app.identity.find_users(&q.unwrap_or_default(), after, wanted.limit as usize).await?;
    let next = page.next.as_ref().map(key);
    Ok(wanted.answer(&context, page.items.iter().map(shown).collect(), next))
}

/// `GET /admin/users/{id}/`
pub(crate) async fn detail(
    State(app): State<Shared>,
    _admin: Admin,
    Id(id): Id<UserId>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(shown(&app.identity.get_user(id).await?)))
}

/// `PATCH /admin/users/{id}/`
pub(crate) async fn change(
    State(app): State<Shared>,
    Admin(admin): Admin,
    Id(id): Id<UserId>,
    fields: Fields,
) -> Result<Json<Value>, Problem> {
    let (change, reason) = fields.read_strictly(|fields| {
        let change = UserChange {
            is_active: fields.change("is_active", boolean),
            roles: fields.change("roles", roles),
            password: fields.change("password", secret(1..=MAX_TEXT)),
            email: fields.change("email", line(0..=MAX_TEXT)),
        };
        (change, reason(fields))
    })?;
    let (by, now) = (admin.actor().because(reason), app.clock.now().utc());
    Ok(Json(shown(&app.identity.update_user(id, &change, &by, now).await?)))
}

/// Only types and characters are judged here; what a name or a password must be, identity knows.
fn new_user(fields: &mut Fields) -> NewUser {
    NewUser {
        username: fields.required("username", line(0..=MAX_TEXT)),
        password: fields.required("password", secret(0..=MAX_TEXT)),
        email: fields.required("email", line(0..=MAX_TEXT)),
        first_name: fields.optional("first_name", line(0..=MAX_TEXT)).unwrap_or_default(),
        last_name: fields.optional("last_name", line(0..=MAX_TEXT)).unwrap_or_default(),
        roles: fields.optional("roles", roles).unwrap_or_default(),
    }
}

fn roles(value: &RawValue) -> Result<Roles, Expected> {
    let names = list(|name| Ok(name.to_owned()))(value)?;
    let known = Roles::parse(names.iter().map(String::as_str));
    known.map_err(|_| "must be one or more of user, admin, auditor".to_owned())
}
