//! What the roles share, opened from the configuration: connections, keys, clients.

use super::StartError;
use crate::app::{App, Resources};
use crate::bus::{self, Bus};
use crate::clock::Clock;
use crate::config::{Secret, Serve};
use crate::event_log::{EventLog, WriterOptions};
use crate::identity::{Identity, Keyring, PasswordCost, Settings};
use crate::processors::Parked;
use crate::processors::callbacks::Callbacks;
use metrics_exporter_prometheus::PrometheusHandle;
use projections::{HashProjector, ReadCheckpoint, ReadTables, Readers, RedisHashes};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a request waits for a connection to PostgreSQL before it is told that there is none.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long PostgreSQL may be absent at the start.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// What bounds a statement of a reader on the server's side.
const READER_SETTINGS: [(&str, &str); 2] =
    [("statement_timeout", "8s"), ("idle_in_transaction_session_timeout", "8s")];

/// What the roles share.
pub(super) struct Parts {
    pub(super) app: Arc<App>,
    pub(super) resources: Resources,
    pub(super) pool: PgPool,
    pub(super) connect: PgConnectOptions,
    checkpoint: ReadCheckpoint,
}

impl Parts {
    pub(super) async fn open(
        config: &Serve,
        clock: Clock,
        metrics: PrometheusHandle,
        stop: &CancellationToken,
        end: &CancellationToken,
    ) -> Result<Self, StartError> {
        let (identity_settings, bus_options) = (identity_settings(config)?, bus_options(config)?);
        let redis_url = config.servers.redis_url()?;
        let hashes = RedisHashes::open(redis_url.expose(), config.status_ttl).map_err(|_| {
            let why = "it is not of the form redis://user:password@host:port/database".to_owned();
            StartError::Setting { name: "OFFERS_REDIS_URL", why }
        })?;
        let connect = database(&config.servers.database_url()?)?;
        let pool = PgPoolOptions::new()
            .max_connections(config.servers.database_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(connect.clone().options(READER_SETTINGS));
        check_database(&connect).await?;
        let checkpoint = ReadCheckpoint::new(pool.clone());
        let readers = Readers::new(pool.clone(), checkpoint.clone());
        let writer = WriterOptions { clock: clock.clone(), ..WriterOptions::default() };
        let identity = Arc::new(Identity::new(pool.clone(), &identity_settings)?);
        let log = EventLog::open(pool.clone(), connect.clone(), writer, end);
        let resources = Resources {
            log,
            parked: Parked::new(pool.clone()),
            callbacks: Callbacks::new(pool.clone(), identity.clone(), clock.clone()),
            identity,
            readers,
            hashes,
            bus: Bus::open(bus_options, stop).await?,
            clock,
            currency: config.currency.clone(),
            metrics,
        };
        Ok(Self { app: Arc::new(App::new(&resources, stop)), resources, pool, connect, checkpoint })
    }

    pub(super) fn read_tables(&self) -> ReadTables {
        ReadTables::live(&self.connect, self.checkpoint.clone())
    }

    pub(super) fn hash_projector(&self, config: &Serve) -> Result<HashProjector, StartError> {
        let url = config.servers.redis_url()?;
        Ok(HashProjector::open(url.expose(), self.resources.readers.clone(), config.status_ttl)?)
    }
}

fn identity_settings(config: &Serve) -> Result<Settings, StartError> {
    let ring = |name, key: Secret| {
        Keyring::parse(key.inner()).map_err(|cause| StartError::Setting { name, why: cause.to_string() })
    };
    let tokens = ring("OFFERS_JWT_KEY", config.secrets.jwt_key()?)?;
    let webhooks = ring("OFFERS_WEBHOOK_KEY", config.secrets.webhook_key()?)?;
    let mut settings = Settings::new(tokens, webhooks);
    settings.access_lifetime = config.tokens.access_token_ttl;
    settings.refresh_lifetime = config.tokens.refresh_token_ttl;
    settings.password_cost =
        PasswordCost { memory_kib: config.tokens.password_memory_kib, ..PasswordCost::default() };
    Ok(settings)
}

fn bus_options(config: &Serve) -> Result<bus::Options, StartError> {
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
    Ok(options)
}

fn database(url: &Secret) -> Result<PgConnectOptions, StartError> {
    let options: PgConnectOptions = url.expose().parse().map_err(|_| StartError::Setting {
        name: "OFFERS_DATABASE_URL",
        why: "it is not of the form postgres://user:password@host:port/database".to_owned(),
    })?;
    Ok(options.application_name("offers").disable_statement_logging())
}

/// PostgreSQL answers, and the schema is there.
/// Asked on a connection of its own: a pool would only say that it waited in vain.
async fn check_database(connect: &PgConnectOptions) -> Result<(), StartError> {
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
