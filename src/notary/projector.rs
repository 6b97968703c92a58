//! Follows the log into the tree.
//!
//! Leaves are added in memory, page by page; the tiles are written, and a checkpoint is signed, at most once a second. The
//! checkpoint of this sink is the tree's size; the leaf there says whether it is the same history.

use super::Error;
use super::signer::Signer;
use super::store::{self, TreeStore};
use crate::event_log::{EventLog, PAGE_EVENTS, Sink, SinkError};
use crate::failpoint::{Step, failpoint};
use crate::tree::{Builder, MissingHash, TILE_HASHES, Tile, TileId, leaf_hash};
use domain::Recorded;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The least time between two writes: each rewrites the growing tiles.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Full tiles that wait to be written, at most, while the tree catches up: 4 MiB.
const FULL_TILES_MAX: usize = 512;
/// The pause after a page that is far from full, so that the next one has more: nobody waits for a checkpoint in
/// milliseconds.
const PAGE_DELAY: Duration = Duration::from_millis(25);

/// Lets the tree grow, and has it signed.
pub struct TreeProjector {
    log: EventLog,
    store: TreeStore,
    signer: Option<Signer>,
    /// The tree with the pages that are not written yet.
    builder: Builder,
    /// Tiles that have become full and are not written yet.
    full: Vec<Tile>,
    /// The records in the tree as it is stored.
    stored: u64,
    /// When it was written last, by this process.
    written_at: Option<Instant>,
}

impl TreeProjector {
    pub(super) fn new(log: EventLog, store: TreeStore, signer: Option<Signer>) -> Self {
        let builder = Builder::default();
        Self { log, store, signer, builder, full: Vec::new(), stored: 0, written_at: None }
    }

    /// Continues at the stored tree, if that is of the log's history.
    async fn resume(&mut self) -> Result<u64, Error> {
        let size = self.store.size().await?;
        let ids = TileId::growing(size).map(|(id, _)| id).chain(last_leaf(size).map(|(id, _)| id));
        let tiles = self.store.tiles(ids).await?;
        if let Some((id, place)) = last_leaf(size) {
            let leaf = *tiles.hashes(id).get(place).ok_or(MissingHash(id))?;
            let contradicts = |why| Error::Contradicts { position: size, why };
            let position = i64::try_from(size).unwrap_or(i64::MAX);
            let event = self.log.event_at(position).await?.ok_or(contradicts("the log ends before it"))?;
            if leaf_hash(event.line()) != leaf {
                return Err(contradicts("the record there is another one"));
            }
        }
        self.builder = Builder::resume(size, &tiles)?;
        if let Some(signer) = &mut self.signer {
            signer.compare_again(); // the server may be another one now, with an older copy
        }
        self.full.clear();
        (self.stored, self.written_at) = (size, None);
        Ok(size)
    }

    fn add(&mut self, page: &[Recorded]) -> Result<(), Error> {
        for event in page {
            if event.position.unsigned_abs() != self.builder.size() + 1 {
                return Err(Error::Overtaken(self.builder.size()));
            }
            self.full.extend(self.builder.push(leaf_hash(event.line())));
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        let waited = self.written_at.is_none_or(|at| at.elapsed() >= WRITE_EVERY);
        let grown = self.builder.size() > self.stored;
        let compare = self.signer.as_ref().is_some_and(|signer| !signer.has_compared());
        (waited && (grown || compare && self.stored > 0)) || self.full.len() >= FULL_TILES_MAX
    }

    /// Writes what is new, and the checkpoint of it.
    async fn write(&mut self) -> Result<(), Error> {
        let (size, root) = (self.builder.size(), self.builder.root());
        let published = match &self.signer {
            Some(signer) => Some(signer.published().await),
            None => None,
        };
        failpoint(Step::TreeBefore);
        let mut transaction = self.store.pool.begin().await?;
        store::lock(&mut transaction).await?;
        if store::size(&mut *transaction).await? != self.stored {
            return Err(Error::Overtaken(self.stored));
        }
        if size > self.stored {
            let tiles = self.full.iter().cloned().chain(self.builder.growing_tiles());
            store::write_tiles(&mut transaction, tiles).await?;
        }
        let signed = match (&mut self.signer, &published) {
            (Some(signer), Some(published)) => signer.sign(&mut transaction, published, size, root).await?,
            _ => None,
        };
        failpoint(Step::TreeWritten);
        transaction.commit().await?;
        failpoint(Step::TreeCommitted);
        (self.stored, self.written_at) = (size, Some(Instant::now()));
        self.full.clear();
        if let (Some(signer), Some(note)) = (&self.signer, signed) {
            signer.publish(size, note);
        }
        Ok(())
    }
}

/// Where the last leaf of a tree lies.
fn last_leaf(size: u64) -> Option<(TileId, usize)> {
    let index = size.checked_sub(1)?;
    let tile = TILE_HASHES as u64;
    let place = usize::try_from(index % tile).expect("below 256");
    Some((TileId { level: 0, index: index / tile }, place))
}

impl Sink for TreeProjector {
    /// So that what came within a second after the last write is written soon after that second.
    const IDLE: Duration = Duration::from_millis(1_100);

    fn name(&self) -> &'static str {
        "tree"
    }

    async fn checkpoint(&mut self) -> Result<i64, SinkError> {
        Ok(i64::try_from(self.resume().await?)?)
    }

    async fn apply(&mut self, page: &[Recorded]) -> Result<(), SinkError> {
        self.add(page)?;
        if self.is_due() {
            self.write().await?;
        }
        if page.len() < PAGE_EVENTS / 2 {
            sleep(PAGE_DELAY).await;
        }
        Ok(())
    }

    async fn idle(&mut self, _checkpoint: i64) -> Result<(), SinkError> {
        if self.is_due() {
            self.write().await?;
        }
        Ok(())
    }
}
