//! Why a use case did nothing: one error for the whole layer, one variant for each thing that a caller
//! can do about it.

use crate::event_log::{ExecuteError, LogError, Rejection};
use crate::identity;
use domain::{offer, transaction};
use std::time::Duration;

/// Nothing was written, unless the log says `OutcomeUnknown`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such account")]
    AccountNotFound,
    /// There is no such offer, or nobody may buy it.
    #[error("there is no such offer on sale")]
    OfferNotFound,
    #[error("there is no such subscription")]
    SubscriptionNotFound,
    #[error("there is no such transaction")]
    TransactionNotFound,
    /// A partner's request names an offer that nobody may buy.
    #[error("the request names an offer that is not on sale")]
    UnknownOffer,
    /// A partner's request names a user that does not exist.
    #[error("the request names a user that does not exist")]
    UnknownUser,
    /// The caller has not registered a URL with that origin.
    #[error("the callback URL does not have the origin of the registered one")]
    CallbackUrlNotAllowed,
    #[error("the amount is not the offer's price")]
    AmountMismatch,
    #[error("the balance is not sufficient")]
    InsufficientBalance,
    /// The user begins too many purchases, or has too many under way.
    #[error("the user has too many purchases")]
    TooManyPurchases { retry_after: Duration },
    /// Purchases are accepted faster than they are finished.
    #[error("too many purchases wait to be activated")]
    Overloaded,
    /// The subscription ends so late that no renewal can extend it.
    #[error("the subscription cannot be extended any more")]
    CannotBeExtended,
    #[error("the account cannot hold that much")]
    BalanceTooLarge,
    /// The caller used the key before, for another request.
    #[error("this key belongs to another request")]
    IdempotencyKeyReused,
    /// Its money is earned or given back.
    #[error("the transaction is final")]
    TransactionIsFinal,
    /// The state forbids it, or other commits were faster on every try.
    #[error("others changed the same thing at the same time")]
    Conflict,
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error(transparent)]
    Projection(#[from] projections::Error),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<ExecuteError> for Error {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Rejected(Rejection::Offer(offer::Error::AnotherPrice)) => Self::AmountMismatch,
            ExecuteError::Rejected(Rejection::Offer(
                offer::Error::NotOnSale | offer::Error::NeverCreated,
            )) => Self::OfferNotFound,
            ExecuteError::Rejected(Rejection::Transaction(transaction::Error::NeverRequested)) => {
                Self::TransactionNotFound
            }
            ExecuteError::Rejected(Rejection::Transaction(
                transaction::Error::AlreadySucceeded | transaction::Error::AlreadyFailed,
            )) => Self::TransactionIsFinal,
            ExecuteError::InsufficientFunds { .. } => Self::InsufficientBalance,
            ExecuteError::BalanceTooLarge { .. } => Self::BalanceTooLarge,
            ExecuteError::Rejected(_) | ExecuteError::Repeated { .. } | ExecuteError::Conflict => {
                Self::Conflict
            }
            ExecuteError::Log(cause) => Self::Log(cause),
        }
    }
}
