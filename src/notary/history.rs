//! The log in the database as a history to verify, with the tree that was stored while it grew.

use super::{Error, TreeStore};
use crate::event_log::{EventLog, Scan, Span};
use crate::tree::Hash;
use crate::verify::{Batch, Report, Verifier, in_order};
use domain::Recorded;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Leaves that are read at once.
const LEAVES: usize = 4_096;

/// All records up to the head of the log as it was when it was opened.
pub struct LoggedHistory {
    scan: Scan,
    /// `None`: nothing is known of the stored tree.
    store: Option<TreeStore>,
    head: i64,
}

/// Events that follow one another, with the leaves that the stored tree has for them.
struct Page {
    events: Arc<Vec<Recorded>>,
    leaves: Vec<Hash>,
}

impl LoggedHistory {
    pub async fn open(log: &EventLog, store: Option<TreeStore>) -> Result<Self, Error> {
        let head = log.head().await?;
        // Also what stands before the first position: no event may.
        let scan = log.scan(Span { after: i64::MIN, up_to: head });
        Ok(Self { scan, store, head })
    }

    /// The position of the last record.
    #[must_use]
    pub fn head(&self) -> i64 {
        self.head
    }

    /// Verifies all records, on so many threads besides this one, up to the first that is wrong by itself. Gives the
    /// pages before it to `each`. Blocks; to be called within a runtime, where blocking is allowed.
    ///
    /// # Errors
    /// `Log`, `Database`: the log or the tree cannot be read.
    pub fn verify(
        mut self,
        mut verifier: Verifier,
        threads: usize,
        mut each: impl FnMut(Arc<Vec<Recorded>>),
    ) -> Result<Report, Error> {
        let runtime = Handle::current();
        let source = || runtime.block_on(self.next());
        let work = |page: Page| (Batch::of_events(&page.events), page);
        let take = |(batch, page): (Batch, Page)| {
            let flow = verifier.take(batch, &page.leaves);
            if flow.is_continue() {
                each(page.events);
            }
            flow
        };
        in_order(threads, source, work, take)?;
        runtime.block_on(self.read_missing(&mut verifier))?;
        Ok(verifier.finish())
    }

    /// The stored tree may go on where the log ends.
    async fn read_missing(&self, verifier: &mut Verifier) -> Result<(), Error> {
        let Some(store) = self.store.as_ref().filter(|_| verifier.missing() > 0) else { return Ok(()) };
        let mut after = verifier.next_position() - 1;
        loop {
            let leaves = store.leaves(after, LEAVES).await?;
            verifier.take_missing(&leaves);
            after += leaves.len() as u64;
            if leaves.len() < LEAVES {
                return Ok(());
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Page>, Error> {
        let Some(events) = self.scan.next().await.transpose()? else { return Ok(None) };
        let after = events.first().map_or(0, |first| first.position.saturating_sub(1).max(0));
        let leaves = match &self.store {
            Some(store) => store.leaves(after.unsigned_abs(), events.len()).await?,
            None => Vec::new(),
        };
        Ok(Some(Page { events: Arc::new(events), leaves }))
    }
}
