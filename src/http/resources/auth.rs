//! `/auth`: login, refresh, logout, profile.

use crate::http::extract::caller;
use crate::http::extract::fields::Fields;
use crate::http::extract::request::{Request, request};
use crate::http::extract::rules::{Line, Secret};
use crate::http::json::Json;
use crate::http::middleware::rate_limit::ClientAddress;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::{Id, Role, Time};
use crate::http::{Code, Shared};
use crate::identity::{Changing, Error, Grant, User};
use axum::extract::State;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;

/// The longest name that is looked up, in characters.
const MAX_NAME: usize = 1024;
/// The longest password or token that is looked at, in characters.
const MAX_SECRET: usize = 4096;

request! {
    /// A name and its password.
    Credentials {
        username: String = required(Line(1..=MAX_NAME), "alice"),
        password: SecretString = required(Secret(1..=MAX_SECRET), "alice-demo"),
    }
}

request! {
    /// The password until now, and the next one.
    NewPassword {
        old_password: SecretString = required(Secret(1..=MAX_SECRET), "the password until now"),
        /// 8 to 1024 characters, in NFC, and none that is guessed first: not one of the ten thousand commonest, not the
        /// username, not the mail address nor what stands before its `@`.
        new_password: SecretString = required(Secret(0..=MAX_SECRET), "a long passphrase"),
    }
}

request! {
    /// A refresh token.
    RefreshToken {
        refresh: SecretString = required(Secret(1..=MAX_SECRET), "ofr_Ab3dEf6hIj9lMn2pQr5tUv8xYz1"),
    }
}

/// What a session goes on with.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tokens {
    /// A JWT for the header `Authorization: Bearer <access>`.
    #[schema(example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTkwIn0.c2lnbmF0dXJl")]
    access: String,
    /// Opaque, good for one refresh.
    #[schema(example = "ofr_Ab3dEf6hIj9lMn2pQr5tUv8xYz1")]
    refresh: String,
    token_type: TokenType,
    /// How long the access token lives, in seconds.
    #[schema(minimum = 1, example = 300)]
    expires_in: u64,
}

#[derive(Serialize, ToSchema)]
enum TokenType {
    Bearer,
}

/// Something said to people.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    #[schema(example = "Successfully logged out")]
    message: &'static str,
}

/// A user.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    id: Id,
    #[schema(example = "alice")]
    username: String,
    #[schema(example = "alice@example.com")]
    email: String,
    #[schema(example = "Alice")]
    first_name: String,
    #[schema(example = "Liddell")]
    last_name: String,
    roles: Vec<Role>,
    /// False for somebody who may not log in.
    is_active: bool,
    date_joined: Time,
    #[schema(required)]
    last_login: Option<Time>,
}

/// Log in
///
/// After 10 failures in 5 minutes for one name from one address, 429.
#[utoipa::path(post, path = "/auth/login", request_body = Credentials,
    responses((status = 200, description = "An access token for minutes and a refresh token for days.", body = Tokens)),
    extensions(("x-refusals" = json!(refusals(&[Code::InvalidCredentials, Code::RateLimited])))))]
pub(crate) async fn login(
    State(app): State<Shared>,
    ClientAddress(address): ClientAddress,
    fields: Fields,
) -> Result<Json<Tokens>, Problem> {
    let Credentials { username, password } = Request::of(fields)?;
    let grant = app.identity.login(&username, &password, address, app.clock.now().utc()).await;
    metrics::counter!("offers_logins_total", "outcome" => outcome(&grant)).increment(1);
    Ok(Json(Tokens::from(&grant?)))
}

/// Get new tokens
///
/// The refresh token is replaced. The one just replaced, presented again within 10 seconds, gives the same
/// successor, because an answer may be lost; any other used one ends the session.
#[utoipa::path(post, path = "/auth/refresh", request_body = RefreshToken,
    responses((status = 200, description = "New tokens.", body = Tokens)),
    extensions(("x-refusals" = json!(refusals(&[Code::TokenInvalid, Code::TokenExpired, Code::TokenReused])))))]
pub(crate) async fn refresh(State(app): State<Shared>, fields: Fields) -> Result<Json<Tokens>, Problem> {
    let RefreshToken { refresh } = Request::of(fields)?;
    Ok(Json(Tokens::from(&app.identity.refresh(&refresh, app.clock.now().utc()).await?)))
}

/// Log out
///
/// The session can never be refreshed again.
#[utoipa::path(post, path = "/auth/logout", request_body = RefreshToken,
    responses((status = 200, description = "The session has ended.", body = Message)),
    extensions(("x-refusals" = json!(refusals(&[Code::TokenInvalid, Code::TokenExpired, Code::TokenReused])))))]
pub(crate) async fn logout(State(app): State<Shared>, fields: Fields) -> Result<Json<Message>, Problem> {
    let RefreshToken { refresh } = Request::of(fields)?;
    app.identity.logout(&refresh, app.clock.now().utc()).await?;
    Ok(Json(Message { message: "Successfully logged out" }))
}

/// Change your password
///
/// Every other session of yours ends. 400 for a wrong old password and for an unfit new one; wrong old ones count as
/// failed logins do.
#[utoipa::path(post, path = "/auth/password", security(("Bearer" = ["user"])), request_body = NewPassword,
    responses((status = 200, description = "The password is changed.", body = Message)),
    extensions(("x-refusals" = json!(refusals(&[Code::UserNotFound, Code::RateLimited])))))]
pub(crate) async fn change_password(
    State(app): State<Shared>,
    user: caller::User,
    ClientAddress(address): ClientAddress,
    fields: Fields,
) -> Result<Json<Message>, Problem> {
    let NewPassword { old_password, new_password } = Request::of(fields)?;
    let who = Changing { user: user.id, session: user.session, address };
    app.identity.change_password(who, &old_password, &new_password, app.clock.now().utc()).await?;
    Ok(Json(Message { message: "Password changed" }))
}

/// Who am I
#[utoipa::path(get, path = "/auth/profile", security(("Bearer" = ["user"])),
    responses((status = 200, description = "The caller.", body = Profile)),
    extensions(("x-refusals" = json!(refusals(&[Code::UserNotFound])))))]
pub(crate) async fn profile(State(app): State<Shared>, user: caller::User) -> Result<Json<Profile>, Problem> {
    Ok(Json(Profile::from(&app.identity.get_user(user.id).await?)))
}

impl From<&Grant> for Tokens {
    fn from(grant: &Grant) -> Self {
        Self {
            access: grant.access.expose_secret().to_owned(),
            refresh: grant.refresh.expose_secret().to_owned(),
            token_type: TokenType::Bearer,
            expires_in: grant.expires_in.as_secs(),
        }
    }
}

impl From<&User> for Profile {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.into(),
            username: user.username.clone(),
            email: user.email.clone(),
            first_name: user.first_name.clone(),
            last_name: user.last_name.clone(),
            roles: Role::all_of(&user.roles),
            is_active: user.is_active,
            date_joined: user.date_joined.into(),
            last_login: user.last_login.map(Into::into),
        }
    }
}

/// How a login ended, as metrics name it.
fn outcome(grant: &Result<Grant, Error>) -> &'static str {
    match grant {
        Ok(_) => "succeeded",
        Err(Error::InvalidCredentials) => "refused",
        Err(Error::RateLimited { .. }) => "throttled",
        Err(_) => "failed",
    }
}
