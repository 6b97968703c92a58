//! One data directory: its lock, the ports and passwords kept in it, and the servers started from it.

use parking_lot::{Mutex, MutexGuard};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cleanup;
use super::error::{At, Error};
use super::files::{LockFile, Passwords, State};
use super::options::{Analyst, ExternalServers, Options, Urls};
use super::postgres::{self, Cluster, Durability};
use super::process::ProcessIdentity;
use super::reaper::Reaper;
use super::service::{Service, ServiceSpec};
use super::{nats, ports, redis};

/// Ports that are tried for a server before its failure is reported.
const PORT_TRIES: usize = 3;
/// How long the reaper of an earlier run may take to clean up.
const REAPER_PATIENCE: Duration = Duration::from_secs(60);

/// A data directory that only this process uses, with nothing left running on it.
#[derive(Debug)]
pub(super) struct DataDirLock {
    pub(super) dir: PathBuf,
    pub(super) reaper: Reaper,
    _file: LockFile,
}

impl DataDirLock {
    /// Locks the directory, ends what a killed run may have left there, and starts a reaper.
    pub(super) async fn take(options: &Options) -> Result<DataDirLock, Error> {
        fs::create_dir_all(&options.dir).at(&options.dir)?;
        let dir = fs::canonicalize(&options.dir).at(&options.dir)?;
        let mut file = LockFile::take(&dir, REAPER_PATIENCE).await?;
        file.write_owner(&dir, &ProcessIdentity::own())?;
        cleanup::clear(&dir, cleanup::Leftover::OfEarlierRun).await?;
        let reaper = Reaper::start(&dir, options.ephemeral)?;
        Ok(DataDirLock { dir, reaper, _file: file })
    }
}

/// A data directory whose servers are being started.
pub(super) struct DataDir<'a> {
    dir: &'a Path,
    options: &'a Options,
    passwords: Passwords,
    state: Mutex<State>,
}

impl<'a> DataDir<'a> {
    /// Reads the directory's ports and passwords, or creates them.
    pub(super) fn open(dir: &'a Path, options: &'a Options) -> Result<DataDir<'a>, Error> {
        let passwords = Passwords::load_or_create(dir)?;
        Ok(DataDir { dir, options, passwords, state: Mutex::new(State::load(dir)) })
    }

    /// Starts PostgreSQL, with its roles and database.
    pub(super) async fn postgres(&self) -> Result<Service, Error> {
        let durability = Durability { durable: self.options.durable, ephemeral: self.options.ephemeral };
        let cluster = {
            let mut state = self.state();
            let cluster = Cluster::locate(self.dir, &mut state)?;
            state.save(self.dir)?;
            cluster
        };
        cluster.create(&self.passwords, durability).await?;
        let spec = |port| cluster.spec(port, &self.passwords, durability);
        let service = self.start("postgres", spec).await?;
        postgres::set_up_roles(self.port("postgres"), &self.passwords).await?;
        Ok(service)
    }

    pub(super) async fn redis(&self) -> Result<Service, Error> {
        self.start("redis", |port| redis::spec(self.dir, port, &self.passwords)).await
    }

    pub(super) async fn nats(&self) -> Result<Service, Error> {
        let may_hang = !self.options.ephemeral; // tests stop it, and it must go on afterwards
        let spec =
            |port| nats::spec(self.dir, port, self.choose_port("nats_monitor")?, &self.passwords, may_hang);
        self.start("nats", spec).await
    }

    /// Starts a server on its port of last time, or on another if that is in use now.
    async fn start(
        &self,
        name: &'static str,
        spec: impl Fn(u16) -> Result<ServiceSpec, Error>,
    ) -> Result<Service, Error> {
        let mut tries_left = PORT_TRIES;
        loop {
            let port = self.choose_port(name)?;
            tries_left -= 1;
            match Service::start(spec(port)?, self.dir).await {
                Err(Error::Ended { .. }) if tries_left > 0 && !ports::is_free(port) => {}
                started => return started,
            }
        }
    }

    /// Chooses the port of `name` and saves it.
    fn choose_port(&self, name: &'static str) -> Result<u16, Error> {
        let mut state = self.state();
        let port = state.choose_port(name)?;
        state.save(self.dir)?;
        Ok(port)
    }

    fn port(&self, name: &str) -> u16 {
        self.state().ports.get(name).copied().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The URLs of the external servers, and of ours for the rest.
    pub(super) fn urls(&self) -> Urls {
        let (external, passwords) = (&self.options.external, &self.passwords);
        let (database_url, database_owner_url) = self.database_urls(external);
        let nats = |user: &str, password: &str| nats::url(user, password, self.port("nats"));
        let private = external.nats_url.is_none();
        Urls {
            database_owner_url,
            database_url,
            redis_url: external
                .redis_url
                .clone()
                .unwrap_or_else(|| redis::url(self.port("redis"), passwords)),
            nats_url: external.nats_url.clone().unwrap_or_else(|| nats("app", &passwords.nats_app)),
            nats_analytics_url: external
                .nats_analytics_url
                .clone()
                .or_else(|| private.then(|| nats("analytics_admin", &passwords.nats_analytics_admin))),
            analyst: private.then(|| Analyst {
                user: "analyst".to_owned(),
                password: passwords.nats_analyst.clone(),
                nats_url: nats("analyst", &passwords.nats_analyst),
                js_api_prefix: nats::READERS_API_PREFIX.to_owned(),
            }),
        }
    }

    fn database_urls(&self, external: &ExternalServers) -> (String, String) {
        if let Some(url) = &external.database_url {
            return (url.clone(), external.database_owner_url.clone().unwrap_or_else(|| url.clone()));
        }
        let port = self.port("postgres");
        let url = |role, password: &str| postgres::url(role, password, port, postgres::DATABASE);
        (url("offers_app", &self.passwords.offers_app), url("offers_owner", &self.passwords.offers_owner))
    }
}
