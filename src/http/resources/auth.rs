//! `/auth`: login, refresh, logout, profile.

use crate::http::Shared;
use crate::http::extract::caller::User as Person;
use crate::http::extract::fields::Fields;
use crate::http::extract::values::{line, secret};
use crate::http::middleware::rate_limit::ClientAddress;
use crate::http::problem::Problem;
use crate::identity::{Error, Grant, User};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// The longest name that is looked up, in characters: more is no name at all.
const MAX_NAME: usize = 1024;
/// The longest password or token that is looked at, in characters.
const MAX_SECRET: usize = 4096;

/// `POST /auth/login/`
pub(crate) async fn login(
    State(app): State<Shared>,
    ClientAddress(address): ClientAddress,
    fields: Fields,
) -> Result<Response, Problem> {
    let (username, password) = fields.read(|fields| {
        let username = fields.required("username", line(1..=MAX_NAME));
        (username, fields.required("password", secret(1..=MAX_SECRET)))
    })?;
    let grant = app.identity.login(&username, &password, address, app.clock.now().utc()).await;
    metrics::counter!("offers_logins_total", "outcome" => word(&grant)).increment(1);
    Ok(granted(&grant?))
}

/// `POST /auth/refresh/`
pub(crate) async fn refresh(State(app): State<Shared>, fields: Fields) -> Result<Response, Problem> {
    let token = fields.read(|fields| fields.required("refresh", secret(1..=MAX_SECRET)))?;
    Ok(granted(&app.identity.refresh(&token, app.clock.now().utc()).await?))
}

/// `POST /auth/logout/`
pub(crate) async fn logout(State(app): State<Shared>, fields: Fields) -> Result<Json<Value>, Problem> {
    let token = fields.read(|fields| fields.required("refresh", secret(1..=MAX_SECRET)))?;
    app.identity.logout(&token, app.clock.now().utc()).await?;
    Ok(Json(json!({"message": "Successfully logged out"})))
}

/// `GET /auth/profile/`
pub(crate) async fn profile(State(app): State<Shared>, person: Person) -> Result<Json<Value>, Problem> {
    Ok(Json(shown(&app.identity.get_user(person.id).await?)))
}

/// A user as profiles and admins see one.
pub(crate) fn shown(user: &User) -> Value {
    json!({
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "roles": user.roles.names().collect::<Vec<_>>(),
        "is_active": user.is_active,
        "date_joined": Timestamp::new(user.date_joined),
        "last_login": user.last_login.map(Timestamp::new),
    })
}

/// How a login ended, as metrics name it.
fn word(grant: &Result<Grant, Error>) -> &'static str {
    match grant {
        Ok(_) => "succeeded",
        Err(Error::InvalidCredentials) => "refused",
        Err(Error::RateLimited { .. }) => "throttled",
        Err(_) => "failed",
    }
}

fn granted(grant: &Grant) -> Response {
    let body = json!({
        "access": grant.access.expose_secret(),
        "refresh": grant.refresh.expose_secret(),
        "token_type": "Bearer",
        "expires_in": grant.expires_in.as_secs(),
    });
    Json(body).into_response()
}
