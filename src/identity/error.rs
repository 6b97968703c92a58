//! What a caller can do about a refusal: one variant for each different answer.

use crate::postgres::GivenUp;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No token and no key: log in first.
    #[error("authentication credentials were not provided")]
    NotAuthenticated,
    /// Not one of our tokens or keys, or its session has ended: log in again.
    #[error("the token or key is not valid")]
    TokenInvalid,
    /// Was good once: an access token can be renewed by a refresh, a refresh token only by a login.
    #[error("the token has expired")]
    TokenExpired,
    /// A refresh token that had been replaced came back: two parties hold this session, so it has ended.
    #[error("the refresh token was used before, so its session has ended")]
    TokenReused,
    /// Unknown name, wrong password or disabled user; the caller must not learn which.
    #[error("no active account was found with these credentials")]
    InvalidCredentials,
    /// Too many failed logins: come back after `retry_after`.
    #[error("too many failed logins, try again later")]
    RateLimited {
        /// Until the oldest of the counted failures is forgotten.
        retry_after: Duration,
    },
    /// Fields that cannot be accepted as they are.
    #[error("some fields are not valid")]
    Invalid(Vec<FieldError>),
    /// Somebody has this name already.
    #[error("this username is taken")]
    UsernameTaken,
    /// No user has this id.
    #[error("no such user")]
    UserNotFound,
    /// The user was erased, for ever.
    #[error("this user was erased")]
    UserErased,
    /// This user has no live session with this id.
    #[error("no such session")]
    SessionNotFound,
    /// No partner has this id.
    #[error("no such partner")]
    PartnerNotFound,
    /// This partner has no key with this id.
    #[error("no such key")]
    KeyNotFound,
    /// The partner has as many live keys as it may have: revoke one first.
    #[error("this partner has too many live keys, revoke one first")]
    TooManyKeys,
    /// More logins are waiting than will be served soon; nothing was done: try again in a moment.
    #[error("too many logins are waiting")]
    Overloaded,
    /// The database gave no answer. A change may or may not have been made: look before repeating.
    #[error("the identity store is not available")]
    Unavailable(#[from] sqlx::Error),
    /// The server key that a stored secret is derived from has been taken out of the configuration:
    /// put it back, or rotate the secret.
    #[error("the server key {key_id} is no longer configured")]
    KeyRetired {
        /// The id of the missing key; not secret.
        key_id: String,
    },
    /// A stored password hash cannot be read, or hashing failed: a fault of ours.
    #[error("the password could not be checked")]
    Hashing(#[source] argon2::password_hash::Error),
}

impl GivenUp for Error {
    fn is_given_up(&self) -> bool {
        matches!(self, Self::Unavailable(cause) if cause.is_given_up())
    }
}

/// One field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The member's name in the request.
    pub field: &'static str,
    /// A sentence for the person who filled it in.
    pub message: String,
}
