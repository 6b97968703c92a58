//! Follows the log into the hashes, always behind the read tables: whoever sees a status in a hash
//! finds everything that belongs to it in the lists.

use super::connection::Connection;
use super::script::{self, Guard, Hash};
use super::written::Written;
use super::{CHECKPOINT, RedisHashes, copy};
use crate::Error;
use crate::history::contains;
use crate::page::Page;
use crate::readers::Readers;
use domain::{History, Recorded};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a page may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a page waits for the read tables to be as far.
const READ_TABLES_WAIT: Duration = Duration::from_secs(5);

/// The writer of the hashes. Any number of processes may try: the checkpoint lets one of them win each
/// page.
#[derive(Clone, Debug)]
pub struct HashProjector {
    connection: Connection,
    readers: Readers,
    history: Arc<dyn History>,
    ttl: Duration,
    written: Written,
}

impl HashProjector {
    /// Writes to the Redis at `url`, behind the read tables that `readers` sees. Final hashes expire
    /// after `ttl`.
    ///
    /// # Errors
    /// `Redis` if `url` is not a Redis URL.
    pub fn open(
        url: &str,
        readers: Readers,
        history: Arc<dyn History>,
        ttl: Duration,
    ) -> Result<Self, Error> {
        let connection = Connection::open(url, WRITE_TIMEOUT)?;
        Ok(Self { connection, readers, history, ttl, written: Written::default() })
    }

    /// Tells those who wait for `hashes` in this process how far it has written.
    #[must_use]
    pub fn telling(mut self, hashes: &RedisHashes) -> Self {
        self.written = hashes.written.clone();
        self
    }

    /// The position of the last event that is in the hashes. When Redis has no checkpoint, one that cannot be
    /// read, or one of another history, the hashes are thrown away and copied from the read tables first.
    ///
    /// # Errors
    /// `Redis`, `Database`, `History`; `Overtaken` when the copy was interrupted: ask again.
    pub async fn checkpoint(&self) -> Result<i64, Error> {
        let stored = self.connection.checkpoint(CHECKPOINT).await?;
        let read_tables = self.readers.checkpoint().read().await?;
        if let Some(at) = stored.filter(|at| at.position <= read_tables)
            && contains(&*self.history, at).await.map_err(Error::History)?
        {
            self.written.is_at(at.position);
            return Ok(at.position);
        }
        self.rebuild().await
    }

    /// Throws the hashes away and copies them from the read tables; gives the position at which they are then. Statuses
    /// are read from the log meanwhile.
    ///
    /// # Errors
    /// As `checkpoint`: the projector of a service that runs may copy them at the same time.
    pub async fn rebuild(&self) -> Result<i64, Error> {
        let position = copy::copy(&self.connection, &self.readers, &*self.history, self.ttl).await?;
        self.written.is_at(position);
        Ok(position)
    }

    /// Makes sure that the hashes still stand at `position`, for times when nothing happens.
    ///
    /// # Errors
    /// `Overtaken` when they do not (a flush, another projector): ask for the checkpoint. `Redis`.
    pub async fn still_at(&self, position: i64) -> Result<(), Error> {
        match self.connection.checkpoint(CHECKPOINT).await? {
            Some(stored) if stored.position == position => Ok(()),
            _ => Err(Error::Overtaken { expected: position }),
        }
    }

    /// Takes the page that starts right after the checkpoint, whole or not at all, once the read tables
    /// contain it.
    ///
    /// # Errors
    /// `Behind` when the read tables do not come that far in time; `Overtaken` when the checkpoint is
    /// elsewhere or gone, `Redis` when nothing is known of the outcome: ask for the checkpoint in either
    /// case. `Unreadable` and `Broken` when no try will ever succeed.
    pub async fn apply(&self, events: &[Recorded]) -> Result<(), Error> {
        let (Some(page), Some(last)) = (Page::fold(events)?, events.last()) else { return Ok(()) };
        self.readers.checkpoint().wait_for(page.last, Instant::now() + READ_TABLES_WAIT).await?;
        let from = page.first - 1;
        let transactions = page.transactions.iter().map(|change| Hash::transaction(change, self.ttl));
        let hashes: Vec<_> = transactions.chain(page.offers.iter().map(Hash::offer)).collect();
        let write = script::write(&Guard::moves(CHECKPOINT, from, last.checkpoint()), &hashes);
        match self.connection.ask(async |mut redis| write.invoke_async(&mut redis).await).await? {
            1 => {
                self.written.is_at(page.last);
                Ok(())
            }
            _ => Err(Error::Overtaken { expected: from }),
        }
    }
}

impl Drop for HashProjector {
    fn drop(&mut self) {
        self.written.stops();
    }
}
