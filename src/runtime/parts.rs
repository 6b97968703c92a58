//! What the roles share, opened from the configuration: connections, keys, clients.

use super::StartError;
use crate::app::{App, Dependencies};
use crate::backoff::Backoff;
use crate::bus::{self, Bus};
use crate::clock::Clock;
use crate::config::{Role, Secret, Serve};
use crate::event_log::{EventLog, WriterOptions};
use crate::external::{self, ActivationSystem};
use crate::identity::{Identity, Keyring, PasswordCost, Settings};
use crate::notary::Notary;
use crate::postgres::{connect_options, pool_options};
use crate::processors::callbacks::Callbacks;
use crate::processors::notifications::Mails;
use crate::processors::notifications::{self, Intake, Notifications};
use crate::processors::schedules::{ScheduleOverview, Scheduler};
use crate::processors::{ActivationLimits, ActivationProcessor, Announcer, Parked, Rechecks};
use crate::telemetry::chain;
use crate::tree::{InvalidKey, SigningKey};
use metrics_exporter_prometheus::PrometheusHandle;
use projections::{HashProjector, ReadCheckpoint, ReadTables, Readers, RedisHashes, TableProjector};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long a request waits for a connection to PostgreSQL before it is told that there is none.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection is kept. All are opened at the start, one after another, and none is closed while nobody asks: opening
/// one costs PostgreSQL 3 ms of CPU, and a burst that opens twenty at once waits twice as long.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long PostgreSQL may be absent at the start.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// Between tries to reach PostgreSQL at the start.
const START_RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
/// PostgreSQL's code while it starts, stops or recovers.
const CANNOT_CONNECT_NOW: &str = "57P03";
/// What bounds a statement of a reader on the server's side.
const READER_SETTINGS: [(&str, &str); 2] =
    [("statement_timeout", "8s"), ("idle_in_transaction_session_timeout", "8s")];

/// What the roles share, and how the work of each role is built from it. Nothing of it runs yet: `Service`
/// starts it, and a test steps it by hand.
pub struct Parts {
    pub app: Arc<App>,
    pub resources: Dependencies,
    pub pool: PgPool,
    pub(super) connect: PgConnectOptions,
    checkpoint: ReadCheckpoint,
    config: Serve,
}

impl Parts {
    /// Opens everything that `config` names. `stop` ends what waits for work, `end` the log's writer.
    ///
    /// # Errors
    /// As `Service::start`.
    pub async fn open(
        config: &Serve,
        clock: Clock,
        metrics: PrometheusHandle,
        stop: &CancellationToken,
        end: &CancellationToken,
    ) -> Result<Self, StartError> {
        let (identity_settings, bus_options) = (identity_settings(config)?, bus_options(config)?);
        let checkpoint_key = checkpoint_key(config)?;
        let connect = database(&config.servers.database_url()?)?;
        let pool = readers_pool(config.servers.database_connections)
            .connect_lazy_with(connect.clone().options(READER_SETTINGS));
        let writer = WriterOptions { clock: clock.clone(), ..WriterOptions::default() };
        let log = EventLog::open(pool.clone(), connect.clone(), writer, end);
        let redis_url = config.servers.redis_url()?;
        let history = Arc::new(log.clone());
        let hashes = RedisHashes::open(redis_url.expose(), config.status_ttl, history).map_err(|_| {
            let why = "it is not of the form redis://user:password@host:port/database (or rediss:// for TLS)"
                .to_owned();
            StartError::Setting { name: "OFFERS_REDIS_URL", why }
        })?;
        wait_for_database(&connect).await?;
        let checkpoint = ReadCheckpoint::new(pool.clone());
        ReadTables::live(&connect, checkpoint.clone()).discard_those_of_another_log(&log).await?;
        let readers = Readers::new(pool.clone(), checkpoint.clone());
        let identity = Arc::new(Identity::new(pool.clone(), &identity_settings)?);
        let bus = Bus::open(bus_options, stop).await?;
        let resources = Dependencies {
            notary: Notary::new(log.clone(), pool.clone(), bus.clone(), checkpoint_key),
            log,
            parked: Parked::new(pool.clone()),
            mails: Mails::new(pool.clone(), clock.clone()),
            schedules: ScheduleOverview::new(pool.clone(), clock.clone(), &config.schedules),
            callbacks: Callbacks::new(pool.clone(), identity.clone(), clock.clone()),
            identity,
            readers,
            hashes,
            bus,
            clock,
            currency: config.currency.clone(),
            metrics,
        };
        let app = Arc::new(App::new(&resources, &config.protection, stop));
        Ok(Self { app, resources, pool, connect, checkpoint, config: config.clone() })
    }

    /// The projector of the read tables.
    #[must_use]
    pub fn read_tables(&self) -> TableProjector {
        let log = Arc::new(self.resources.log.clone());
        TableProjector::new(&self.connect, self.checkpoint.clone(), log)
    }

    /// The projector of the status hashes.
    ///
    /// # Errors
    /// The URL of Redis cannot be used.
    pub fn hash_projector(&self) -> Result<HashProjector, StartError> {
        let url = self.config.servers.redis_url()?;
        let Dependencies { log, readers, hashes, .. } = self.resources.clone();
        let projector = HashProjector::open(url.expose(), readers, Arc::new(log), self.config.status_ttl)?;
        Ok(projector.telling(&hashes))
    }

    /// The scheduler of this process.
    #[must_use]
    pub fn scheduler(&self) -> Scheduler {
        let Dependencies { log, readers, clock, .. } = self.resources.clone();
        Scheduler::new(log, readers, self.pool.clone(), clock, &self.config.schedules)
    }

    /// Drives transactions through the activation system.
    ///
    /// # Errors
    /// The URL of the activation system is missing or cannot be used.
    pub fn activation_processor(&self) -> Result<ActivationProcessor, StartError> {
        let Dependencies { log, clock, .. } = self.resources.clone();
        let limits = ActivationLimits {
            calls: usize::from(self.config.activation.external_calls),
            deadline: self.config.activation.activation_deadline,
        };
        Ok(ActivationProcessor::new(log, activation_system(&self.config)?, clock, limits))
    }

    /// The purchases to look up once more.
    #[must_use]
    pub fn rechecks(&self) -> Rechecks {
        let Dependencies { parked, clock, .. } = self.resources.clone();
        Rechecks::new(self.pool.clone(), parked, clock, self.config.activation.cancel_recheck)
    }

    /// Queues callbacks and mail. `mail` is that of this process, if it sends any.
    #[must_use]
    pub fn announcer(&self, mail: Option<&Notifications>) -> Announcer {
        let Dependencies { log, readers, hashes, callbacks, clock, .. } = self.resources.clone();
        let mail = mail.map_or_else(|| Intake::new(clock), Notifications::intake);
        Announcer::new(log, self.pool.clone(), readers, callbacks.enqueuer(hashes), mail)
    }

    /// Mail to users. The first call on a log records where mail begins.
    ///
    /// # Errors
    /// PostgreSQL cannot record where mail begins.
    pub async fn notifications(
        &self,
        settings: notifications::Settings,
    ) -> Result<Notifications, StartError> {
        let Dependencies { log, readers, identity, clock, currency, .. } = self.resources.clone();
        let pool = self.pool.clone();
        let sources = notifications::Sources { log, readers, identity, pool, clock, currency };
        Ok(Notifications::open(sources, settings).await?)
    }
}

fn identity_settings(config: &Serve) -> Result<Settings, StartError> {
    let ring = |name, key: Secret| {
        Keyring::parse(key.inner()).map_err(|cause| StartError::Setting { name, why: cause.to_string() })
    };
    let tokens = ring("OFFERS_JWT_KEY", config.secrets.jwt_key()?)?;
    let webhooks = ring("OFFERS_WEBHOOK_KEY", config.secrets.webhook_key()?)?;
    if tokens.shares_a_key_with(&webhooks) {
        let why = "OFFERS_JWT_KEY has the same key in it; each needs one of its own".to_owned();
        return Err(StartError::Setting { name: "OFFERS_WEBHOOK_KEY", why });
    }
    let mut settings = Settings::new(tokens, webhooks);
    settings.access_lifetime = config.tokens.access_token_ttl;
    settings.refresh_lifetime = config.tokens.refresh_token_ttl;
    settings.password_cost =
        PasswordCost { memory_kib: config.tokens.password_memory_kib, ..PasswordCost::default() };
    Ok(settings)
}

fn checkpoint_key(config: &Serve) -> Result<Option<SigningKey>, StartError> {
    let Some(key) = config.secrets.checkpoint_key()? else { return Ok(None) };
    let wrong =
        |cause: InvalidKey| StartError::Setting { name: "OFFERS_CHECKPOINT_KEY", why: cause.to_string() };
    key.expose().parse().map(Some).map_err(wrong)
}

/// What of `config` is refused at the start, without asking a server.
pub(super) fn refusals(config: &Serve) -> Vec<StartError> {
    let redis = config.servers.redis_url();
    let mut refused = vec![
        identity_settings(config).err(),
        checkpoint_key(config).err(),
        config.servers.database_url().map_err(Into::into).and_then(|url| database(&url)).err(),
        redis.map(drop).map_err(Into::into).err(),
        bus_options(config).err(),
        notifications::Settings::read(&config.mail).err().map(Into::into),
    ];
    if config.roles().contains(&Role::Processor) {
        refused.push(activation_system(config).err());
    }
    refused.into_iter().flatten().collect()
}

pub(super) fn bus_options(config: &Serve) -> Result<bus::Options, StartError> {
    let readable = |name, url: Secret| match bus::check_urls(url.expose()) {
        Ok(()) => Ok(url.expose().to_owned()),
        Err(_) => {
            let why = "it is not of the form nats://user:password@host:port".to_owned();
            Err(StartError::Setting { name, why })
        }
    };
    let servers = &config.servers;
    let mut options = bus::Options::new(readable("OFFERS_NATS_URL", servers.nats_url()?)?);
    let analytics = servers.nats_analytics_url()?;
    options.analytics_url = analytics.map(|url| readable("OFFERS_NATS_ANALYTICS_URL", url)).transpose()?;
    options.stream.clone_from(&servers.nats_stream);
    options.subjects.clone_from(&servers.nats_subjects);
    options.stream_bytes = servers.nats_stream_bytes;
    options.replicas = servers.nats_replicas.map(usize::from);
    Ok(options)
}

pub(super) fn activation_system(config: &Serve) -> Result<ActivationSystem, StartError> {
    let wrong = |why: String| StartError::Setting { name: "OFFERS_EXTERNAL_URL", why };
    let url = config.activation.external_url.as_deref().ok_or_else(|| wrong("it is not set".to_owned()))?;
    let mut settings = external::Settings::new(url);
    settings.timeout = config.activation.external_timeout;
    settings.max_in_flight = usize::from(config.activation.external_calls);
    ActivationSystem::new(&settings).map_err(|cause| wrong(cause.to_string()))
}

fn readers_pool(connections: u32) -> PgPoolOptions {
    pool_options()
        .max_connections(connections)
        .min_connections(connections)
        .idle_timeout(None)
        .max_lifetime(LIFETIME)
        .acquire_timeout(ACQUIRE_TIMEOUT)
}

fn database(url: &Secret) -> Result<PgConnectOptions, StartError> {
    let options = connect_options(url.expose()).map_err(|_| StartError::Setting {
        name: "OFFERS_DATABASE_URL",
        why: "it is not of the form postgres://user:password@host:port/database".to_owned(),
    })?;
    Ok(options.application_name("offers"))
}

/// Refuses a database that does not answer, or whose schema is missing, at once: a pool would try for half a minute.
///
/// # Errors
/// `Setting` names the variable `name` if `url` is not a PostgreSQL URL; `Database` and `NotMigrated`.
pub async fn check_database(name: &'static str, url: &str) -> Result<(), StartError> {
    let why = "it is not of the form postgres://user:password@host:port/database".to_owned();
    let connect = connect_options(url).map_err(|_| StartError::Setting { name, why })?;
    check_connection(&connect).await
}

/// Waits until PostgreSQL answers: servers may be started in any order. What waiting does not mend is an error.
async fn wait_for_database(connect: &PgConnectOptions) -> Result<(), StartError> {
    let mut delays = START_RETRY.delays();
    loop {
        match check_connection(connect).await {
            Err(StartError::Database { url, cause }) if is_away(&cause) => {
                tracing::warn!(error = %chain(&cause), "PostgreSQL at {url} does not answer; trying again");
                sleep(delays.next_delay()).await;
            }
            checked => return checked,
        }
    }
}

/// Out of reach, or not ready yet.
fn is_away(cause: &sqlx::Error) -> bool {
    match cause {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(refusal) => refusal.code().is_some_and(|code| code == CANNOT_CONNECT_NOW),
        _ => false,
    }
}

async fn check_connection(connect: &PgConnectOptions) -> Result<(), StartError> {
    let url = || {
        let (user, host) = (connect.get_username(), connect.get_host());
        format!(
            "postgres://{user}@{host}:{}/{}",
            connect.get_port(),
            connect.get_database().unwrap_or_default()
        )
    };
    let migrated = async {
        let mut connection = PgConnection::connect_with(connect).await?;
        let migrated = sqlx::query_scalar("select to_regclass('accounts') is not null");
        migrated.fetch_one(&mut connection).await
    };
    let asked = tokio::time::timeout(START_TIMEOUT, migrated).await;
    match asked.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())) {
        Ok(true) => Ok(()),
        Ok(false) => Err(StartError::NotMigrated { url: url() }),
        Err(cause) => Err(StartError::Database { url: url(), cause }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_finds_its_connections_open() {
        let options = readers_pool(24);
        assert_eq!((options.get_min_connections(), options.get_idle_timeout()), (24, None));
    }
}
