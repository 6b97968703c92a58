//! Orders to a transaction.

use super::ActivationRequested;

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
    /// The external system has done it.
    Succeed {
        /// Its own reference.
        reference: String,
    },
    /// It is certain that it was not done and never will be.
    Fail {
        /// Why, for programs.
        code: String,
        /// Why, for people.
        message: String,
    },
}
