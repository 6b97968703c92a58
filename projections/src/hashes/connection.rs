//! A connection to Redis that fails fast: if Redis is absent, a request loses at most its timeout, and the
//! requests right after it lose nothing.

use super::cached::CachedStatuses;
use crate::Error;
use domain::Checkpoint;
use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo, RedisError, RedisResult};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// After a failure every question is refused for this long: a Redis that hangs must not slow down every request.
const FAILURE_PAUSE: Duration = Duration::from_millis(200);
/// Commands that may wait in the connection.
const QUEUE: usize = 1_024;

/// The codes of answers to what Redis does not know or this user may not do.
const REFUSED: [&str; 2] = ["ERR", "NOPERM"];

/// Reconnects by itself. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connection(Arc<Inner>);

struct Inner {
    timeout: Duration,
    cached: Option<Arc<CachedStatuses>>,
    state: Mutex<State>,
}

struct State {
    client: Client,
    config: ConnectionManagerConfig,
    manager: ConnectionManager,
    /// Whether Redis says what becomes of the keys that are read; if it is asked to.
    is_tracking: bool,
    paused_until: Option<Instant>,
}

impl Connection {
    /// Connects when first needed. Every answer must come within `limit`.
    pub(super) fn open(url: &str, limit: Duration) -> Result<Self, Error> {
        let state = State::open(Client::open(url)?, config(limit), false)?;
        Ok(Self(Arc::new(Inner { timeout: limit, cached: None, state: Mutex::new(state) })))
    }

    /// The same, for reads that may be remembered in `cached`: Redis can be asked to say what becomes of them.
    pub(super) fn open_tracking(
        url: &str,
        limit: Duration,
        cached: Arc<CachedStatuses>,
    ) -> Result<Self, Error> {
        let info = url.into_connection_info()?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let hears = cached.clone();
        let hear = move |said: PushInfo| {
            hears.hear(&said);
            Ok::<_, Infallible>(())
        };
        let config = config(limit).set_push_sender(hear);
        let state = State::open(Client::open(info.set_redis_settings(settings))?, config, true)?;
        Ok(Self(Arc::new(Inner { timeout: limit, cached: Some(cached), state: Mutex::new(state) })))
    }

    /// Whether `CLIENT TRACKING ON` is worth a try.
    pub(super) fn is_tracking(&self) -> bool {
        self.0.state.lock().is_tracking
    }

    /// Goes on without being told what becomes of keys, if Redis cannot do that or this user may not ask for it.
    pub(super) fn stop_tracking(&self, why: &RedisError) {
        if why.kind() != ErrorKind::RESP3NotSupported
            && !why.code().is_some_and(|code| REFUSED.contains(&code))
        {
            return; // it is busy
        }
        let mut state = self.0.state.lock();
        if !state.is_tracking {
            return;
        }
        tracing::warn!(error = %why, "Redis does not track keys (6.0 does): each status is read from it again");
        let info = state.client.get_connection_info();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let opened = Client::open(info.clone().set_redis_settings(settings));
        let opened = opened.map_err(Error::from);
        if let Ok(plain) = opened.and_then(|client| State::open(client, config(self.0.timeout), false)) {
            *state = plain;
        }
        drop(state);
        self.forget();
    }

    fn forget(&self) {
        if let Some(cached) = &self.0.cached {
            cached.clear();
        }
    }

    /// Asks `question`.
    pub(super) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(ConnectionManager) -> RedisResult<T>,
    ) -> Result<T, Error> {
        let manager = self.manager()?;
        match timeout(self.0.timeout, question(manager)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cause)) if cause.kind() == ErrorKind::RESP3NotSupported => {
                self.stop_tracking(&cause);
                Err(cause.into())
            }
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
        let mut state = self.0.state.lock();
        state.paused_until = Some(Instant::now() + FAILURE_PAUSE);
        let new = || ConnectionManager::new_lazy_with_config(state.client.clone(), state.config.clone());
        if is_silent && let Ok(manager) = new() {
            state.manager = manager;
            drop(state);
            self.forget(); // what the last one would have been told
        }
    }
}

impl State {
    fn open(client: Client, config: ConnectionManagerConfig, is_tracking: bool) -> Result<Self, Error> {
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())?;
        Ok(Self { client, config, manager, is_tracking, paused_until: None })
    }
}

fn config(limit: Duration) -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_number_of_retries(0) // the next command is the retry
        .set_connection_timeout(Some(limit))
        .set_response_timeout(Some(limit))
        .set_pipeline_buffer_size(QUEUE)
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
