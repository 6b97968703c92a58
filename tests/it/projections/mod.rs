//! The projections on a real PostgreSQL and a real Redis.

mod cached;
mod check;
mod hashes;
mod healing;
mod history;
mod losses;
mod read_tables;
mod rebuild;
mod replay;
mod statement;

use crate::support::stack::{Sandbox, Stack};
use history::EndlessLog;
use projections::{HashProjector, ReadCheckpoint, ReadTables, Readers, RedisHashes};
use redis::aio::MultiplexedConnection;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::sync::Arc;
use std::time::Duration;

/// How long final hashes live here.
const TTL: Duration = Duration::from_secs(600);

/// One process's view of a database and a Redis database that no other test has.
struct Fixture {
    sandbox: Sandbox,
    pool: PgPool,
    tables: ReadTables,
    readers: Readers,
    /// Which checkpoints are right.
    log: Arc<dyn domain::History>,
}

impl Fixture {
    async fn new() -> Self {
        Self::another(Stack::get().await.sandbox().await).await
    }

    /// One more process in the same sandbox.
    async fn another(sandbox: Sandbox) -> Self {
        let connect: PgConnectOptions = sandbox.database_url.parse().unwrap();
        let pool = PgPoolOptions::new().max_connections(4).connect_with(connect.clone()).await.unwrap();
        let checkpoint = ReadCheckpoint::new(pool.clone());
        let tables = ReadTables::live(&connect, checkpoint.clone());
        Self {
            sandbox,
            readers: Readers::new(pool.clone(), checkpoint),
            pool,
            tables,
            log: Arc::new(EndlessLog),
        }
    }

    fn hash_projector(&self) -> HashProjector {
        HashProjector::open(&self.sandbox.redis_url, self.readers.clone(), self.log.clone(), TTL).unwrap()
    }

    fn hashes(&self) -> RedisHashes {
        RedisHashes::open(&self.sandbox.redis_url, TTL, self.log.clone()).unwrap()
    }

    /// Redis as an outsider sees it.
    async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.sandbox.redis_url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}
