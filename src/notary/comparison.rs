//! Compares the stored tree, and the checkpoints that were signed, with a tree that is built from the log.

use super::{Error, StoredCheckpoint, TreeStore};
use crate::event_log::{EventLog, Span};
use crate::tree::{Builder, Tile, leaf_hash};
use std::fmt;

/// Full tiles that wait to be compared: 4 MiB.
const TILES_WAITING: usize = 512;
/// Checkpoints that are read at once.
const CHECKPOINTS: i64 = 1_000;
/// Differences that are described; the others are only counted.
const MAX_EXAMPLES: usize = 50;

/// A comparison under way.
#[derive(Debug, Default)]
pub struct TreeComparison {
    /// Records in the stored tree.
    pub size: u64,
    pub differences: u64,
    /// The first ones, a sentence each.
    pub examples: Vec<String>,
    tree: Builder,
    waiting: Vec<Tile>,
    /// The smallest of those that are not compared, last.
    checkpoints: Vec<StoredCheckpoint>,
    has_all_checkpoints: bool,
}

impl TreeStore {
    /// Builds the tree once more, as far as the stored one goes, and compares every tile and every checkpoint. `each` is
    /// told how many records were read. The service may be running.
    ///
    /// # Errors
    /// `Log`, `Database`.
    pub async fn compare(&self, log: &EventLog, mut each: impl FnMut(u64)) -> Result<TreeComparison, Error> {
        let newest = self.newest().await?;
        let mut found = TreeComparison { size: self.size().await?, ..TreeComparison::default() };
        if let Some(newest) = newest.filter(|newest| newest.size > found.size) {
            let (signed, size) = (newest.size, found.size);
            found.tell(format_args!("the newest checkpoint is of {signed} records, the tree has {size}"));
        }
        let mut scan = log.scan(Span { after: 0, up_to: i64::try_from(found.size).unwrap_or(i64::MAX) });
        while let Some(page) = scan.next().await {
            let page = page?;
            for event in &page {
                let full = found.tree.push(leaf_hash(event.line()));
                found.waiting.extend(full);
                found.compare_checkpoints(self).await?;
            }
            if found.waiting.len() >= TILES_WAITING {
                found.compare_tiles(self).await?;
            }
            each(page.len() as u64);
        }
        found.waiting.extend(found.tree.growing_tiles());
        found.compare_tiles(self).await?;
        found.end();
        Ok(found)
    }
}

impl TreeComparison {
    async fn compare_tiles(&mut self, store: &TreeStore) -> Result<(), Error> {
        let built = std::mem::take(&mut self.waiting);
        let stored = store.tiles(built.iter().map(|tile| tile.id)).await?;
        for Tile { id, hashes } in built {
            let (level, index) = (id.level, id.index);
            match stored.hashes(id) {
                [] => self.tell(format_args!("the tile {index} of level {level} is missing")),
                // The service may have added to it.
                stored if stored.starts_with(&hashes) => {}
                _ => self.tell(format_args!("the tile {index} of level {level} is not as the log says")),
            }
        }
        Ok(())
    }

    /// Compares those whose size the tree has now.
    async fn compare_checkpoints(&mut self, store: &TreeStore) -> Result<(), Error> {
        loop {
            if self.checkpoints.is_empty() && !self.has_all_checkpoints {
                // The page before may have ended between two checkpoints of one size, by two keys.
                let mut next = store.after(self.tree.size() - 1, CHECKPOINTS).await?;
                self.has_all_checkpoints = next.len() < usize::try_from(CHECKPOINTS).unwrap_or(usize::MAX);
                next.reverse();
                self.checkpoints = next;
            }
            match self.checkpoints.pop_if(|next| next.size <= self.tree.size()) {
                None => return Ok(()),
                Some(next) if next.size == self.tree.size() && next.root == self.tree.root() => {}
                Some(next) => {
                    let size = next.size;
                    self.tell(format_args!(
                        "the checkpoint of {size} records is of other records than the log's"
                    ));
                }
            }
        }
    }

    /// The log may have ended before the tree.
    fn end(&mut self) {
        let (records, size) = (self.tree.size(), self.size);
        if records < size {
            self.tell(format_args!("the log has {records} records, the tree {size}"));
        }
    }

    fn tell(&mut self, difference: fmt::Arguments<'_>) {
        self.differences += 1;
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(difference.to_string());
        }
    }
}
