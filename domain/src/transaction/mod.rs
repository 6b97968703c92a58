//! A transaction: what a user or a partner asked for, from the request to its final status.
//!
//! `None → Pending → Processing → Succeeded | Failed`; the money is reserved by the first event and
//! earned or given back by the last. A failure and its refund are one decision, so they are one
//! commit.
//!
//! It fails only when it is certain that nothing was done: the external system has rejected or cancelled it, no
//! attempt can have reached it ([`Calls::may_be_done`]), or a person says so.

mod calls;
mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use calls::Calls;
pub use command::Command;
pub use error::Error;
pub use event::{ActivationRequested, Answer, AttemptKind, Event, Evidence, Kind, Outcome};

use crate::postings::transfer;
use crate::{Entry, Ledger, Rules, rules};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};
use strum::{AsRefStr, EnumString, IntoStaticStr, VariantNames};
use uuid::Uuid;

/// The code of a failure because the deadline passed before any attempt reached the external system.
pub const DEADLINE_EXCEEDED: &str = "deadline_exceeded";
/// The code of a failure that the external system has confirmed: it was cancelled, and will never be done.
pub const CANCELLED: &str = "cancelled";
/// The code of a failure that a person has found out.
pub const RESOLVED: &str = "resolved";
/// The reference of a success of which a person knew none.
pub const UNKNOWN_REFERENCE: &str = "unknown";

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
        /// What is known about the calls.
        calls: Calls,
    },
    /// Done, paid for.
    Succeeded {
        /// What was asked for.
        request: Box<ActivationRequested>,
        /// The external system's own reference.
        reference: String,
        /// An answer that says otherwise, until a person has settled it.
        contradicted: Option<Contradiction>,
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
        /// An answer that says otherwise, until a person has settled it.
        contradicted: Option<Contradiction>,
    },
}

/// An answer after the final status that says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contradiction {
    /// What the external system said.
    pub answer: Answer,
    /// Its own reference, or its code of the rejection.
    pub detail: String,
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

    /// Whether `answer` says otherwise than this final state, and is not known yet.
    fn contradicts(&self, answer: Answer, detail: &str) -> bool {
        let (says_otherwise, known) = match self {
            Self::Succeeded { reference, contradicted, .. } => {
                let is_another = reference != detail && reference != UNKNOWN_REFERENCE;
                (answer == Answer::Rejected || is_another, contradicted)
            }
            Self::Failed { contradicted, .. } => (answer == Answer::Activated, contradicted),
            Self::None | Self::Pending { .. } | Self::Processing { .. } => return false,
        };
        let is_known = known.as_ref().is_some_and(|known| known.answer == answer && known.detail == detail);
        says_otherwise && !is_known
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

/// The end of `request` without an effect: the failure, and all of the money.
fn failed(request: &ActivationRequested, code: &str, message: &str) -> Vec<Event> {
    vec![
        Event::Failed { code: code.to_owned(), message: message.to_owned() },
        Event::Refunded { account_id: request.account_id, amount: request.amount },
    ]
}

fn unless(is_known: bool, event: Event) -> Vec<Event> {
    if is_known { vec![] } else { vec![event] }
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

            (Self::Processing { calls, .. }, Command::BeginCancellation) => {
                Ok(unless(calls.is_cancelling(), Event::CancelRequested {}))
            }

            (Self::Processing { attempt: last, .. }, Command::RecordFailedAttempt { attempt, .. })
                if attempt > *last =>
            {
                Err(Error::AttemptOutOfOrder)
            }
            (
                Self::Processing { calls, .. },
                Command::RecordFailedAttempt { attempt, kind, evidence, detail },
            ) => {
                let is_known = calls.is_known(attempt, kind, evidence);
                Ok(unless(is_known, Event::AttemptFailed { attempt, kind, evidence, detail }))
            }

            (Self::Processing { .. }, Command::Succeed { reference }) => {
                Ok(vec![Event::Succeeded { reference }])
            }
            (Self::Processing { request, .. }, Command::Fail { code, message }) => {
                Ok(failed(request, &code, &message))
            }
            (
                Self::Pending { .. },
                Command::BeginCancellation
                | Command::RecordFailedAttempt { .. }
                | Command::Succeed { .. }
                | Command::Fail { .. },
            ) => {
                Err(Error::NotProcessing) // no attempt has begun, so there can be no answer
            }

            (Self::Processing { calls, .. }, Command::GiveUp) if calls.may_be_done() => Err(Error::MayBeDone),
            (Self::Pending { request } | Self::Processing { request, .. }, Command::GiveUp) => {
                Ok(failed(request, DEADLINE_EXCEEDED, "It could not be activated in time"))
            }

            (Self::Pending { .. } | Self::Processing { .. }, Command::RequestRetry) => {
                Ok(vec![Event::RetryRequested {}])
            }
            (
                Self::Pending { .. } | Self::Processing { .. },
                Command::Resolve { done_as: Some(reference) },
            ) => Ok(vec![Event::Resolved { outcome: Outcome::Succeeded }, Event::Succeeded { reference }]),
            (
                Self::Pending { request } | Self::Processing { request, .. },
                Command::Resolve { done_as: None },
            ) => {
                let mut events = vec![Event::Resolved { outcome: Outcome::Failed }];
                events.extend(failed(request, RESOLVED, "It was not activated"));
                Ok(events)
            }
            (Self::Pending { .. } | Self::Processing { .. }, Command::RecordLateAnswer { .. }) => {
                Err(Error::NotFinal)
            }

            (Self::Succeeded { reference: known, .. }, Command::Succeed { reference })
                if *known == reference =>
            {
                Ok(vec![])
            }
            (Self::Failed { code: known, .. }, Command::Fail { code, .. }) if *known == code => Ok(vec![]),
            (Self::Failed { code, .. }, Command::GiveUp) if code == DEADLINE_EXCEEDED => Ok(vec![]),
            (Self::Succeeded { .. } | Self::Failed { .. }, Command::RecordFailedAttempt { .. }) => {
                Ok(vec![]) // what was unknown is known
            }
            (
                Self::Succeeded { .. } | Self::Failed { .. },
                Command::RecordLateAnswer { kind, answer, detail },
            ) => {
                let says_nothing_new = !self.contradicts(answer, &detail);
                Ok(unless(says_nothing_new, Event::Contradicted { kind, answer, detail }))
            }
            // A person confirms the end after an answer that said otherwise.
            (Self::Succeeded { contradicted: Some(_), .. }, Command::Resolve { done_as: Some(_) }) => {
                Ok(vec![Event::Resolved { outcome: Outcome::Succeeded }])
            }
            (Self::Failed { contradicted: Some(_), .. }, Command::Resolve { done_as: None }) => {
                Ok(vec![Event::Resolved { outcome: Outcome::Failed }])
            }
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
            (Event::Succeeded { .. }, None)
            | (
                Event::Processing { .. }
                | Event::AttemptFailed { .. }
                | Event::CancelRequested {}
                | Event::RetryRequested {}
                | Event::Resolved { .. }
                | Event::Contradicted { .. }
                | Event::Failed { .. },
                _,
            ) => vec![],
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
            (Self::Pending { request }, Event::Processing { attempt }) => {
                let mut calls = Calls::default();
                calls.begin(attempt);
                Self::Processing { request, attempt, calls }
            }
            (Self::Processing { request, mut calls, .. }, Event::Processing { attempt }) => {
                calls.begin(attempt);
                Self::Processing { request, attempt, calls }
            }
            (
                Self::Processing { request, attempt: last, mut calls },
                Event::AttemptFailed { attempt, kind, evidence, .. },
            ) => {
                calls.fail(attempt, kind, evidence);
                Self::Processing { request, attempt: last, calls }
            }
            (Self::Processing { request, attempt, mut calls }, Event::CancelRequested {}) => {
                calls.cancel();
                Self::Processing { request, attempt, calls }
            }
            (
                Self::Pending { request } | Self::Processing { request, .. },
                Event::Succeeded { reference },
            ) => Self::Succeeded { request, reference, contradicted: None },
            (
                Self::Pending { request } | Self::Processing { request, .. },
                Event::Failed { code, message },
            ) => Self::Failed { request, code, message, refunded: false, contradicted: None },
            (Self::Failed { request, code, message, contradicted, .. }, Event::Refunded { .. }) => {
                Self::Failed { request, code, message, refunded: true, contradicted }
            }
            (mut state, Event::Contradicted { answer, detail, .. }) => {
                if let Self::Succeeded { contradicted, .. } | Self::Failed { contradicted, .. } = &mut state {
                    *contradicted = Some(Contradiction { answer, detail });
                }
                state
            }
            (mut state, Event::Resolved { .. }) => {
                if let Self::Succeeded { contradicted, .. } | Self::Failed { contradicted, .. } = &mut state {
                    *contradicted = None;
                }
                state
            }
            (state, _) => state, // a retry changes no state, and no rule writes another history
        };
        *self = next;
    }
}
