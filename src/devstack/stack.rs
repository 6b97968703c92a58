//! The three servers together: what is given is used, the rest is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cleanup;
use super::data_dir::Site;
use super::error::{At, Error};
use super::files::Lock;
use super::process::Identity;
use super::reaper::{self, Guard};
use super::service::Service;

/// How long a guard may need to clean up before we give up waiting for it.
const GUARD_PATIENCE: Duration = Duration::from_secs(60);

/// What to start, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; created when missing.
    pub dir: PathBuf,
    /// Whether committed data survives a power cut. Off makes tests several times faster.
    pub durable: bool,
    /// Whether the directory is removed when the stack stops.
    pub ephemeral: bool,
    /// Servers that are there already.
    pub given: Given,
}

/// Servers that are used instead of private ones.
#[derive(Debug, Default, Clone)]
pub struct Given {
    /// PostgreSQL, as the service's role.
    pub database_url: Option<String>,
    /// The same, as the role that migrates; that of `database_url` when missing.
    pub database_owner_url: Option<String>,
    /// Redis.
    pub redis_url: Option<String>,
    /// NATS with JetStream, as the user of the service's account.
    pub nats_url: Option<String>,
    /// The same server, as the user that keeps the analysts' mirror.
    pub nats_analytics_url: Option<String>,
}

/// Where the servers are, credentials included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Urls {
    /// PostgreSQL, as the role that owns and migrates the database.
    pub database_owner_url: String,
    /// PostgreSQL, as the service's own role.
    pub database_url: String,
    /// Redis.
    pub redis_url: String,
    /// NATS, the service's account. async-nats ignores credentials in a URL: take them out and pass them.
    pub nats_url: String,
    /// NATS, as the user that keeps the analysts' mirror; none for a given server that has no such user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_analytics_url: Option<String>,
    /// An analyst's door; none for a given server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analyst: Option<Analyst>,
}

/// The credentials of an analyst.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analyst {
    /// The user's name.
    pub user: String,
    /// Its password.
    pub password: String,
    /// NATS, with these credentials.
    pub nats_url: String,
}

/// A data directory that is ours alone, with nothing left running on it.
#[derive(Debug)]
pub(super) struct Claim {
    dir: PathBuf,
    guard: Guard,
    _lock: Lock,
}

impl Claim {
    /// Takes the directory, ends what a killed run may have left there, and posts a guard.
    pub(super) async fn take(options: &Options) -> Result<Claim, Error> {
        fs::create_dir_all(&options.dir).at(&options.dir)?;
        let dir = fs::canonicalize(&options.dir).at(&options.dir)?;
        let mut lock = Lock::take(&dir, GUARD_PATIENCE).await?;
        lock.sign(&dir, &Identity::own())?;
        cleanup::clear(&dir).await?;
        let guard = Guard::start(&dir, options.ephemeral)?;
        Ok(Claim { dir, guard, _lock: lock })
    }
}

/// Running servers. Stop them with `stop`; when the process dies before, its guard does.
#[derive(Debug)]
pub struct Stack {
    claim: Claim,
    urls: Urls,
    ephemeral: bool,
    postgres: Option<Service>,
    redis: Option<Service>,
    nats: Option<Service>,
}

impl Stack {
    /// Starts what is not given, after ending what a killed run may have left.
    ///
    /// Must be called by the `offers` binary itself: its executable is the guard's too.
    ///
    /// # Errors
    /// When a program is missing, a server does not come up, or another process uses the directory.
    pub async fn start(options: &Options) -> Result<Stack, Error> {
        Stack::start_on(Claim::take(options).await?, options).await
    }

    /// The same on a directory that is ours already.
    pub(super) async fn start_on(claim: Claim, options: &Options) -> Result<Stack, Error> {
        let site = Site::open(&claim.dir, options)?;
        let given = &options.given;
        let (postgres, redis, nats) = tokio::try_join!(
            unless(given.database_url.is_some(), site.postgres()),
            unless(given.redis_url.is_some(), site.redis()),
            unless(given.nats_url.is_some(), site.nats()),
        )?;
        let urls = site.urls();
        Ok(Stack { claim, urls, ephemeral: options.ephemeral, postgres, redis, nats })
    }

    /// Where the servers are.
    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// The data directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.claim.dir
    }

    /// Stops the servers in order: NATS, Redis, PostgreSQL. Their clients must have been stopped before.
    ///
    /// # Errors
    /// When an ephemeral directory cannot be removed.
    pub async fn stop(self) -> Result<(), Error> {
        for service in [self.nats, self.redis, self.postgres].into_iter().flatten() {
            service.stop().await;
        }
        self.claim.guard.dismiss().await;
        if self.ephemeral { reaper::remove(&self.claim.dir) } else { Ok(()) }
    }
}

/// Starts a private server unless one is given.
async fn unless(
    given: bool,
    private: impl Future<Output = Result<Service, Error>>,
) -> Result<Option<Service>, Error> {
    if given { Ok(None) } else { private.await.map(Some) }
}
