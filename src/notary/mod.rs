//! Grows the Merkle tree along the log, signs checkpoints of it, and proves what it contains.
//!
//! - `projector` follows the log, off the commit path, and writes the tiles of the tree;
//! - `signer` signs a checkpoint in the SQL transaction that stores it, if it continues all that were signed before;
//! - `prover` answers from a handful of tiles, whatever the size; `store` has the tables;
//! - `history` reads the log and the tree for a verification, `comparison` compares the two.
//!
//! **Architecture Invariant:** a key never signs two checkpoints that contradict each other. The signer holds the
//! tree's lock, and has compared with the newest stored checkpoint and, once after each start and error, with the newest
//! published one.

mod comparison;
mod error;
mod history;
mod projector;
mod prover;
mod signer;
mod store;

pub use comparison::TreeComparison;
pub use error::Error;
pub use history::LoggedHistory;
pub use projector::TreeProjector;
pub use store::{StoredCheckpoint, TreeStore};

use crate::bus::Bus;
use crate::event_log::EventLog;
use crate::tree::SigningKey;
use signer::{Refusal, Signer};
use sqlx::PgPool;
use std::sync::Arc;

/// The tree, its checkpoints and its proofs. Cheap to clone.
#[derive(Clone)]
pub struct Notary {
    log: EventLog,
    store: TreeStore,
    bus: Bus,
    key: Option<Arc<SigningKey>>,
    refusal: Refusal,
}

impl Notary {
    /// Without a key the tree grows, and nothing is signed.
    #[must_use]
    pub fn new(log: EventLog, pool: PgPool, bus: Bus, key: Option<SigningKey>) -> Self {
        let key = key.map(Arc::new);
        Self { log, store: TreeStore::new(pool), bus, key, refusal: Refusal::default() }
    }

    /// Grows and signs. To be fed on one instance at a time (`event_log::Role::Tree`).
    #[must_use]
    pub fn projector(&self) -> TreeProjector {
        let signer =
            self.key.clone().map(|key| Signer::new(key, self.bus.checkpoints(), self.refusal.clone()));
        TreeProjector::new(self.log.clone(), self.store.clone(), signer)
    }

    /// Whether this process has a key.
    #[must_use]
    pub fn signs(&self) -> bool {
        self.key.is_some()
    }

    /// Why this process, which is to sign checkpoints, does not.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.refusal.why()
    }
}
