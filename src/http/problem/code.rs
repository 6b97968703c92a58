//! Every code an error may carry, with its status and its title: the contract's table.

use axum::http::StatusCode;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use strum::VariantArray;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// What went wrong, for programs: the stable `code` of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Code {
    /// The body is not one JSON object in UTF-8.
    InvalidJson,
    /// Members or parameters are wrong; `errors` says which.
    InvalidRequest,
    /// An id in the path is not a UUID.
    MalformedId,
    /// A cursor that this list did not give.
    InvalidCursor,
    /// Not 1 to 255 visible ASCII characters.
    InvalidIdempotencyKey,
    /// The account has less than the amount.
    InsufficientBalance,
    /// A partner's request lacks a member.
    MissingFields,
    /// A partner names a user who does not exist.
    #[strum(serialize = "user_not_found")]
    UnknownUser,
    /// A partner names an offer that is not sold.
    #[strum(serialize = "offer_not_found")]
    UnknownOffer,
    /// A partner's amount is not the price.
    AmountMismatch,
    /// Not the registered URL's origin.
    CallbackUrlNotAllowed,
    NotAuthenticated,
    /// A token or key that was never valid here.
    TokenInvalid,
    /// A token that was valid once.
    TokenExpired,
    /// A refresh token that was already used: its session has ended.
    TokenReused,
    /// No such name and password.
    InvalidCredentials,
    /// The caller lacks the role.
    Forbidden,
    /// The caller may act for itself only.
    NotAuthorizedForUser,
    /// There is no such path.
    NotFound,
    /// There is no such offer, or it is not sold.
    OfferNotFound,
    /// There is no such transaction for this caller.
    TransactionNotFound,
    /// There is no such subscription for this caller.
    SubscriptionNotFound,
    /// There is no such user.
    UserNotFound,
    /// There is no such live session of this user.
    SessionNotFound,
    /// There is no owner of such an account.
    AccountNotFound,
    /// There is no such partner.
    PartnerNotFound,
    /// The partner has no such key.
    KeyNotFound,
    /// There is no such callback.
    CallbackNotFound,
    /// There is no such mail.
    MailNotFound,
    /// There is no such parked message, or it does not wait any more.
    ParkedNotFound,
    /// There is no checkpoint of this size, or none at all.
    CheckpointNotFound,
    /// The log ends before this position.
    RecordNotFound,
    /// The path exists, the method does not; `Allow` lists those that do.
    MethodNotAllowed,
    /// The body did not come within 10 s.
    RequestTimeout,
    /// The body is over 64 KiB.
    BodyTooLarge,
    /// The body is not said to be JSON.
    UnsupportedMediaType,
    /// Somebody else has this name.
    UsernameTaken,
    /// What was asked for does not fit what has happened, or a race was lost.
    Conflict,
    /// This caller used the key for another request.
    IdempotencyKeyReused,
    RateLimited,
    /// A part that this needs cannot be reached; nothing was written.
    Unavailable,
    /// More requests than can be served; nothing was written.
    Overloaded,
    /// It took too long; nothing was written.
    Timeout,
    /// It may have been written: repeat with the same key.
    OutcomeUnknown,
    InternalError,
}

impl Code {
    /// The status of an answer that carries it, and its title.
    fn row(self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidJson => (S::BAD_REQUEST, "The body is not a JSON object"),
            Self::InvalidRequest => (S::BAD_REQUEST, "The request is not valid"),
            Self::MalformedId => (S::BAD_REQUEST, "An id in the path is not a UUID"),
            Self::InvalidCursor => (S::BAD_REQUEST, "The cursor is not valid"),
            Self::InvalidIdempotencyKey => (S::BAD_REQUEST, "The idempotency key is not valid"),
            Self::InsufficientBalance => (S::BAD_REQUEST, "The balance is not sufficient"),
            Self::MissingFields => (S::BAD_REQUEST, "Required fields are missing"),
            Self::UnknownUser => (S::BAD_REQUEST, "There is no such user"),
            Self::UnknownOffer => (S::BAD_REQUEST, "There is no such offer"),
            Self::AmountMismatch => (S::BAD_REQUEST, "The amount is not the price"),
            Self::CallbackUrlNotAllowed => (S::BAD_REQUEST, "The callback URL is not allowed"),
            Self::NotAuthenticated => (S::UNAUTHORIZED, "Credentials are missing"),
            Self::TokenInvalid => (S::UNAUTHORIZED, "The token is not valid"),
            Self::TokenExpired => (S::UNAUTHORIZED, "The token has expired"),
            Self::TokenReused => (S::UNAUTHORIZED, "The token was already used"),
            Self::InvalidCredentials => (S::UNAUTHORIZED, "The credentials are not valid"),
            Self::Forbidden => (S::FORBIDDEN, "The caller may not do this"),
            Self::NotAuthorizedForUser => (S::FORBIDDEN, "The caller may not act for this user"),
            Self::NotFound => (S::NOT_FOUND, "There is no such path"),
            Self::OfferNotFound => (S::NOT_FOUND, "There is no such offer"),
            Self::TransactionNotFound => (S::NOT_FOUND, "There is no such transaction"),
            Self::SubscriptionNotFound => (S::NOT_FOUND, "There is no such subscription"),
            Self::UserNotFound => (S::NOT_FOUND, "There is no such user"),
            Self::SessionNotFound => (S::NOT_FOUND, "There is no such session"),
            Self::AccountNotFound => (S::NOT_FOUND, "There is no such account"),
            Self::PartnerNotFound => (S::NOT_FOUND, "There is no such partner"),
            Self::KeyNotFound => (S::NOT_FOUND, "There is no such key"),
            Self::CallbackNotFound => (S::NOT_FOUND, "There is no such callback"),
            Self::MailNotFound => (S::NOT_FOUND, "There is no such mail"),
            Self::ParkedNotFound => (S::NOT_FOUND, "There is no such parked message"),
            Self::CheckpointNotFound => (S::NOT_FOUND, "There is no such checkpoint"),
            Self::RecordNotFound => (S::NOT_FOUND, "There is no such record"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "The method is not allowed here"),
            Self::RequestTimeout => (S::REQUEST_TIMEOUT, "The body took too long to arrive"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::UnsupportedMediaType => (S::UNSUPPORTED_MEDIA_TYPE, "The body is not said to be JSON"),
            Self::UsernameTaken => (S::CONFLICT, "The username is taken"),
            Self::Conflict => (S::CONFLICT, "The request conflicts with what has happened"),
            Self::IdempotencyKeyReused => {
                (S::UNPROCESSABLE_ENTITY, "The idempotency key belongs to another request")
            }
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "Too many requests"),
            Self::Unavailable => (S::SERVICE_UNAVAILABLE, "The service is unavailable"),
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, "The service is overloaded"),
            Self::Timeout => (S::SERVICE_UNAVAILABLE, "The request took too long"),
            Self::OutcomeUnknown => (S::SERVICE_UNAVAILABLE, "The outcome is unknown"),
            Self::InternalError => (S::INTERNAL_SERVER_ERROR, "Something is wrong on our side"),
        }
    }

    /// The status of an answer that carries it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The same for every problem of this code.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().1
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let mut names: Vec<_> = Self::VARIANTS.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup(); // two statuses may share a name
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

impl ToSchema for Code {
    fn name() -> Cow<'static, str> {
        "Code".into()
    }
}
