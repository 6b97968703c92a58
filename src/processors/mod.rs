//! Reactions to events.
//!
//! A processor returns `Done`, `RetryAfter` or `Park` and never acknowledges a message. It loads the aggregate
//! before it acts, so a second delivery does nothing.
//! - `activation` drives transactions, `callbacks` tells partners and `notifications` tells users the outcome,
//!   `schedules` records what is due by time;
//! - `announcer` follows the log and queues the callbacks and mails; `ended` looks up what they tell;
//! - `claims` holds what a sender works on;
//! - `parked` keeps messages that cannot be handled, until an operator requeues them; `requeued` polls for those.
//!
//! **Architecture Invariant:** NATS decides when something is done, never whether it is done.

mod activation;
mod announcer;
pub mod callbacks;
mod claims;
mod ended;
pub mod notifications;
mod outcome;
mod parked;
mod requeued;
pub mod schedules;

pub use activation::{
    ActivationLimits, ActivationProcessor, Cause, DEFAULT_CALLS, Rechecks, RequeuedActivations, Sweeper,
    consume_activations, success,
};
pub use announcer::Announcer;
pub use outcome::{Outcome, Unhandled};
pub use parked::{Parked, ParkedError, ParkedMessage};
