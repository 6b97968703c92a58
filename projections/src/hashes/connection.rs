//! A connection to Redis that fails fast: if Redis is absent, a request loses at most its timeout, and the
//! requests right after it lose nothing.

use crate::Error;
use domain::Checkpoint;
use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, RedisResult};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// After a failure every question is refused for this long: a Redis that hangs must not slow down every request.
const FAILURE_PAUSE: Duration = Duration::from_millis(200);
/// Commands that may wait in the connection.
const QUEUE: usize = 1_024;

/// Reconnects by itself. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connection {
    manager: ConnectionManager,
    timeout: Duration,
    paused_until: Arc<Mutex<Option<Instant>>>,
}

impl Connection {
    /// Connects when first needed. Every answer must come within `limit`.
    pub(super) fn open(url: &str, limit: Duration) -> Result<Self, Error> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0) // the next command is the retry
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit))
            .set_pipeline_buffer_size(QUEUE);
        let manager = ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?;
        Ok(Self { manager, timeout: limit, paused_until: Arc::default() })
    }

    /// Asks `question`.
    pub(super) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(ConnectionManager) -> RedisResult<T>,
    ) -> Result<T, Error> {
        if self.is_paused() {
            return Err(io_error(io::ErrorKind::NotConnected, "Redis failed a moment ago"));
        }
        let answer = timeout(self.timeout, question(self.manager.clone())).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cause)) => {
                self.pause();
                Err(cause.into())
            }
            Err(_) => {
                self.pause();
                Err(io_error(io::ErrorKind::TimedOut, "Redis did not answer in time"))
            }
        }
    }

    /// The checkpoint at `key`; `None` if there is none, or something else.
    pub(super) async fn checkpoint(&self, key: &str) -> Result<Option<Checkpoint>, Error> {
        let get = async |mut redis| redis::cmd("GET").arg(key).query_async(&mut redis).await;
        let found: Option<Vec<u8>> =
            self.ask(async |redis| nothing_if_of_another_type(get(redis).await)).await?;
        Ok(found.as_deref().and_then(read_checkpoint))
    }

    fn is_paused(&self) -> bool {
        self.paused_until.lock().is_some_and(|until| Instant::now() < until)
    }

    fn pause(&self) {
        *self.paused_until.lock() = Some(Instant::now() + FAILURE_PAUSE);
    }
}

impl fmt::Debug for Connection {
    /// Without the URL, which may carry a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The checkpoint that is written as `text`.
pub(super) fn read_checkpoint(text: &[u8]) -> Option<Checkpoint> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Takes a key that holds a list or the like for one that holds nothing.
pub(super) fn nothing_if_of_another_type<T: Default>(answer: RedisResult<T>) -> RedisResult<T> {
    match answer {
        Err(cause) if is_of_another_type(&cause) => Ok(T::default()),
        answer => answer,
    }
}

fn is_of_another_type(cause: &RedisError) -> bool {
    let errors = cause.clone().into_server_errors();
    errors.is_some_and(|errors| errors.iter().all(|(_, error)| error.code() == "WRONGTYPE"))
}

fn io_error(kind: io::ErrorKind, why: &'static str) -> Error {
    Error::Redis(RedisError::from(io::Error::new(kind, why)))
}
