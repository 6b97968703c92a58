//! `/admin/users`: people who may log in.

use super::MAX_REASON;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::{Parameters, text};
use crate::http::extract::request::{Request, request};
use crate::http::extract::rules::{Boolean, Line, Prose, RoleNames, Rule, Secret, Shown};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::resources::account::{SubscriptionPage, list_subscriptions};
use crate::http::resources::auth::Profile;
use crate::http::values::Id;
use crate::http::{Code, Shared};
use crate::identity::{NewUser, Roles, UserChange};
use axum::extract::State;
use axum::http::StatusCode;
use domain::{Metadata, UserId};
use secrecy::SecretString;
use serde_json::json;

/// Texts of any length are handed on, and the message of identity has the real bounds: the limit of the body bounds
/// them here.
const MAX_TEXT: usize = 64 * 1024;

/// Only types and characters are judged here; what a name, a password or a mail address must be, identity knows, and the
/// document describes where no pattern can say it.
fn username() -> Shown<Line> {
    Shown(Line(0..=MAX_TEXT), || json!({"type": "string", "format": "username", "minLength": 1}))
}

fn password() -> Shown<Secret> {
    Shown(Secret(0..=MAX_TEXT), || Secret(8..=1024).schema())
}

fn email() -> Shown<Line> {
    Shown(Line(0..=MAX_TEXT), || json!({"type": "string", "format": "email", "maxLength": 254}))
}

fn name() -> Shown<Line> {
    Shown(Line(0..=MAX_TEXT), || Line(0..=150).schema())
}

request! {
    /// Somebody who may log in.
    strict CreateUser {
        /// 1 to 150 letters and digits of any script and `@ . + - _`, in NFKC. No two usernames differ in case alone.
        username: String = required(username(), "carol"),
        /// In NFC, and none that is guessed first: not one of the ten thousand commonest, not the username, not the
        /// mail address nor what stands before its `@`.
        password: SecretString = required(password(), "a long passphrase"),
        /// Where mail is sent. At most 64 characters of ASCII that need no quotes stand before the `@`; the domain
        /// is a name, and is kept in A-labels.
        email: String = required(email(), "carol@example.com"),
        first_name: Option<String> = optional(name(), "Carol"),
        last_name: Option<String> = optional(name(), "Danvers"),
        /// `user` alone unless given.
        roles: Option<Roles> = optional(RoleNames),
        /// Why, in your words; kept.
        reason: Option<String> = optional(Prose(1..=MAX_REASON), "Asked for by the customer"),
    }
}

request! {
    /// What changes; the rest stays.
    strict ChangeUser {
        is_active: Option<bool> = change(Boolean),
        roles: Option<Roles> = change(RoleNames),
        /// In NFC, and none that is guessed first: not one of the ten thousand commonest, not the username, not the
        /// mail address nor what stands before its `@`.
        password: Option<SecretString> = change(password(), "a long passphrase"),
        /// Where mail is sent. At most 64 characters of ASCII that need no quotes stand before the `@`; the domain
        /// is a name, and is kept in A-labels.
        email: Option<String> = change(email(), "carol@example.com"),
        /// Why, in your words; kept.
        reason: Option<String> = optional(Prose(1..=MAX_REASON), "Asked for by the customer"),
    }
}

request! {
    /// Why a person is erased.
    strict Erase {
        /// In your words; kept, so without personal data.
        reason: String = required(Prose(1..=MAX_REASON), "Asked for by the customer, ticket 4711"),
    }
}

type ProfilePage = Page<Profile>;

/// Add a user
///
/// Opens an account with 0.00 under the user's id. A request that was cut off after the user was written
/// goes on where it stopped when it is sent again.
#[utoipa::path(post, path = "/admin/users", security(("Bearer" = ["admin"])), request_body = CreateUser,
    responses((status = 201, description = "The new user.", body = Profile)),
    extensions(("x-refusals" = json!(refusals(&[Code::UsernameTaken, Code::Conflict])))))]
pub(crate) async fn create(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    fields: Fields,
) -> Result<(StatusCode, Json<Profile>), Problem> {
    let CreateUser { username, password, email, first_name, last_name, roles, reason } = Request::of(fields)?;
    let new = NewUser {
        username,
        password,
        email,
        first_name: first_name.unwrap_or_default(),
        last_name: last_name.unwrap_or_default(),
        roles: roles.unwrap_or_default(),
    };
    let metadata = Metadata { reason: reason.clone(), ..context.metadata(admin.actor().to_string()) };
    let by = admin.actor().because(reason);
    let user = app.registration.create_user(&new, &by, &metadata).await?;
    Ok((StatusCode::CREATED, Json(Profile::from(&user))))
}

/// Users, newest first
#[utoipa::path(get, path = "/admin/users", security(("Bearer" = ["admin"])),
    params(
        ("q" = String, Query, description = "Part of the username, the mail address or the names, in any case.", max_length = 150, format = "line",
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"),
        PageParams,
    ),
    responses((status = 200, description = "Users.", body = ProfilePage)))]
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Json<ProfilePage>, Problem> {
    let (params, q) = PageParams::read(parameters, "users", |parameters| parameters.optional("q", text))?;
    let after = params.after()?;
    let slice = app.identity.find_users(&q.unwrap_or_default(), after, params.limit).await?;
    Ok(Json(params.page(&context, slice.map(|user| Profile::from(&user)))))
}

/// One user
#[utoipa::path(get, path = "/admin/users/{id}", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The user.")),
    responses((status = 200, description = "The user.", body = Profile)),
    extensions(("x-refusals" = json!(refusals(&[Code::UserNotFound])))))]
pub(crate) async fn detail(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(id): path::Id<UserId>,
) -> Result<Json<Profile>, Problem> {
    Ok(Json(Profile::from(&app.identity.get_user(id).await?)))
}

/// A user's subscriptions, newest first
#[utoipa::path(get, path = "/admin/users/{id}/subscriptions", security(("Bearer" = ["admin"])),
    params(
        ("id" = Id, Path, description = "The user."),
        ("is_active" = bool, Query, description = "Only those that have, or have not, ended."),
        PageParams,
    ),
    responses((status = 200, description = "Subscriptions.", body = SubscriptionPage)),
    extensions(("x-refusals" = json!(refusals(&[Code::UserNotFound])))))]
pub(crate) async fn subscriptions(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(user): path::Id<UserId>,
    context: Context,
    parameters: Parameters,
) -> Result<Json<SubscriptionPage>, Problem> {
    let user = app.identity.get_user(user).await?.id;
    list_subscriptions(&app, user, &context, parameters).await
}

/// Erase a person
///
/// Name, mail address and names are gone for ever, all sessions end, and nobody logs in as this user again. The account
/// and its history stay under the id. Others may take the name. You cannot erase yourself.
#[utoipa::path(post, path = "/admin/users/{id}/erase", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The user.")),
    request_body = Erase,
    responses((status = 200, description = "What is left.", body = Profile)),
    extensions(("x-refusals" = json!(refusals(&[Code::UserNotFound, Code::Conflict])))))]
pub(crate) async fn erase(
    State(app): State<Shared>,
    Admin(admin): Admin,
    path::Id(id): path::Id<UserId>,
    fields: Fields,
) -> Result<Json<Profile>, Problem> {
    let Erase { reason } = Request::of(fields)?;
    if admin.id() == id.0 {
        return Err(Problem::new(Code::Conflict, "Another administrator must erase you"));
    }
    let (by, now) = (admin.actor().because(Some(reason)), app.clock.now().utc());
    Ok(Json(Profile::from(&app.identity.erase_user(id, &by, now).await?)))
}

/// Change a user
///
/// A new password, other roles and being disabled end all the user's sessions.
#[utoipa::path(patch, path = "/admin/users/{id}", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The user.")),
    request_body = ChangeUser,
    responses((status = 200, description = "The user as it is now.", body = Profile)),
    extensions(("x-refusals" = json!(refusals(&[Code::UserNotFound, Code::Conflict])))))]
pub(crate) async fn change(
    State(app): State<Shared>,
    Admin(admin): Admin,
    path::Id(id): path::Id<UserId>,
    fields: Fields,
) -> Result<Json<Profile>, Problem> {
    let ChangeUser { is_active, roles, password, email, reason } = Request::of(fields)?;
    let change = UserChange { is_active, roles, password, email };
    let (by, now) = (admin.actor().because(reason), app.clock.now().utc());
    Ok(Json(Profile::from(&app.identity.update_user(id, &change, &by, now).await?)))
}
