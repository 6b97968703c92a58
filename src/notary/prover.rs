//! Proofs, from a handful of tiles.

use super::store::StoredCheckpoint;
use super::{Error, Notary};
use crate::tree::{Hash, InvalidText, Plan, Receipt, SignedCheckpoint};
use domain::Recorded;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a receipt waits for a checkpoint that has its record.
const SIGNED_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks for a newer checkpoint.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Notary {
    /// The checkpoint of `size` records, or the newest one.
    ///
    /// # Errors
    /// `NoCheckpoint`, `NothingSigned`; `Database`.
    pub async fn checkpoint(&self, size: Option<u64>) -> Result<StoredCheckpoint, Error> {
        match size {
            Some(size) => self.store.of_size(size).await?.ok_or(Error::NoCheckpoint),
            None => self.store.newest().await?.ok_or(Error::NothingSigned),
        }
    }

    /// The key of the newest checkpoint, or the one that will sign the first.
    ///
    /// # Errors
    /// `NothingSigned`; `Database`.
    pub async fn verifier_key(&self) -> Result<String, Error> {
        let ours = || self.key.as_ref().map(|key| key.verifier().to_string());
        let newest = self.store.newest().await?;
        newest.map(|newest| newest.key).or_else(ours).ok_or(Error::NothingSigned)
    }

    /// The proof that the tree of `to` records, or of the newest checkpoint, continues that of `from` records.
    ///
    /// # Errors
    /// `NoCheckpoint` if no checkpoint is as large, `NothingSigned`; `Database`, `Damaged`.
    pub async fn consistency(&self, from: u64, to: Option<u64>) -> Result<Vec<Hash>, Error> {
        let newest = self.checkpoint(None).await?.size;
        let to = to.unwrap_or(newest);
        let plan = Plan::consistency(from, to).filter(|_| to <= newest).ok_or(Error::NoCheckpoint)?;
        Ok(plan.hashes(&self.store.tiles(plan.tiles()).await?)?)
    }

    /// The receipt of the record at `position`.
    ///
    /// # Errors
    /// `BeyondTheLog`, and as `receipts`.
    pub async fn receipt_at(&self, position: i64) -> Result<Receipt, Error> {
        let event = self.log.event_at(position).await?.ok_or(Error::BeyondTheLog)?;
        let receipts = self.receipts(&[event]).await?;
        receipts.into_iter().next().ok_or(Error::BeyondTheLog)
    }

    /// The receipts of `events`, all with the same checkpoint. Waits a little for one that has them all.
    ///
    /// # Errors
    /// `NotSignedYet`, `NothingSigned`; `Database`, `Damaged`.
    pub async fn receipts(&self, events: &[Recorded]) -> Result<Vec<Receipt>, Error> {
        let last = events.iter().map(|event| event.position.unsigned_abs()).max().unwrap_or_default();
        let stored = self.checkpoint_with(last).await?;
        let checkpoint: SignedCheckpoint = stored.note.parse().map_err(unreadable)?;
        let plan = |event: &Recorded| {
            let index = event.position.unsigned_abs().checked_sub(1)?;
            Some((index, event.line(), Plan::inclusion(index, stored.size)?))
        };
        let plans: Vec<_> = events.iter().map(plan).collect::<Option<_>>().ok_or(Error::BeyondTheLog)?;
        let tiles = self.store.tiles(plans.iter().flat_map(|(_, _, plan)| plan.tiles())).await?;
        let receipt = |(index, line, plan): (u64, String, Plan)| {
            let proof = plan.hashes(&tiles)?;
            Ok(Receipt { line, index, proof, checkpoint: checkpoint.clone() })
        };
        plans.into_iter().map(receipt).collect()
    }

    /// The newest checkpoint, once it has the record at `position`.
    async fn checkpoint_with(&self, position: u64) -> Result<StoredCheckpoint, Error> {
        let deadline = Instant::now() + SIGNED_WITHIN;
        loop {
            let newest = self.store.newest().await?;
            match newest {
                Some(newest) if newest.size >= position => return Ok(newest),
                None if Instant::now() >= deadline => return Err(Error::NothingSigned),
                Some(_) if Instant::now() >= deadline => return Err(Error::NotSignedYet),
                _ => sleep(LOOK_EVERY).await,
            }
        }
    }
}

fn unreadable(cause: InvalidText) -> Error {
    sqlx::Error::Decode(Box::new(cause)).into()
}
