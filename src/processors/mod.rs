//! What happens because of an event.
//!
//! A processor says what happened (`Done`, `RetryAfter`, `Park`) and never acknowledges a message. It
//! loads the aggregate before it acts, so that being called twice does nothing twice.
//! - `activation` brings one purchase a step further; `sweeper` finds those that nobody brings further;
//! - `parked` keeps what cannot be handled; `resumption` takes up what a person sent back to work.
//!
//! **Architecture Invariant:** whether NATS remembers a message decides when something is done, never
//! whether.

mod activation;
mod activation_consumer;
mod attempts;
mod backoff;
pub mod callbacks;
pub mod notifications;
mod parked;
mod resumption;
pub mod schedules;
mod sweeper;

pub use activation::{ActivationProcessor, Cause, DEFAULT_CALLS};
pub use activation_consumer::consume_activations;
pub use parked::{Parked, ParkedError, ParkedMessage};
pub use resumption::Resumption;
pub use sweeper::Sweeper;
