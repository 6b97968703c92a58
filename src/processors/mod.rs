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
pub mod callbacks;
pub mod notifications;
mod parked;
pub mod schedules;

pub use activation::{ActivationProcessor, Cause, DEFAULT_CALLS, Resumption, Sweeper, consume_activations};
pub use parked::{Parked, ParkedError, ParkedMessage};
