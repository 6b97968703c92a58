//! Why the log did not do it: what a caller can do about it decides the variants.

use super::StreamId;
use domain::{AccountId, UnknownEvent, account, offer, transaction, user_offer};
use uuid::Uuid;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The log could not read or write.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// PostgreSQL does not answer. Nothing was written; retry.
    #[error("the event log is unavailable")]
    Unavailable(#[source] Cause),
    /// The queue is full. Nothing was written; retry later.
    #[error("the event log has too much to do")]
    Overloaded,
    /// The commit waited too long for its turn. Nothing was written; retry.
    #[error("the event log did not come to it in time")]
    Timeout,
    /// The answer to a COMMIT was lost and could not be looked up: it may have been written. Repeat
    /// with the same ids.
    #[error("the answer of the event log was lost")]
    OutcomeUnknown,
    /// History itself is wrong here. Stop; a person must look.
    #[error("the event log is broken at position {position}: {why}")]
    Broken { position: i64, why: String },
    /// An event that this version does not know. Stop.
    #[error(transparent)]
    Unreadable(#[from] UnknownEvent),
}

impl LogError {
    pub(super) fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    /// The same error for the next one of a batch; the causes stay as text.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Unavailable(cause) => Self::unavailable(cause.to_string()),
            Self::Overloaded => Self::Overloaded,
            Self::Timeout => Self::Timeout,
            _ => Self::OutcomeUnknown,
        }
    }
}

impl From<sqlx::Error> for LogError {
    fn from(cause: sqlx::Error) -> Self {
        Self::unavailable(cause)
    }
}

/// Why a commit was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A stream has moved since the decision: decide again.
    #[error("{0} has moved on")]
    Conflict(StreamId),
    /// An account would fall below zero.
    #[error("account {0} has too little money")]
    InsufficientFunds(AccountId),
    /// An account would hold more than a balance can.
    #[error("account {0} cannot hold that much")]
    BalanceTooLarge(AccountId),
    /// The first event is in the log already.
    #[error("event {0} was accepted before")]
    Repeated(Uuid),
    #[error(transparent)]
    Log(#[from] LogError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error(transparent)]
    Transaction(#[from] transaction::Error),
    #[error(transparent)]
    UserOffer(#[from] user_offer::Error),
    #[error(transparent)]
    Offer(#[from] offer::Error),
    #[error(transparent)]
    Account(#[from] account::Error),
}

/// Why a plan was not committed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// An account would fall below zero.
    #[error("account {account} has too little money")]
    InsufficientFunds { account: AccountId },
    /// An account would hold more than a balance can.
    #[error("account {account} cannot hold that much")]
    BalanceTooLarge { account: AccountId },
    /// It was accepted before, as this event.
    #[error("event {event_id} was accepted before")]
    Repeated {
        /// Look it up and compare.
        event_id: Uuid,
    },
    /// The race was lost more often than the bound allows.
    #[error("others were faster, too often")]
    Conflict,
    #[error(transparent)]
    Log(#[from] LogError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_pool_without_a_free_connection_is_no_full_queue_of_the_writer() {
        assert!(matches!(LogError::from(sqlx::Error::PoolTimedOut), LogError::Unavailable(_)));
    }
}
