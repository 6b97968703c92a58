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
pub(super) struct Connection(Arc<Inner>);

struct Inner {
    client: Client,
    config: ConnectionManagerConfig,
    timeout: Duration,
    state: Mutex<State>,
}

struct State {
    manager: ConnectionManager,
    paused_until: Option<Instant>,
}

impl Connection {
    /// Connects when first needed. Every answer must come within `limit`.
    pub(super) fn open(url: &str, limit: Duration) -> Result<Self, Error> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0) // the next command is the retry
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit))
            .set_pipeline_buffer_size(QUEUE);
        let client = Client::open(url)?;
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())?;
        let state = Mutex::new(State { manager, paused_until: None });
        Ok(Self(Arc::new(Inner { client, config, timeout: limit, state })))
    }

    /// Asks `question`.
    pub(super) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(ConnectionManager) -> RedisResult<T>,
    ) -> Result<T, Error> {
        let manager = self.manager()?;
        match timeout(self.0.timeout, question(manager)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cause)) => {
                self.pause(cause.is_timeout());
                Err(cause.into())
            }
            Err(_) => {
                self.pause(true);
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

    fn manager(&self) -> Result<ConnectionManager, Error> {
        let state = self.0.state.lock();
        match state.paused_until {
            Some(until) if Instant::now() < until => {
                Err(io_error(io::ErrorKind::NotConnected, "Redis failed a moment ago"))
            }
            _ => Ok(state.manager.clone()),
        }
    }

    /// After the pause the connection is a new one if the last one `is_silent`: it may be half open, and the manager
    /// keeps it until it breaks.
    fn pause(&self, is_silent: bool) {
        let Inner { client, config, state, .. } = &*self.0;
        let mut state = state.lock();
        state.paused_until = Some(Instant::now() + FAILURE_PAUSE);
        let new = || ConnectionManager::new_lazy_with_config(client.clone(), config.clone());
        if is_silent && let Ok(manager) = new() {
            state.manager = manager;
        }
    }
}

impl fmt::Debug for Connection {
    /// Without the URL, which may carry a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("timeout", &self.0.timeout).finish_non_exhaustive()
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
