//! The projections on a real PostgreSQL and a real Redis.

mod check;
mod hashes;
mod history;
mod losses;
mod read_tables;
mod rebuild;

use crate::support::stack::{Corner, Stack};
use projections::{HashProjector, ReadCheckpoint, ReadTables, Readers, RedisHashes};
use redis::aio::MultiplexedConnection;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::time::Duration;

/// How long final hashes live here.
const TTL: Duration = Duration::from_secs(600);

/// One process's view of a database and a Redis database that no other test has.
struct Fixture {
    corner: Corner,
    pool: PgPool,
    tables: ReadTables,
    readers: Readers,
}

impl Fixture {
    async fn new() -> Self {
        Self::another(Stack::get().await.corner().await).await
    }

    /// One more process in the same corner.
    async fn another(corner: Corner) -> Self {
        let connect: PgConnectOptions = corner.database_url.parse().unwrap();
        let pool = PgPoolOptions::new().max_connections(4).connect_with(connect.clone()).await.unwrap();
        let checkpoint = ReadCheckpoint::new(pool.clone());
        let tables = ReadTables::live(&connect, checkpoint.clone());
        Self { corner, readers: Readers::new(pool.clone(), checkpoint), pool, tables }
    }

    fn hash_projector(&self) -> HashProjector {
        HashProjector::open(&self.corner.redis_url, self.readers.clone(), TTL).unwrap()
    }

    fn hashes(&self) -> RedisHashes {
        RedisHashes::open(&self.corner.redis_url, TTL).unwrap()
    }

    /// Redis as an outsider sees it.
    async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.corner.redis_url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}
