//! The client of the activation system. Its protocol stays in here: the three calls return small enums that say
//! what is known now.
//!
//! Only the answers of the contract are definite. Every other answer, and every missing one, is `Inconclusive`: the
//! activation may have been done, unless its evidence is certain. Repeats with the same transaction id are safe.

mod answer;
mod call;
mod retry_after;
mod transport;

use std::time::Duration;

use domain::transaction::Evidence;
use serde::Serialize;
use uuid::Uuid;

use call::Call;
pub use transport::SettingsError;
use transport::Transport;

/// How the activation system is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `http://` or `https://`, a host, perhaps a path; the calls' paths are put behind it.
    pub base_url: String,
    /// From the start of a call to the last byte of its answer. Must stay below the consumer's ack
    /// wait, or the message comes back while its call is still under way.
    pub timeout: Duration,
    /// Calls that the caller has under way at a time. As many idle connections are kept, so that no connection
    /// is opened again under a steady load. This client does not queue; the caller keeps to the bound.
    pub max_in_flight: usize,
}

impl Settings {
    /// The contract's timeout of 10 s and 64 calls under way.
    #[must_use]
    pub fn new(base_url: impl Into<String>) -> Settings {
        Settings { base_url: base_url.into(), timeout: Duration::from_secs(10), max_in_flight: 64 }
    }
}

/// What is to be activated.
#[derive(Debug, Clone, Serialize)]
pub struct Request<'a> {
    /// Also the idempotency key: the same on every attempt.
    pub transaction_id: Uuid,
    pub user_id: Uuid,
    pub offer_id: Uuid,
    /// The price paid, two places: `"19.99"`.
    pub amount: String,
    /// `activation`, `renewal` or `partner`.
    pub kind: &'a str,
}

/// What is known after asking for an activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activation {
    Activated {
        /// The activation system's own name for it.
        reference: String,
    },
    /// Taken; look it up later.
    Pending,
    /// Not done, and never will be.
    Rejected(Rejection),
    /// Not done if the evidence is certain; else look it up before anything else.
    Inconclusive(Inconclusive),
}

/// What is known after looking an activation up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookUp {
    Activated {
        /// The activation system's own name for it.
        reference: String,
    },
    Pending,
    /// Not done, and never will be; code `cancelled` after a cancellation.
    Rejected(Rejection),
    /// The activation system has never seen it: send it (again), with the same key.
    NotSeen,
    /// Nothing was learnt; ask again.
    Inconclusive(Inconclusive),
}

/// What is known after asking that an activation never be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancellation {
    /// It will never be done, even if a request for it arrives later.
    Cancelled,
    TooLate {
        /// The activation system's own name for it.
        reference: String,
    },
    /// It was rejected before.
    Rejected(Rejection),
    /// It may be cancelled or not; ask again.
    Inconclusive(Inconclusive),
}

/// Why the activation system will never do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Stable, what a program switches on.
    pub code: String,
    pub message: String,
}

/// A call without a definite answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inconclusive {
    pub evidence: Evidence,
    /// What happened, for people.
    pub detail: String,
    /// When the activation system wants the next call.
    pub retry_after: Option<Duration>,
}

impl Activation {
    #[must_use]
    pub fn inconclusive(&self) -> Option<&Inconclusive> {
        if let Self::Inconclusive(call) = self { Some(call) } else { None }
    }
}

impl LookUp {
    #[must_use]
    pub fn inconclusive(&self) -> Option<&Inconclusive> {
        if let Self::Inconclusive(call) = self { Some(call) } else { None }
    }
}

impl Cancellation {
    #[must_use]
    pub fn inconclusive(&self) -> Option<&Inconclusive> {
        if let Self::Inconclusive(call) = self { Some(call) } else { None }
    }
}

/// The activation system, as seen from here. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct ActivationSystem {
    transport: Transport,
}

impl ActivationSystem {
    /// A client with these settings; connects when it is first used.
    ///
    /// # Errors
    /// The URL is not one to call, or the system's TLS roots cannot be read.
    pub fn new(settings: &Settings) -> Result<ActivationSystem, SettingsError> {
        Ok(ActivationSystem { transport: Transport::new(settings)? })
    }

    /// Asks for an activation. Repeats with the same `transaction_id` are safe.
    ///
    /// `traceparent` (W3C) is passed on; without one the call belongs to a trace of its transaction.
    pub async fn activate(&self, request: &Request<'_>, traceparent: Option<&str>) -> Activation {
        let id = request.transaction_id;
        let call = Call::begin("activate", id, traceparent);
        let outcome = self.transport.post_activation(id, request, call.traceparent()).await;
        match call.ended(outcome) {
            Ok(reply) => answer::to_activate(id, &reply),
            Err(failure) => Activation::Inconclusive(failure),
        }
    }

    /// Asks where the activation `id` stands.
    pub async fn look_up(&self, id: Uuid, traceparent: Option<&str>) -> LookUp {
        let call = Call::begin("look_up", id, traceparent);
        let outcome = self.transport.get_activation(id, call.traceparent()).await;
        match call.ended(outcome) {
            Ok(reply) => answer::to_look_up(id, &reply),
            Err(failure) => LookUp::Inconclusive(failure),
        }
    }

    /// Asks that the activation `id` never be done.
    pub async fn cancel(&self, id: Uuid, traceparent: Option<&str>) -> Cancellation {
        let call = Call::begin("cancel", id, traceparent);
        let outcome = self.transport.post_cancel(id, call.traceparent()).await;
        match call.ended(outcome) {
            Ok(reply) => answer::to_cancel(id, &reply),
            Err(failure) => Cancellation::Inconclusive(failure),
        }
    }
}

#[cfg(test)]
mod tests;
