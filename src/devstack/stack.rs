//! The three servers together: external ones are used, the others are started.

use std::path::Path;

use super::data_dir::{DataDir, DataDirLock};
use super::error::Error;
use super::options::{Options, Urls};
use super::reaper;
use super::service::Service;

/// Running servers. Stop them with `stop`; if the process dies before, its reaper does.
#[derive(Debug)]
pub struct Stack {
    lock: DataDirLock,
    urls: Urls,
    ephemeral: bool,
    postgres: Option<Service>,
    redis: Option<Service>,
    nats: Option<Service>,
}

impl Stack {
    /// Starts the servers that are not external, after ending what a killed run may have left.
    ///
    /// Must be called by the `offers` binary itself: its executable is the reaper's too.
    pub async fn start(options: &Options) -> Result<Stack, Error> {
        Stack::start_on(DataDirLock::take(options).await?, options).await
    }

    /// The same on a directory that is locked already.
    pub(super) async fn start_on(lock: DataDirLock, options: &Options) -> Result<Stack, Error> {
        let data_dir = DataDir::open(&lock.dir, options)?;
        let external = &options.external;
        let (postgres, redis, nats) = tokio::try_join!(
            unless(external.database_url.is_some(), data_dir.postgres()),
            unless(external.redis_url.is_some(), data_dir.redis()),
            unless(external.nats_url.is_some(), data_dir.nats()),
        )?;
        let urls = data_dir.urls();
        Ok(Stack { lock, urls, ephemeral: options.ephemeral, postgres, redis, nats })
    }

    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// The data directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.lock.dir
    }

    /// Stops the servers in order: NATS, Redis, PostgreSQL. Their clients must have been stopped before.
    pub async fn stop(self) -> Result<(), Error> {
        for service in [self.nats, self.redis, self.postgres].into_iter().flatten() {
            service.stop().await;
        }
        self.lock.reaper.dismiss().await;
        if self.ephemeral { reaper::remove(&self.lock.dir) } else { Ok(()) }
    }
}

/// Starts a private server unless there is an external one.
async fn unless(
    is_external: bool,
    private: impl Future<Output = Result<Service, Error>>,
) -> Result<Option<Service>, Error> {
    if is_external { Ok(None) } else { private.await.map(Some) }
}
