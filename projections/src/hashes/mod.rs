//! The Redis hashes: derived, may be lost at any moment, never written by walking history in place.
//!
//! Three ways lead into a hash, all through the same guarded script: the projector's pages, the copy
//! that follows a loss, and the reader that found nothing and read the transaction's own stream.

mod cached;
mod connection;
mod copy;
mod projector;
mod script;
mod stored;
mod trust;
mod written;

pub use projector::HashProjector;
pub use stored::{StoredHash, StoredHashes};

use crate::transaction::{self, TransactionHash};
use crate::{Error, TransactionView};
use cached::{CachedStatuses, Moment};
use connection::{Connection, nothing_if_of_another_type, read_checkpoint};
use domain::{Checkpoint, History, TransactionId};
use redis::{FromRedisValue, RedisResult, Value};
use script::{Guard, Hash};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use trust::Trust;
use written::Written;

/// The checkpoint of the hashes; without one of this log they are not to be trusted.
const CHECKPOINT: &str = "offers:checkpoint";

/// How long a request waits for Redis before it is served from PostgreSQL.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(250);

/// The hashes as requests see them. Cheap to clone; one for each process, because it remembers how far
/// it has seen the hashes come.
#[derive(Clone, Debug)]
pub struct RedisHashes {
    connection: Connection,
    ttl: Duration,
    trust: Arc<Trust>,
    written: Written,
    cached: Arc<CachedStatuses>,
}

impl RedisHashes {
    /// Connects when first needed, so an absent Redis is no error here. Final hashes expire after `ttl`.
    /// Hashes of another log than `history` are not served.
    ///
    /// # Errors
    /// `Redis` if `url` is not a Redis URL.
    pub fn open(url: &str, ttl: Duration, history: Arc<dyn History>) -> Result<Self, Error> {
        let cached = Arc::new(CachedStatuses::new());
        let connection = Connection::open_tracking(url, REQUEST_TIMEOUT, cached.clone())?;
        Ok(Self {
            connection,
            ttl,
            trust: Arc::new(Trust::new(history)),
            cached,
            written: Written::default(),
        })
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// `Redis` when it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        self.connection.ask(async |mut redis| redis::cmd("PING").exec_async(&mut redis).await).await
    }

    /// The version of Redis, if our user may see it.
    pub async fn server_version(&self) -> Option<String> {
        let ask = async |mut redis| redis::cmd("INFO").arg("server").query_async::<String>(&mut redis).await;
        let info = self.connection.ask(ask).await.ok()?;
        info.lines().find_map(|line| line.strip_prefix("redis_version:")).map(str::to_owned)
    }

    /// The hash of `id`; `None` if it must be read from the transaction's stream, because there is
    /// no whole hash, because Redis has lost data, or because its hashes are not of this log. A final one is read from
    /// memory, as long as Redis says nothing else.
    ///
    /// # Errors
    /// `Redis` when it does not answer within `REQUEST_TIMEOUT`: read the stream.
    pub async fn get(&self, id: TransactionId) -> Result<Option<Arc<TransactionHash>>, Error> {
        if self.trust.is_fresh()
            && let Some(hash) = self.cached.get(id)
        {
            return Ok(Some(hash));
        }
        let since = self.cached.now(id);
        let read = self.read(id, since).await.inspect_err(|_| self.cached.look_again());
        let Some((hash, is_tracked)) = read? else { return Ok(None) };
        let hash = Arc::new(hash);
        if is_tracked && hash.is_final() && hash.transaction_id() == id {
            self.cached.put(&hash, since);
        }
        Ok(Some(hash))
    }

    /// The hash as Redis has it, and whether Redis will say when it changes.
    async fn read(&self, id: TransactionId, since: Moment) -> Result<Option<(TransactionHash, bool)>, Error> {
        let mut is_tracked = self.connection.is_tracking();
        let asks = since.must_ask && is_tracked;
        let mut all = redis::pipe();
        all.ignore_errors();
        if asks {
            all.cmd("CLIENT").arg("TRACKING").arg("ON");
        }
        all.get(CHECKPOINT).hmget(transaction::key(id), &TransactionHash::FIELDS); // in this order: the hash is as far or further
        let answers: Vec<RedisResult<Value>> =
            self.connection.ask(async |mut redis| all.query_async(&mut redis).await).await?;
        let mut answers = answers.into_iter();
        if asks {
            match answers.next() {
                Some(Ok(_)) => self.cached.asked(since),
                Some(Err(refused)) => {
                    is_tracked = false;
                    self.connection.stop_tracking(&refused);
                }
                None => {}
            }
        }
        let checkpoint: Option<Vec<u8>> = value(answers.next())?;
        let found: Option<Vec<Option<String>>> = value(answers.next())?;
        let Some(checkpoint) = checkpoint.as_deref().and_then(read_checkpoint) else {
            self.cached.clear();
            return Ok(None);
        };
        if !self.trust.allows(checkpoint).await {
            match self.trust.is_fresh() {
                true => self.cached.look_again(), // two reads have overtaken each other, or Redis has lost data
                false => self.cached.clear(),     // it is of another log
            }
            return Ok(None);
        }
        let mut found = found.unwrap_or_default().into_iter();
        Ok(TransactionHash::read(|_| found.next().flatten()).map(|hash| (hash, is_tracked)))
    }

    /// The position up to which this process has written the hashes, as it moves; 0 while another process writes them,
    /// which must be asked for by `contain`.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<i64> {
        self.written.subscribe()
    }

    /// Whether a reader of a hash now sees everything up to `position`.
    ///
    /// # Errors
    /// `Redis` when it does not answer, and `Behind` when it is further back than it was: then nobody
    /// reads hashes, until it comes back.
    pub async fn contain(&self, position: i64) -> Result<bool, Error> {
        let checkpoint = self.position().await?;
        match checkpoint < self.trust.newest_served() {
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
    pub async fn keep_up_with(&self, views: &[&TransactionView]) -> Result<(), Error> {
        let Some(newest) = views.iter().map(|view| view.position).max() else { return Ok(()) };
        let kept_up = self.write_newer(views).await;
        if kept_up.is_err() {
            self.trust.served(newest);
        }
        kept_up
    }

    async fn write_newer(&self, views: &[&TransactionView]) -> Result<(), Error> {
        let checkpoint = self.position().await?;
        let newer = views.iter().filter(|view| view.position > checkpoint);
        let hashes: Vec<_> = newer.map(|view| Hash::transaction_row(view, self.ttl)).collect();
        if hashes.is_empty() {
            return Ok(());
        }
        let write = script::write(&Guard::none(CHECKPOINT), &hashes);
        self.connection.ask(async |mut redis| write.invoke_async::<i64>(&mut redis).await).await.map(|_| ())
    }

    async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        self.connection.checkpoint(CHECKPOINT).await
    }

    /// The position of the last event in the hashes; 0 without a checkpoint.
    async fn position(&self) -> Result<i64, Error> {
        Ok(self.checkpoint().await?.map_or(0, |checkpoint| checkpoint.position))
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
            self.trust.served(hash.position());
        }
        written.map(|_| ())
    }
}

/// One of several answers; nothing where a key holds a list or the like.
fn value<T: FromRedisValue + Default>(answer: Option<RedisResult<Value>>) -> Result<T, Error> {
    let answer = answer.unwrap_or(Ok(Value::Nil)).and_then(|value| Ok(redis::from_redis_value(value)?));
    Ok(nothing_if_of_another_type(answer)?)
}
