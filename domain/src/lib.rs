//! What is true: the aggregates, their commands and events, the money, and the line an event
//! becomes in an export.
//!
//! **Architecture Invariant:** this crate is pure. It knows no clock, no randomness and no IO:
//! ids, times and prices arrive in the commands. So every rule can be tested by given/when/then,
//! and replaying history gives the same state for ever.
//!
//! Each aggregate has a folder of four files: `command` (orders), `event` (past facts), `error`
//! (why not), and `mod` with the state and the rule.

#![warn(missing_docs)]

pub mod account;
mod checkpoint;
mod event;
#[cfg(test)]
mod golden;
mod history;
pub mod ids;
mod metadata;
mod money;
pub mod offer;
mod postings;
mod record;
mod recorded;
mod replay;
mod rules;
#[cfg(test)]
mod scenarios;
#[cfg(feature = "schema")]
pub mod schema;
mod slice;
pub mod text;
mod timestamp;
pub mod transaction;
pub mod user_offer;
mod versions;

pub use checkpoint::{Checkpoint, InvalidCheckpoint};
pub use event::{Event, UnknownEvent, dotted};
pub use history::{History, HistoryAnswer, HistoryError};
pub use ids::{AccountId, OfferId, PartnerId, SubscriptionId, TransactionId, UserId};
pub use metadata::Metadata;
pub use money::{Money, MoneyError};
pub use postings::{Entry, Ledger};
pub use record::NotARecord;
pub use recorded::{Record, Recorded};
pub use replay::{Contradiction, Replay};
pub use rules::Rules;
pub use slice::{CreationKey, SLICE_MAX, Slice};
pub use timestamp::Timestamp;
pub use versions::{FIRST_VERSION, current_version};
