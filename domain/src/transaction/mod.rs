//! A transaction: what a user or a partner asked for, from the request to its final status.
//!
//! `None → Pending → Processing → Succeeded | Failed`; the money is reserved by the first event and
//! earned or given back by the last. A failure and its refund are one decision, so they are one
//! commit.

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use error::Error;
pub use event::{ActivationRequested, Event, Kind};

use crate::postings::transfer;
use crate::{Entry, Ledger, Rules, rules};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};
use strum::{AsRefStr, EnumString, IntoStaticStr, VariantNames};
use uuid::Uuid;

/// The state of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Transaction {
    /// Nothing was asked for yet.
    #[default]
    None,
    /// The money is reserved; the external system has not been asked yet.
    Pending {
        /// What was asked for.
        request: Box<ActivationRequested>,
    },
    /// The external system was or is being asked, for the `attempt`th time.
    Processing {
        /// What was asked for.
        request: Box<ActivationRequested>,
        /// 1 for the first.
        attempt: u32,
    },
    /// Done, paid for.
    Succeeded {
        /// What was asked for.
        request: Box<ActivationRequested>,
        /// The external system's own reference.
        reference: String,
    },
    /// Not done; `refunded` is true from the next event of the same commit on.
    Failed {
        /// What was asked for.
        request: Box<ActivationRequested>,
        /// Why, for programs.
        code: String,
        /// Why, for people.
        message: String,
        /// True once the money is back.
        refunded: bool,
    },
}

impl Transaction {
    /// What was asked for; nothing before the request.
    #[must_use]
    pub fn request(&self) -> Option<&ActivationRequested> {
        match self {
            Self::None => None,
            Self::Pending { request }
            | Self::Processing { request, .. }
            | Self::Succeeded { request, .. }
            | Self::Failed { request, .. } => Some(request),
        }
    }

    /// True when nothing will change any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. })
    }

    /// The status that clients see, `None` before the request.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::None => None,
            Self::Pending { .. } => Some(Status::Pending),
            Self::Processing { .. } => Some(Status::Processing),
            Self::Succeeded { .. } => Some(Status::Success),
            Self::Failed { .. } => Some(Status::Failed),
        }
    }
}

/// What clients see of the state; only moves forward. Without an order: both ends are final, and
/// neither is later than the other.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    AsRefStr,
    EnumString,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "UPPERCASE")]
#[strum(serialize_all = "UPPERCASE")]
pub enum Status {
    /// Accepted, the money is reserved.
    Pending,
    /// The external system is at it.
    Processing,
    /// Final: done.
    Success,
    /// Final: not done, the money is back.
    Failed,
}

impl Rules for Transaction {
    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::None, Command::Request(request)) if !request.is_sound() => Err(Error::UnsoundRequest),
            (Self::None, Command::Request(request)) => Ok(vec![Event::ActivationRequested(request)]),
            (_, Command::Request(request)) if self.request() == Some(&request) => Ok(vec![]), // a repeat
            (_, Command::Request(_)) => Err(Error::AlreadyRequested),
            (Self::None, _) => Err(Error::NeverRequested),

            (Self::Pending { .. }, Command::BeginAttempt { attempt: 1 }) => {
                Ok(vec![Event::Processing { attempt: 1 }])
            }
            (Self::Processing { attempt: last, .. }, Command::BeginAttempt { attempt })
                if attempt <= *last =>
            {
                Ok(vec![]) // that attempt has begun already
            }
            (Self::Processing { attempt: last, .. }, Command::BeginAttempt { attempt })
                if attempt == last + 1 =>
            {
                Ok(vec![Event::Processing { attempt }])
            }
            (Self::Pending { .. } | Self::Processing { .. }, Command::BeginAttempt { .. }) => {
                Err(Error::AttemptOutOfOrder)
            }

            (Self::Processing { .. }, Command::Succeed { reference }) => {
                Ok(vec![Event::Succeeded { reference }])
            }
            (Self::Processing { request, .. }, Command::Fail { code, message }) => Ok(vec![
                Event::Failed { code, message },
                Event::Refunded { account_id: request.account_id, amount: request.amount },
            ]),
            (Self::Pending { .. }, Command::Succeed { .. } | Command::Fail { .. }) => {
                Err(Error::NotProcessing) // no attempt has begun, so there can be no answer
            }

            (Self::Succeeded { reference: known, .. }, Command::Succeed { reference })
                if *known == reference =>
            {
                Ok(vec![])
            }
            (Self::Failed { code: known, .. }, Command::Fail { code, .. }) if *known == code => Ok(vec![]),
            (Self::Succeeded { .. }, _) => Err(Error::AlreadySucceeded),
            (Self::Failed { .. }, _) => Err(Error::AlreadyFailed),
        }
    }

    fn postings(&self, _id: Uuid, event: &Event) -> Vec<Entry> {
        match (event, self.request()) {
            (Event::ActivationRequested(request), _) => {
                transfer(Ledger::Owner(request.account_id), Ledger::Holding, request.amount)
            }
            (Event::Succeeded { .. }, Some(request)) => {
                transfer(Ledger::Holding, Ledger::Revenue, request.amount)
            }
            (Event::Refunded { account_id, amount }, _) => {
                transfer(Ledger::Holding, Ledger::Owner(*account_id), *amount)
            }
            (Event::Succeeded { .. }, None) | (Event::Processing { .. } | Event::Failed { .. }, _) => vec![],
        }
    }
}

impl Aggregate for Transaction {
    const TYPE: &'static str = "Transaction";
    type Command = Command;
    type Event = Event;
    type Error = Error;
    type Services = ();

    async fn handle(&mut self, command: Command, (): &(), sink: &EventSink<Self>) -> Result<(), Error> {
        rules::handle(self, command, sink).await
    }

    fn apply(&mut self, event: Event) {
        let next = match (std::mem::take(self), event) {
            (_, Event::ActivationRequested(request)) => Self::Pending { request: Box::new(request) },
            (Self::Pending { request } | Self::Processing { request, .. }, Event::Processing { attempt }) => {
                Self::Processing { request, attempt }
            }
            (Self::Processing { request, .. }, Event::Succeeded { reference }) => {
                Self::Succeeded { request, reference }
            }
            (Self::Processing { request, .. }, Event::Failed { code, message }) => {
                Self::Failed { request, code, message, refunded: false }
            }
            (Self::Failed { request, code, message, .. }, Event::Refunded { .. }) => {
                Self::Failed { request, code, message, refunded: true }
            }
            (state, _) => state, // no rule writes such a history
        };
        *self = next;
    }
}
