//! The answers to queries: the read tables and the Redis hashes, each with its writer and its reader.
//!
//! Everything here is derived from the log and can be thrown away. What an event changes is written once,
//! in `transaction`, `subscription` and `offer`, as pure functions; the read tables, the hashes and the
//! status that is read from a stream all use them, so that they cannot disagree.
//!
//! A page of events is folded in memory and then written in one statement, never event by event.
//!
//! **Architecture Invariant:** nothing here decides anything or writes an event.

#![warn(missing_docs)]

mod check;
mod checkpoint;
mod error;
mod hashes;
mod history;
mod offer;
mod page;
mod read_tables;
mod readers;
pub mod statement;
mod statement_entry;
pub mod subscription;
pub mod transaction;

pub use check::{Check, Differences, Snapshot, Streams, StreamsOf};
pub use checkpoint::ReadCheckpoint;
pub use error::Error;
pub use hashes::{HashProjector, RedisHashes, StoredHash, StoredHashes};
pub use offer::{NameKey, OfferView};
pub use read_tables::{Difference, Held, ReadTables, Rebuild, TableProjector};
pub use readers::Readers;
pub use subscription::{EndKey, SubscriptionView};
pub use transaction::TransactionView;
