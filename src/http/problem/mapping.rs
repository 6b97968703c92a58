//! Maps the errors of the layers below to problems. A failure of ours is logged here, once.

use super::code::Code;
use super::{FieldError, Problem};
use crate::app;
use crate::event_log::LogError;
use crate::identity;
use crate::notary;
use crate::processors::notifications::MailError;
use crate::processors::schedules::ScheduleError;
use crate::processors::{ParkedError, callbacks};
use crate::telemetry::chain;
use std::error::Error;
use std::time::Duration;

/// `Retry-After` while purchases are refused: the backlog is measured about as often.
const BACKLOG_RETRY: Duration = Duration::from_secs(5);

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        match &error {
            LogError::Unavailable(_) => unavailable(&error),
            LogError::Overloaded => Self::new(Code::Overloaded, "Too much is waiting to be written"),
            LogError::Timeout => Self::new(Code::Timeout, "It was not written in time, and will not be"),
            LogError::OutcomeUnknown => Self::new(
                Code::OutcomeUnknown,
                "It may have been written; repeat the request with the same idempotency key",
            ),
            LogError::Broken { .. } | LogError::Unreadable(_) => broken(&error),
        }
    }
}

impl From<projections::Error> for Problem {
    fn from(error: projections::Error) -> Self {
        match &error {
            projections::Error::Unreadable(_) | projections::Error::Broken { .. } => broken(&error),
            _ => unavailable(&error),
        }
    }
}

impl From<app::Error> for Problem {
    fn from(error: app::Error) -> Self {
        use app::Error as E;
        match error {
            E::AccountNotFound => no_such_account(),
            E::OfferNotFound => Self::new(Code::OfferNotFound, "There is no such offer"),
            E::SubscriptionNotFound => Self::new(Code::SubscriptionNotFound, "There is no such subscription"),
            E::TransactionNotFound => no_such_transaction(),
            E::UnknownOffer => Self::new(Code::UnknownOffer, "Offer not found"),
            E::UnknownUser => Self::new(Code::UnknownUser, "User not found"),
            E::CallbackUrlNotAllowed => Self::new(
                Code::CallbackUrlNotAllowed,
                "The callback URL must have the origin of the registered one",
            ),
            E::AmountMismatch => Self::new(Code::AmountMismatch, "The amount is not the offer's price"),
            E::InsufficientBalance => Self::new(Code::InsufficientBalance, "Insufficient balance"),
            E::TooManyPurchases { retry_after } => {
                Self::new(Code::RateLimited, "Too many purchases; try again later").after(retry_after)
            }
            E::Overloaded => {
                Self::new(Code::Overloaded, "Too many purchases wait to be activated; try again later")
                    .after(BACKLOG_RETRY)
            }
            E::CannotBeExtended => {
                Self::invalid_field("subscription_id", "ends in the year 9999 and cannot be extended")
            }
            E::BalanceTooLarge => Self::invalid_field("amount", "is more than the account can hold"),
            E::IdempotencyKeyReused => {
                Self::new(Code::IdempotencyKeyReused, "This idempotency key was used for another request")
            }
            E::TransactionIsFinal => Self::new(Code::Conflict, "The transaction is final"),
            E::Conflict => {
                Self::new(Code::Conflict, "Others changed the same thing at the same time; try again")
            }
            E::Identity(cause) => cause.into(),
            E::Projection(cause) => cause.into(),
            E::Log(cause) => cause.into(),
        }
    }
}

impl From<notary::Error> for Problem {
    fn from(error: notary::Error) -> Self {
        use notary::Error as E;
        match error {
            E::NothingSigned => Self::new(
                Code::CheckpointNotFound,
                "No checkpoint has been signed: the service has no key for it, or the log is empty",
            ),
            E::NoCheckpoint => Self::new(Code::CheckpointNotFound, "There is no checkpoint of this size"),
            E::BeyondTheLog => Self::new(Code::RecordNotFound, "The log ends before this position"),
            E::NotSignedYet => {
                Self::new(Code::Unavailable, "No checkpoint has this record yet; try again later")
            }
            E::Log(cause) => cause.into(),
            E::Database(_) => unavailable(&error),
            E::Damaged(_) | E::Contradicts { .. } | E::Overtaken(_) => broken(&error),
        }
    }
}

impl From<callbacks::Error> for Problem {
    fn from(error: callbacks::Error) -> Self {
        use callbacks::Error as E;
        match error {
            E::DeliveryNotFound => no_such_callback(),
            E::NoCallbackUrl | E::EndpointDisabled => Self::new(Code::Conflict, sentence(&error)),
            E::Identity(cause) => cause.into(),
            E::Unavailable(_) => unavailable(&error),
        }
    }
}

impl From<MailError> for Problem {
    fn from(error: MailError) -> Self {
        match &error {
            MailError::MailNotFound => Self::new(Code::MailNotFound, "There is no such mail"),
            MailError::MailIsPending => Self::new(Code::Conflict, sentence(&error)),
            MailError::Unavailable(_) => unavailable(&error),
        }
    }
}

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        unavailable(&error)
    }
}

impl From<ParkedError> for Problem {
    fn from(error: ParkedError) -> Self {
        unavailable(&error)
    }
}

impl From<identity::Error> for Problem {
    fn from(error: identity::Error) -> Self {
        use identity::Error as E;
        let said = |code| Self::new(code, sentence(&error));
        match &error {
            E::NotAuthenticated => said(Code::NotAuthenticated),
            E::TokenInvalid => said(Code::TokenInvalid),
            E::TokenExpired => said(Code::TokenExpired),
            E::TokenReused => said(Code::TokenReused),
            E::InvalidCredentials => said(Code::InvalidCredentials),
            E::RateLimited { retry_after } => said(Code::RateLimited).after(*retry_after),
            E::Invalid(errors) => {
                let one = |error: &identity::FieldError| FieldError {
                    field: error.field.to_owned(),
                    message: error.message.clone(),
                };
                Self::invalid(errors.iter().map(one).collect())
            }
            E::UsernameTaken => said(Code::UsernameTaken),
            E::UserNotFound => said(Code::UserNotFound),
            E::SessionNotFound => said(Code::SessionNotFound),
            E::PartnerNotFound => said(Code::PartnerNotFound),
            E::KeyNotFound => said(Code::KeyNotFound),
            E::UserErased | E::TooManyKeys => said(Code::Conflict),
            E::Overloaded => said(Code::Overloaded),
            E::Unavailable(_) => unavailable(&error),
            E::KeyRetired { .. } | E::Hashing(_) => broken(&error),
        }
    }
}

/// There is no such transaction, or it is somebody else's: the same answer.
pub(crate) fn no_such_transaction() -> Problem {
    Problem::new(Code::TransactionNotFound, "There is no such transaction")
}

/// There is no such callback, or it is somebody else's: the same answer.
pub(crate) fn no_such_callback() -> Problem {
    Problem::new(Code::CallbackNotFound, "There is no such callback")
}

/// There is no owner of such an account.
pub(crate) fn no_such_account() -> Problem {
    Problem::new(Code::AccountNotFound, "There is no such account")
}

fn unavailable(error: &(dyn Error + 'static)) -> Problem {
    tracing::warn!(error = %chain(error), "a request was refused because a part of the system is unavailable");
    Problem::new(Code::Unavailable, "A part of the system is unavailable; try again later")
}

fn broken(error: &(dyn Error + 'static)) -> Problem {
    tracing::error!(error = %chain(error), "invariant violated while serving a request");
    Problem::internal()
}

/// The error's text as a sentence.
fn sentence(error: &dyn Error) -> String {
    let text = error.to_string();
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    first + characters.as_str()
}
