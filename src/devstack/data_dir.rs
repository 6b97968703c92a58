//! One data directory with what is remembered in it, and the servers that are started from it.

use parking_lot::{Mutex, MutexGuard};
use std::path::Path;

use super::error::Error;
use super::files::{Passwords, State};
use super::postgres::{self, Care, Cluster};
use super::service::{Recipe, Service};
use super::stack::{Analyst, Given, Options, Urls};
use super::{nats, ports, redis};

/// How many ports are tried for a server before its failure is taken for something else.
const PORT_TRIES: usize = 3;

/// A data directory that is being started.
pub(super) struct Site<'a> {
    dir: &'a Path,
    options: &'a Options,
    passwords: Passwords,
    state: Mutex<State>,
}

impl<'a> Site<'a> {
    /// Reads what the directory remembers, or begins it.
    pub(super) fn open(dir: &'a Path, options: &'a Options) -> Result<Site<'a>, Error> {
        let passwords = Passwords::load_or_make(dir)?;
        Ok(Site { dir, options, passwords, state: Mutex::new(State::load(dir)) })
    }

    /// PostgreSQL, with its roles and database.
    pub(super) async fn postgres(&self) -> Result<Service, Error> {
        let care = Care { durable: self.options.durable, ephemeral: self.options.ephemeral };
        let cluster = {
            let mut state = self.state();
            let cluster = Cluster::locate(self.dir, &mut state)?;
            state.save(self.dir)?;
            cluster
        };
        cluster.create(&self.passwords, care).await?;
        let recipe = |port| cluster.recipe(port, &self.passwords, care);
        let service = self.start("postgres", recipe).await?;
        postgres::set_up_roles(self.port("postgres"), &self.passwords).await?;
        Ok(service)
    }

    /// Redis.
    pub(super) async fn redis(&self) -> Result<Service, Error> {
        self.start("redis", |port| redis::recipe(self.dir, port, &self.passwords)).await
    }

    /// nats-server.
    pub(super) async fn nats(&self) -> Result<Service, Error> {
        let recipe = |port| nats::recipe(self.dir, port, self.draw("nats_monitor")?, &self.passwords);
        self.start("nats", recipe).await
    }

    /// Starts a server on its port of last time, or on another when somebody has that now.
    async fn start(
        &self,
        name: &'static str,
        recipe: impl Fn(u16) -> Result<Recipe, Error>,
    ) -> Result<Service, Error> {
        let mut tries_left = PORT_TRIES;
        loop {
            let port = self.draw(name)?;
            tries_left -= 1;
            match Service::start(recipe(port)?, self.dir).await {
                Err(Error::Ended { .. }) if tries_left > 0 && !ports::is_free(port) => {}
                started => return started,
            }
        }
    }

    /// Chooses the port of `name` and remembers it.
    fn draw(&self, name: &'static str) -> Result<u16, Error> {
        let mut state = self.state();
        let port = state.draw(name)?;
        state.save(self.dir)?;
        Ok(port)
    }

    fn port(&self, name: &str) -> u16 {
        self.state().ports.get(name).copied().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Where everything is: the given servers, and ours for the rest.
    pub(super) fn urls(&self) -> Urls {
        let (given, passwords) = (&self.options.given, &self.passwords);
        let (database_url, database_owner_url) = self.database_urls(given);
        let nats = |user: &str, password: &str| nats::url(user, password, self.port("nats"));
        let private = given.nats_url.is_none();
        Urls {
            database_owner_url,
            database_url,
            redis_url: given.redis_url.clone().unwrap_or_else(|| redis::url(self.port("redis"), passwords)),
            nats_url: given.nats_url.clone().unwrap_or_else(|| nats("app", &passwords.nats_app)),
            nats_analytics_url: given
                .nats_analytics_url
                .clone()
                .or_else(|| private.then(|| nats("analytics_admin", &passwords.nats_analytics_admin))),
            analyst: private.then(|| Analyst {
                user: "analyst".to_owned(),
                password: passwords.nats_analyst.clone(),
                nats_url: nats("analyst", &passwords.nats_analyst),
            }),
        }
    }

    fn database_urls(&self, given: &Given) -> (String, String) {
        if let Some(url) = &given.database_url {
            return (url.clone(), given.database_owner_url.clone().unwrap_or_else(|| url.clone()));
        }
        let port = self.port("postgres");
        let url = |role, password: &str| postgres::url(role, password, port, postgres::DATABASE);
        (url("offers_app", &self.passwords.offers_app), url("offers_owner", &self.passwords.offers_owner))
    }
}
