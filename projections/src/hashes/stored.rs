//! Every hash that is there, for a check.

use super::RedisHashes;
use crate::Error;
use crate::transaction::{self, TransactionHash};
use domain::{Checkpoint, Recorded, TransactionId};
use std::collections::HashMap;

/// Keys that Redis looks at in one step.
const SCAN_COUNT: usize = 500;

/// Some of the hashes of transactions.
#[derive(Debug)]
pub struct StoredHashes {
    /// Redis's checkpoint before the hashes were read; `None` if there is none that can be read.
    pub checkpoint: Option<Checkpoint>,
    /// The hashes.
    pub hashes: Vec<StoredHash>,
    /// Where the next ones begin; 0 at the end.
    pub next: u64,
}

/// A hash as it is stored.
#[derive(Debug)]
pub struct StoredHash {
    /// Its key.
    pub key: String,
    fields: HashMap<String, String>,
}

impl RedisHashes {
    /// The hashes after `cursor`; 0 is the beginning. A hash may come twice.
    ///
    /// # Errors
    /// `Redis`.
    pub async fn stored(&self, cursor: u64) -> Result<StoredHashes, Error> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg("transaction:*")
            .arg("COUNT")
            .arg(SCAN_COUNT)
            .arg("TYPE")
            .arg("hash");
        let (next, keys): (u64, Vec<String>) =
            self.connection.ask(async |mut redis| scan.query_async(&mut redis).await).await?;
        let checkpoint = self.checkpoint().await?; // before the hashes: they are as far or further
        let mut hashes = Vec::new();
        if !keys.is_empty() {
            let mut all = redis::pipe();
            for key in &keys {
                all.hgetall(key);
            }
            let found: Vec<HashMap<String, String>> =
                self.connection.ask(async |mut redis| all.query_async(&mut redis).await).await?;
            hashes.extend(keys.into_iter().zip(found).map(|(key, fields)| StoredHash { key, fields }));
        }
        Ok(StoredHashes { checkpoint, hashes, next })
    }
}

impl StoredHash {
    /// The transaction that its key names.
    #[must_use]
    pub fn transaction_id(&self) -> Option<TransactionId> {
        self.key.strip_prefix("transaction:")?.parse().ok()
    }

    /// What is wrong with it, by the transaction's own `events`, read after the hash; `checkpoint` is the
    /// position up to which Redis contains every event.
    ///
    /// # Errors
    /// `Unreadable` and `Broken` when the events cannot be folded.
    pub fn difference(&self, events: &[Recorded], checkpoint: i64) -> Result<Option<&'static str>, Error> {
        if self.fields.is_empty() {
            return Ok(None); // it has expired since it was found
        }
        let Some(hash) = TransactionHash::read(|name| self.fields.get(name).cloned()) else {
            return Ok(Some("is not a whole hash"));
        };
        let later = events.partition_point(|event| event.position <= hash.position());
        let Some(view) = transaction::fold(&events[..later])? else {
            return Ok(Some("has no transaction"));
        };
        if hash != TransactionHash::from(&view) {
            return Ok(Some("is not as its events say"));
        }
        let was_passed_over = events[later..].iter().any(|event| event.position <= checkpoint);
        Ok(was_passed_over.then_some("was passed over"))
    }
}
