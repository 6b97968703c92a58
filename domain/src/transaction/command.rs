//! Orders to a transaction.

use super::{ActivationRequested, Answer, AttemptKind, Evidence};

/// An order to a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Reserve the money and begin.
    Request(ActivationRequested),
    /// The external system is about to be asked for the `attempt`th time (1, 2, 3 …): recorded before
    /// the first byte is sent.
    BeginAttempt {
        /// One more than the last one.
        attempt: u32,
    },
    /// The external system is about to be asked never to do it: recorded before the first byte is sent.
    BeginCancellation,
    /// A call ended without a definite answer.
    RecordFailedAttempt {
        /// The attempt that it belongs to.
        attempt: u32,
        /// What was called.
        kind: AttemptKind,
        /// What is known about it.
        evidence: Evidence,
        /// What happened, for people.
        detail: String,
    },
    /// The external system has done it.
    Succeed {
        /// Its own reference.
        reference: String,
    },
    /// It is certain that it was not done and never will be: the external system has rejected or cancelled it.
    Fail {
        /// Why, for programs.
        code: String,
        /// Why, for people.
        message: String,
    },
    /// The deadline has passed. Only while no attempt can have reached the external system.
    GiveUp,
    /// A person wants it to be tried again now; the deadline begins again.
    RequestRetry,
    /// A person has found out how it ended.
    Resolve {
        /// The external system's reference if it was done, `None` if it was not and never will be.
        done_as: Option<String>,
    },
    /// The external system has answered after the final status. Nothing follows from it but a note.
    RecordLateAnswer {
        /// The call that it answered.
        kind: AttemptKind,
        /// What it said.
        answer: Answer,
        /// Its own reference, or its code of the rejection.
        detail: String,
    },
}
