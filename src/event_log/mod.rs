//! The event log: the only writer and reader of the table `events`, and the keeper of balances.
//!
//! Commands become events in one gapless, totally ordered log; everything else is derived from it.
//! - `judge` decides, purely, which of a batch of commits are accepted;
//! - `writer` puts them into one short SQL transaction (group commit);
//! - `executor` turns a plan (commands to aggregates) into one commit; `state_cache` spares it the streams;
//! - `search` finds what an auditor filters by, `scan` reads all of it, and `fill` fills an empty log for demonstrations;
//! - `read` and `feed` give history back, page by page, and stop at the first hole; `recent` spares
//!   followers the table for what this process has just appended.
//!
//! **Architecture Invariant:** positions are 1, 2, 3 … without gaps, so a reader in that order
//! sees every event once. Only this room names the table.

mod accounts;
mod commit;
mod error;
mod executor;
mod feed;
mod fill;
mod judge;
mod leadership;
mod plan;
mod read;
mod recent;
mod scan;
mod search;
mod state_cache;
mod writer;

pub use accounts::Balance;
pub use commit::{Commit, Committed, MAX_COMMIT_EVENTS, NewEvent, StreamId, StreamWrite};
pub use error::{AppendError, ExecuteError, LogError, Rejection};
pub use executor::{Loaded, Outcome};
pub use feed::{Feed, Sink, SinkError, follow};
pub use fill::{Fill, FillError};
pub use leadership::{Leadership, Role};
pub use plan::{AggregateCommand, Plan};
pub use read::PAGE_EVENTS;
pub use scan::Scan;
pub use search::{At, Filter, Span};
pub use state_cache::{Cached, State};
pub use writer::WriterOptions;

use feed::{Followers, Wake};
use recent::Recent;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use state_cache::StateCache;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use writer::Writer;

/// Connections of a command-line tool: one reads, one listens.
const TOOL_CONNECTIONS: u32 = 2;

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct EventLog(Arc<Inner>);

struct Inner {
    pool: PgPool,
    writer: Writer,
    wake: Wake,
    recent: Arc<Recent>,
    states: Arc<StateCache>,
    followers: Followers,
}

impl EventLog {
    /// Opens the log: `pool` reads, a connection of its own made from `connect` writes. Connects when
    /// first needed, so an absent database is no error here. Its tasks end with `stop`.
    #[must_use]
    pub fn open(
        pool: PgPool,
        connect: PgConnectOptions,
        options: WriterOptions,
        stop: &CancellationToken,
    ) -> Self {
        let (recent, states) = (Arc::<Recent>::default(), Arc::new(StateCache::new()));
        let lost = {
            let (recent, states) = (recent.clone(), states.clone());
            // A server that took over may not have what the lost one had.
            move || {
                recent.forget();
                states.clear();
            }
        };
        let wake = Wake::start(pool.clone(), lost, stop.clone());
        let writer = Writer::start(connect, options, recent.clone(), wake.clone(), stop.clone());
        Self(Arc::new(Inner { pool, writer, wake, recent, states, followers: Followers::default() }))
    }

    /// Opens the log at `url` for a tool that reads it, on few connections; ends with `stop`.
    ///
    /// # Errors
    /// `Unavailable` if `url` is not a PostgreSQL URL.
    pub fn at(url: &str, stop: &CancellationToken) -> Result<Self, LogError> {
        let connect = crate::postgres::connect_options(url)?;
        let pool = PgPoolOptions::new().max_connections(TOOL_CONNECTIONS).connect_lazy_with(connect.clone());
        Ok(Self::open(pool, connect, WriterOptions::default(), stop))
    }
}
