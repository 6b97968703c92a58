//! Signs checkpoints, each a continuation of all before it.

use super::store::{self, StoredCheckpoint};
use crate::bus;
use crate::telemetry::chain;
use crate::tree::{Checkpoint, Hash, Plan, SignedCheckpoint, SigningKey, verify_consistency};
use parking_lot::Mutex;
use sqlx::PgConnection;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long NATS may take to tell the newest published checkpoint, while the tree waits.
const PUBLISHED_TIMEOUT: Duration = Duration::from_secs(1);

/// Why nothing is signed, if so, for others to see.
#[derive(Clone, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<String>>>);

impl Refusal {
    pub(super) fn why(&self) -> Option<String> {
        self.0.lock().clone()
    }

    /// True if it was another one before.
    fn set(&self, why: Option<String>) -> bool {
        let mut known = self.0.lock();
        let is_new = *known != why;
        *known = why;
        is_new
    }
}

/// Signs as long as its leadership lasts.
pub(super) struct Signer {
    key: Arc<SigningKey>,
    published: bus::Checkpoints,
    refusal: Refusal,
    /// The newest published checkpoint was seen to be of this history.
    has_compared: bool,
}

/// What was published before this process began, or continued after an error.
pub(super) enum Published {
    /// Nothing that needs to be compared.
    Nothing,
    Newest(Checkpoint),
    /// NATS does not tell, for this reason.
    Unknown(String),
}

impl Signer {
    pub(super) fn new(key: Arc<SigningKey>, published: bus::Checkpoints, refusal: Refusal) -> Self {
        metrics::gauge!("offers_checkpoints_contradict").set(0);
        Self { key, published, refusal, has_compared: false }
    }

    /// Compares with the newest published checkpoint before the next signature.
    pub(super) fn compare_again(&mut self) {
        self.has_compared = false;
    }

    /// Whether there is something to compare even if the tree has not grown.
    pub(super) fn has_compared(&self) -> bool {
        self.has_compared
    }

    /// The newest published checkpoint of this key, until it was compared. The key of another installation has nothing
    /// to do with this log.
    pub(super) async fn published(&self) -> Published {
        if self.has_compared {
            return Published::Nothing;
        }
        let text = match timeout(PUBLISHED_TIMEOUT, self.published.newest()).await {
            Ok(Ok(text)) => text,
            Ok(Err(cause)) => return Published::Unknown(chain(&cause)),
            Err(_) => return Published::Unknown("NATS does not answer in time".to_owned()),
        };
        let signed = text.and_then(|text| text.parse::<SignedCheckpoint>().ok());
        let ours = signed.and_then(|signed| signed.verify(self.key.verifier()).ok().cloned());
        ours.map_or(Published::Nothing, Published::Newest)
    }

    /// Signs and stores the checkpoint of the tree as it is stored in `transaction`, under the tree's lock. `None` if
    /// there is one already, or if it must not be signed.
    pub(super) async fn sign(
        &mut self,
        transaction: &mut PgConnection,
        published: &Published,
        size: u64,
        root: Hash,
    ) -> Result<Option<String>, sqlx::Error> {
        let stored = store::newest(&mut *transaction).await?;
        if let Some(newest) = &stored {
            metrics::gauge!("offers_checkpoint_size").set(newest.size as f64);
        }
        if let Some(newest) = &stored
            && let Err(why) = continues(transaction, newest.size, newest.root, size, root).await?
        {
            self.refuse(&format!("the newest stored checkpoint, of {} records: {why}", newest.size), true);
            return Ok(None);
        }
        match published {
            Published::Nothing => {}
            Published::Unknown(why) => {
                self.refuse(&format!("NATS must tell the newest published one first: {why}"), false);
                return Ok(None);
            }
            Published::Newest(newest) => {
                if let Err(why) = continues(transaction, newest.size, newest.root, size, root).await? {
                    let why = format!("the newest published checkpoint, of {} records: {why}", newest.size);
                    self.refuse(&why, true);
                    return Ok(None);
                }
            }
        }
        self.agree();
        let signed = SignedCheckpoint::sign(size, root, &self.key);
        let checkpoint =
            StoredCheckpoint { size, root, key: self.key.verifier().to_string(), note: signed.to_string() };
        let is_new = store::insert(transaction, &checkpoint).await?;
        let is_first = !std::mem::replace(&mut self.has_compared, true);
        // What the last leader has stored and may not have published is published again.
        Ok((is_new || is_first).then_some(checkpoint.note))
    }

    /// After the commit.
    pub(super) fn publish(&self, size: u64, note: String) {
        metrics::gauge!("offers_checkpoint_size").set(size as f64);
        self.published.publish(note);
    }

    fn agree(&self) {
        metrics::gauge!("offers_checkpoints_contradict").set(0);
        if self.refusal.set(None) {
            tracing::info!("checkpoints are signed again");
        }
    }

    fn refuse(&self, why: &str, contradicts: bool) {
        metrics::gauge!("offers_checkpoints_contradict").set(u8::from(contradicts));
        let text = format!("no checkpoint is signed: {why}");
        if !self.refusal.set(Some(text.clone())) {
            return;
        }
        match contradicts {
            true => tracing::error!("{text}; this history contradicts what was signed (docs/operations.md)"),
            false => tracing::info!("{text}"),
        }
    }
}

impl Drop for Signer {
    /// Another instance signs now and says how it is.
    fn drop(&mut self) {
        metrics::gauge!("offers_checkpoints_contradict").set(0);
        self.refusal.set(None);
    }
}

/// Whether the stored tree of `size` records continues one of `from` records; else why not.
async fn continues(
    transaction: &mut PgConnection,
    from: u64,
    older: Hash,
    size: u64,
    root: Hash,
) -> Result<Result<(), String>, sqlx::Error> {
    let Some(plan) = Plan::consistency(from, size) else {
        return Ok(Err(format!("the log has only {size}")));
    };
    let tiles = store::tiles(&mut *transaction, plan.tiles()).await?;
    let proof = match plan.hashes(&tiles) {
        Ok(proof) => proof,
        Err(missing) => return Ok(Err(missing.to_string())),
    };
    Ok(verify_consistency(from, older, size, root, &proof)
        .map_err(|_| "the log has other records".to_owned()))
}
