//! `/auth`

use super::values::{Id, Message, Role, Time};
use crate::http::Code;
use crate::http::openapi::operation::{Caller, Operation, get, post};
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        post("/auth/login/", "Log in")
            .says("After 10 failures in 5 minutes for one name from one address, 429.")
            .takes::<Credentials>()
            .answers::<Tokens>(200, "An access token for minutes and a refresh token for days.")
            .refuses(&[Code::InvalidCredentials, Code::RateLimited]),
        post("/auth/refresh/", "Get new tokens")
            .says(
                "The refresh token is replaced. The one just replaced, presented again within 10 seconds, \
                 gives the same successor, because an answer may be lost; any other used one ends the session.",
            )
            .takes::<RefreshToken>()
            .answers::<Tokens>(200, "New tokens.")
            .refuses(&[Code::TokenInvalid, Code::TokenExpired, Code::TokenReused]),
        post("/auth/logout/", "Log out")
            .says("The session can never be refreshed again.")
            .takes::<RefreshToken>()
            .answers::<Message>(200, "The session has ended.")
            .refuses(&[Code::TokenInvalid, Code::TokenExpired, Code::TokenReused]),
        get("/auth/profile/", "Who am I")
            .by(Caller::User)
            .answers::<Profile>(200, "The caller.")
            .refuses(&[Code::UserNotFound]),
    ]
}

/// A name and its password.
#[derive(ToSchema)]
struct Credentials {
    #[schema(min_length = 1, max_length = 1024, format = "line", example = "alice")]
    username: String,
    #[schema(min_length = 1, max_length = 4096, format = "password", example = "alice-demo")]
    password: String,
}

/// A refresh token.
#[derive(ToSchema)]
struct RefreshToken {
    #[schema(
        min_length = 1,
        max_length = 4096,
        format = "password",
        example = "ofr_Ab3dEf6hIj9lMn2pQr5tUv8xYz1"
    )]
    refresh: String,
}

/// What a session goes on with.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Tokens {
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

#[derive(ToSchema)]
enum TokenType {
    Bearer,
}

/// A user.
#[derive(ToSchema)]
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
