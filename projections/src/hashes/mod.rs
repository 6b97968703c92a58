//! The Redis hashes: derived, may be lost at any moment, never written by walking history in place.
//!
//! Three ways lead into a hash, all through the same guarded script: the projector's pages, the copy
//! that follows a loss, and the reader that found nothing and read the transaction's own stream.

mod connection;
mod copy;
mod projector;
mod script;

pub use projector::HashProjector;

use crate::transaction::{self, TransactionHash};
use crate::{Error, TransactionView};
use connection::Connection;
use domain::TransactionId;
use script::{Guard, Hash};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The position of the last event that is in the hashes; without it they are not to be trusted.
const CHECKPOINT: &str = "offers:checkpoint";

/// How long a request waits for Redis before it is served from PostgreSQL.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(250);

/// The hashes as requests see them. Cheap to clone; one for each process, because it remembers how far
/// it has seen the hashes come.
#[derive(Clone, Debug)]
pub struct RedisHashes {
    connection: Connection,
    ttl: Duration,
    /// This process has served statuses up to this position. If Redis is behind it, Redis has lost data,
    /// and its hashes would make a status go back.
    newest_served_position: Arc<AtomicI64>,
}

impl RedisHashes {
    /// Connects when first needed, so an absent Redis is no error here. Final hashes expire after `ttl`.
    ///
    /// # Errors
    /// `Redis` if `url` is not a Redis URL.
    pub fn open(url: &str, ttl: Duration) -> Result<Self, Error> {
        let connection = Connection::open(url, REQUEST_TIMEOUT)?;
        Ok(Self { connection, ttl, newest_served_position: Arc::default() })
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// `Redis` when it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        self.connection.ask(async |mut redis| redis::cmd("PING").exec_async(&mut redis).await).await
    }

    /// The hash of `id`; `None` if it must be read from the transaction's stream, because there is
    /// no hash or because Redis has lost data.
    ///
    /// # Errors
    /// `Redis` when it does not answer within `REQUEST_TIMEOUT`: read the stream.
    pub async fn get(&self, id: TransactionId) -> Result<Option<TransactionHash>, Error> {
        let mut both = redis::pipe();
        both.get(CHECKPOINT).hgetall(transaction::key(id)); // in this order: the hash is as far or further
        let (checkpoint, found): (Option<i64>, HashMap<String, String>) =
            self.connection.ask(async |mut redis| both.query_async(&mut redis).await).await?;
        let Some(checkpoint) = checkpoint else { return Ok(None) };
        let newest_served = self.newest_served_position.fetch_max(checkpoint, Ordering::Relaxed);
        Ok(if checkpoint < newest_served { None } else { TransactionHash::read(found) })
    }

    /// Whether a reader of a hash now sees everything up to `position`.
    ///
    /// # Errors
    /// `Redis` when it does not answer, and `Behind` when it is further back than it was: then nobody
    /// reads hashes, until it comes back.
    pub async fn contain(&self, position: i64) -> Result<bool, Error> {
        let checkpoint = self.checkpoint().await?;
        match checkpoint < self.newest_served_position.load(Ordering::Relaxed) {
            true => Err(Error::Behind { position, waited: Duration::ZERO }),
            false => Ok(checkpoint >= position),
        }
    }

    /// Sees to it that no hash is older than `views`, which somebody is about to be told: the read tables
    /// and the streams are ahead of Redis by moments, and a status must not go back when it is read here
    /// after there.
    ///
    /// # Errors
    /// `Redis`: then statuses are read from their streams until it has come as far.
    pub async fn keep_up_with(&self, views: &[TransactionView]) -> Result<(), Error> {
        let Some(newest) = views.iter().map(|view| view.position).max() else { return Ok(()) };
        let kept_up = self.write_newer(views).await;
        if kept_up.is_err() {
            self.newest_served_position.fetch_max(newest, Ordering::Relaxed);
        }
        kept_up
    }

    async fn write_newer(&self, views: &[TransactionView]) -> Result<(), Error> {
        let checkpoint = self.checkpoint().await?;
        let newer = views.iter().filter(|view| view.position > checkpoint);
        let hashes: Vec<_> = newer.map(|view| Hash::transaction_row(view, self.ttl)).collect();
        if hashes.is_empty() {
            return Ok(());
        }
        let write = script::write(&Guard::none(CHECKPOINT), &hashes);
        self.connection.ask(async |mut redis| write.invoke_async::<i64>(&mut redis).await).await.map(|_| ())
    }

    /// The position of the last event in the hashes; 0 without a checkpoint.
    async fn checkpoint(&self) -> Result<i64, Error> {
        let get = async |mut redis| redis::cmd("GET").arg(CHECKPOINT).query_async(&mut redis).await;
        Ok(self.connection.ask::<Option<i64>>(get).await?.unwrap_or(0))
    }

    /// Writes back what was read from the stream, whole, unless Redis knows something newer.
    ///
    /// # Errors
    /// `Redis`. Nothing is lost: the next reader reads the stream again.
    pub async fn write_back(&self, hash: &TransactionHash) -> Result<(), Error> {
        let whole = Hash::whole_transaction(hash, self.ttl);
        let write = script::write(&Guard::none(CHECKPOINT), &[whole]);
        let written =
            self.connection.ask(async |mut redis| write.invoke_async::<i64>(&mut redis).await).await;
        if written.is_err() {
            self.newest_served_position.fetch_max(hash.position(), Ordering::Relaxed);
        }
        written.map(|_| ())
    }

    /// Compares the hashes of `views` that are there with them: which are wrong, and how. One that is
    /// newer is not judged, nor one that Redis has not caught up with.
    pub(crate) async fn wrong(
        &self,
        views: &[TransactionView],
    ) -> Result<Vec<(TransactionId, &'static str)>, Error> {
        let mut all = redis::pipe();
        all.get(CHECKPOINT);
        for view in views {
            all.hgetall(transaction::key(view.transaction_id));
        }
        let mut answers: Vec<redis::Value> =
            self.connection.ask(async |mut redis| all.query_async(&mut redis).await).await?;
        let hashes = answers.split_off(1);
        let checkpoint: Option<i64> =
            redis::from_redis_value(answers.swap_remove(0)).map_err(redis::RedisError::from)?;
        let mut wrong = Vec::new();
        for (view, found) in views.iter().zip(hashes) {
            let found: HashMap<String, String> =
                redis::from_redis_value(found).map_err(redis::RedisError::from)?;
            if let Some(why) = misfit(view, found, checkpoint.unwrap_or(0)) {
                wrong.push((view.transaction_id, why));
            }
        }
        Ok(wrong)
    }
}

fn misfit(view: &TransactionView, found: HashMap<String, String>, checkpoint: i64) -> Option<&'static str> {
    if found.is_empty() {
        return None;
    }
    let Some(hash) = TransactionHash::read(found) else { return Some("is not a whole hash") };
    match hash.position().cmp(&view.position) {
        std::cmp::Ordering::Greater => None,
        std::cmp::Ordering::Equal if hash == TransactionHash::from(view) => None,
        std::cmp::Ordering::Equal => Some("is not as its events say"),
        std::cmp::Ordering::Less if checkpoint < view.position => None,
        std::cmp::Ordering::Less => Some("was passed over"),
    }
}
