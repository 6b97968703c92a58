//! Every code an error may carry, with its status and its title: the contract's table.

use axum::http::StatusCode;

/// What went wrong, for programs: the stable `code` of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    UnknownUser,
    /// A partner names an offer that is not sold.
    UnknownOffer,
    /// A partner's amount is not the price.
    AmountMismatch,
    /// Not the registered URL's origin.
    CallbackUrlNotAllowed,
    /// No token or key.
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
    /// There is no owner of such an account.
    AccountNotFound,
    /// There is no such partner.
    PartnerNotFound,
    /// The partner has no such key.
    KeyNotFound,
    /// There is no such callback.
    CallbackNotFound,
    /// There is no such parked message, or it does not wait any more.
    ParkedNotFound,
    /// The path exists, the method does not; `Allow` lists those that do.
    MethodNotAllowed,
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
    /// Too many tries.
    RateLimited,
    /// A part that this needs cannot be reached; nothing was written.
    Unavailable,
    /// More requests than can be served; nothing was written.
    Overloaded,
    /// It took too long; nothing was written.
    Timeout,
    /// It may have been written: repeat with the same key.
    OutcomeUnknown,
    /// A bug of ours.
    InternalError,
}

impl Code {
    /// All there are.
    pub const ALL: [Self; 40] = [
        Self::InvalidJson,
        Self::InvalidRequest,
        Self::MalformedId,
        Self::InvalidCursor,
        Self::InvalidIdempotencyKey,
        Self::InsufficientBalance,
        Self::MissingFields,
        Self::UnknownUser,
        Self::UnknownOffer,
        Self::AmountMismatch,
        Self::CallbackUrlNotAllowed,
        Self::NotAuthenticated,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::TokenReused,
        Self::InvalidCredentials,
        Self::Forbidden,
        Self::NotAuthorizedForUser,
        Self::NotFound,
        Self::OfferNotFound,
        Self::TransactionNotFound,
        Self::SubscriptionNotFound,
        Self::UserNotFound,
        Self::AccountNotFound,
        Self::PartnerNotFound,
        Self::KeyNotFound,
        Self::CallbackNotFound,
        Self::ParkedNotFound,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::UsernameTaken,
        Self::Conflict,
        Self::IdempotencyKeyReused,
        Self::RateLimited,
        Self::Unavailable,
        Self::Overloaded,
        Self::Timeout,
        Self::OutcomeUnknown,
        Self::InternalError,
    ];

    /// As it stands in the answer, with its status and its title.
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidJson => (S::BAD_REQUEST, "invalid_json", "The body is not a JSON object"),
            Self::InvalidRequest => (S::BAD_REQUEST, "invalid_request", "The request is not valid"),
            Self::MalformedId => (S::BAD_REQUEST, "malformed_id", "An id in the path is not a UUID"),
            Self::InvalidCursor => (S::BAD_REQUEST, "invalid_cursor", "The cursor is not valid"),
            Self::InvalidIdempotencyKey => {
                (S::BAD_REQUEST, "invalid_idempotency_key", "The idempotency key is not valid")
            }
            Self::InsufficientBalance => {
                (S::BAD_REQUEST, "insufficient_balance", "The balance is not sufficient")
            }
            Self::MissingFields => (S::BAD_REQUEST, "missing_fields", "Required fields are missing"),
            Self::UnknownUser => (S::BAD_REQUEST, "user_not_found", "There is no such user"),
            Self::UnknownOffer => (S::BAD_REQUEST, "offer_not_found", "There is no such offer"),
            Self::AmountMismatch => (S::BAD_REQUEST, "amount_mismatch", "The amount is not the price"),
            Self::CallbackUrlNotAllowed => {
                (S::BAD_REQUEST, "callback_url_not_allowed", "The callback URL is not allowed")
            }
            Self::NotAuthenticated => (S::UNAUTHORIZED, "not_authenticated", "Credentials are missing"),
            Self::TokenInvalid => (S::UNAUTHORIZED, "token_invalid", "The token is not valid"),
            Self::TokenExpired => (S::UNAUTHORIZED, "token_expired", "The token has expired"),
            Self::TokenReused => (S::UNAUTHORIZED, "token_reused", "The token was already used"),
            Self::InvalidCredentials => {
                (S::UNAUTHORIZED, "invalid_credentials", "The credentials are not valid")
            }
            Self::Forbidden => (S::FORBIDDEN, "forbidden", "The caller may not do this"),
            Self::NotAuthorizedForUser => {
                (S::FORBIDDEN, "not_authorized_for_user", "The caller may not act for this user")
            }
            Self::NotFound => (S::NOT_FOUND, "not_found", "There is no such path"),
            Self::OfferNotFound => (S::NOT_FOUND, "offer_not_found", "There is no such offer"),
            Self::TransactionNotFound => {
                (S::NOT_FOUND, "transaction_not_found", "There is no such transaction")
            }
            Self::SubscriptionNotFound => {
                (S::NOT_FOUND, "subscription_not_found", "There is no such subscription")
            }
            Self::UserNotFound => (S::NOT_FOUND, "user_not_found", "There is no such user"),
            Self::AccountNotFound => (S::NOT_FOUND, "account_not_found", "There is no such account"),
            Self::PartnerNotFound => (S::NOT_FOUND, "partner_not_found", "There is no such partner"),
            Self::KeyNotFound => (S::NOT_FOUND, "key_not_found", "There is no such key"),
            Self::CallbackNotFound => (S::NOT_FOUND, "callback_not_found", "There is no such callback"),
            Self::ParkedNotFound => (S::NOT_FOUND, "parked_not_found", "There is no such parked message"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method_not_allowed", "The method is not allowed here")
            }
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body is not said to be JSON")
            }
            Self::UsernameTaken => (S::CONFLICT, "username_taken", "The username is taken"),
            Self::Conflict => (S::CONFLICT, "conflict", "The request conflicts with what has happened"),
            Self::IdempotencyKeyReused => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "The idempotency key belongs to another request",
            ),
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "rate_limited", "Too many requests"),
            Self::Unavailable => (S::SERVICE_UNAVAILABLE, "unavailable", "The service is unavailable"),
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded", "The service is overloaded"),
            Self::Timeout => (S::SERVICE_UNAVAILABLE, "timeout", "The request took too long"),
            Self::OutcomeUnknown => (S::SERVICE_UNAVAILABLE, "outcome_unknown", "The outcome is unknown"),
            Self::InternalError => {
                (S::INTERNAL_SERVER_ERROR, "internal_error", "Something is wrong on our side")
            }
        }
    }

    /// The status of an answer that carries it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// As programs read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The same for every problem of this code.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().2
    }
}
