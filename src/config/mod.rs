//! Configuration: environment variables `OFFERS_*` and the same as flags; `offers serve --help` is the
//! manual. A secret `X` may also be in a file, named by `X_FILE` (surrounding white space is ignored).
//!
//! Outside `./dev` secrets have no default, and demo secrets are refused.

mod callers;
mod cron;
mod currency;
mod development;
mod duration;
mod protection;
mod secret;
mod unknown;

pub use callers::{ApiAccess, PartnerSecrets, WitnessLogin};
pub use cron::CronExpression;
pub use currency::parse_currency;
pub use development::Development;
use duration::{DAY, lifetime_up_to};
pub use duration::{parse_duration, parse_lifetime};
pub use protection::{Bound, Network, Origin, Protection, Rate, RateLimit};
pub use secret::{Secret, SecretError};
pub use unknown::{UnknownVariable, refuse_unknown_variables};

use crate::telemetry::LogFormat;
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of the event stream: from room for some thousand transactions to the maximum of NATS.
const STREAM_BYTES: RangeInclusive<u64> = 10_000_000..=i64::MAX.cast_unsigned();

/// An access token is not looked up anywhere: a stolen one works until it expires.
const ACCESS_TOKEN_TTL_MAX: Duration = DAY;
/// A customer's money is not held for longer without a decision.
const ACTIVATION_DEADLINE_MAX: Duration = DAY.saturating_mul(30);
/// A user who was away for a year can log in again.
const REFRESH_TOKEN_TTL_MAX: Duration = DAY.saturating_mul(365);

/// The end of `offers serve --help`.
pub const AFTER_HELP: &str = "\
Secrets in files:
  Instead of a variable with a password or a key, set the same name with _FILE to the path of a file:
  OFFERS_DATABASE_URL_FILE, OFFERS_REDIS_URL_FILE, OFFERS_NATS_URL_FILE, OFFERS_NATS_ANALYTICS_URL_FILE,
  OFFERS_JWT_KEY_FILE, OFFERS_WEBHOOK_KEY_FILE, OFFERS_SMTP_URL_FILE, OFFERS_CHECKPOINT_KEY_FILE

Logs and traces:
  RUST_LOG                      Log levels, such as info,offers=debug
  OTEL_EXPORTER_OTLP_ENDPOINT   Where to send traces by OTLP (http/protobuf), such as http://127.0.0.1:4318.
                                Without it there are no traces. The other OTEL_… variables work too";

/// The work of an instance. Every role may run on many instances. Relay, projector and scheduler have one
/// active instance each; the others stand by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Answers HTTP requests.
    Api,
    /// Publishes the events to NATS.
    Relay,
    /// Writes the read tables and the Redis hashes.
    Projector,
    /// Calls the activation system, sends callbacks and mail.
    Processor,
    /// Announces and records the end of subscriptions.
    Scheduler,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// The settings of `offers serve`.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// The address for HTTP.
    #[arg(long, env = "OFFERS_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// A second address for /livez, /readyz and /metrics: for instances without the role `api`, and to keep
    /// /metrics off the public address.
    #[arg(long, env = "OFFERS_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
    /// The roles of this instance, separated by commas.
    #[arg(
        long,
        env = "OFFERS_ROLES",
        value_enum,
        value_delimiter = ',',
        default_value = "api,relay,projector,processor,scheduler"
    )]
    pub roles: Vec<Role>,
    /// The currency of this installation, as an ISO 4217 code.
    #[arg(long, env = "OFFERS_CURRENCY", default_value = "EUR", value_parser = parse_currency)]
    pub currency: String,
    #[command(flatten)]
    pub servers: Servers,
    #[command(flatten)]
    pub secrets: Secrets,
    #[command(flatten)]
    pub tokens: Tokens,
    #[command(flatten)]
    pub activation: ActivationSettings,
    #[command(flatten)]
    pub callbacks: Callbacks,
    #[command(flatten)]
    pub schedules: Schedules,
    #[command(flatten)]
    pub protection: Protection,
    #[command(flatten)]
    pub mail: Mail,
    /// How long Redis keeps the hash of a finished transaction. The next read restores it.
    #[arg(long, env = "OFFERS_STATUS_TTL", default_value = "7d", value_parser = parse_lifetime)]
    pub status_ttl: Duration,
    /// The format of logs.
    #[arg(long, env = "OFFERS_LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    #[command(flatten)]
    pub development: Development,
}

impl Serve {
    /// Without duplicates.
    #[must_use]
    pub fn roles(&self) -> BTreeSet<Role> {
        self.roles.iter().copied().collect()
    }
}

/// The database, for verbs that need nothing else.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Servers")]
pub struct Database {
    /// PostgreSQL, as the service's own role (not the one that owns the schema):
    /// `postgres://user:password@host:port/database`.
    #[arg(long, env = "OFFERS_DATABASE_URL", hide_env_values = true)]
    database_url: Option<Secret>,
    #[arg(long, env = "OFFERS_DATABASE_URL_FILE", hide = true)]
    database_url_file: Option<PathBuf>,
}

impl Database {
    /// Whether it is named at all.
    #[must_use]
    pub fn is_given(&self) -> bool {
        let url = self.database_url.as_ref().is_some_and(|url| !url.expose().is_empty());
        url || self.database_url_file.is_some()
    }

    /// # Errors
    /// Missing, or its file cannot be read.
    pub fn url(&self) -> Result<Secret, SecretError> {
        secret::required("OFFERS_DATABASE_URL", self.database_url.as_ref(), self.database_url_file.as_deref())
    }
}

/// Redis, for verbs that may look at it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Servers")]
pub struct Redis {
    /// Redis: `redis://:password@host:port/database`, or `rediss://…` over TLS, to a server whose certificate this
    /// machine trusts.
    #[arg(long, env = "OFFERS_REDIS_URL", hide_env_values = true)]
    redis_url: Option<Secret>,
    #[arg(long, env = "OFFERS_REDIS_URL_FILE", hide = true)]
    redis_url_file: Option<PathBuf>,
}

impl Redis {
    /// # Errors
    /// Missing, or its file cannot be read.
    pub fn url(&self) -> Result<Secret, SecretError> {
        secret::required("OFFERS_REDIS_URL", self.redis_url.as_ref(), self.redis_url_file.as_deref())
    }
}

/// The servers behind the service.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Servers")]
pub struct Servers {
    #[command(flatten)]
    database: Database,
    /// Connections for all but the log's writer and the projectors. Too few: requests wait. Too many: PostgreSQL becomes slow for all.
    #[arg(long, env = "OFFERS_DATABASE_CONNECTIONS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(4..=1000))]
    pub database_connections: u32,
    #[command(flatten)]
    redis: Redis,
    /// NATS with JetStream, as the service's account: `nats://user:password@host:port`.
    #[arg(long, env = "OFFERS_NATS_URL", hide_env_values = true)]
    nats_url: Option<Secret>,
    #[arg(long, env = "OFFERS_NATS_URL_FILE", hide = true)]
    nats_url_file: Option<PathBuf>,
    /// NATS as the administrator of the analysts' account. Without it there is no mirror for analysts.
    #[arg(long, env = "OFFERS_NATS_ANALYTICS_URL", hide_env_values = true)]
    nats_analytics_url: Option<Secret>,
    #[arg(long, env = "OFFERS_NATS_ANALYTICS_URL_FILE", hide = true)]
    nats_analytics_url_file: Option<PathBuf>,
    /// The JetStream stream of the events. The analysts' mirror has the same name. nats.conf contains the
    /// default.
    #[arg(long, env = "OFFERS_NATS_STREAM", default_value = "OFFERS_EVENTS", hide = true)]
    pub nats_stream: String,
    /// The prefix of the subjects of the events.
    #[arg(long, env = "OFFERS_NATS_SUBJECTS", default_value = "offers.events", hide = true)]
    pub nats_subjects: String,
    /// The size of the event stream on NATS, which keeps the newest events, in bytes. The analysts' mirror takes as
    /// much again.
    #[arg(long, env = "OFFERS_NATS_STREAM_BYTES", default_value_t = 1_500_000_000, value_parser = clap::value_parser!(u64).range(STREAM_BYTES))]
    pub nats_stream_bytes: u64,
    /// How many servers of a NATS cluster keep each stream: 3 of a cluster of three, so that one of them may be lost. Without it
    /// new streams are kept by one, and existing ones stay as they are.
    #[arg(long, env = "OFFERS_NATS_REPLICAS", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub nats_replicas: Option<u8>,
}

impl Servers {
    pub fn database_url(&self) -> Result<Secret, SecretError> {
        self.database.url()
    }

    pub fn redis_url(&self) -> Result<Secret, SecretError> {
        self.redis.url()
    }

    pub fn nats_url(&self) -> Result<Secret, SecretError> {
        secret::required("OFFERS_NATS_URL", self.nats_url.as_ref(), self.nats_url_file.as_deref())
    }

    pub fn nats_analytics_url(&self) -> Result<Option<Secret>, SecretError> {
        secret::optional(
            "OFFERS_NATS_ANALYTICS_URL",
            self.nats_analytics_url.as_ref(),
            self.nats_analytics_url_file.as_deref(),
        )
    }
}

/// Keys that sign tokens and derive secrets.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Secrets")]
pub struct Secrets {
    /// Signs access tokens and derives refresh tokens: 32 bytes or more. Several keys are separated by commas:
    /// the first signs, the others still verify.
    #[arg(long, env = "OFFERS_JWT_KEY", hide_env_values = true)]
    jwt_key: Option<Secret>,
    #[arg(long, env = "OFFERS_JWT_KEY_FILE", hide = true)]
    jwt_key_file: Option<PathBuf>,
    /// Derives the partners' webhook secrets: 32 bytes or more. If it is lost, all of them become invalid.
    #[arg(long, env = "OFFERS_WEBHOOK_KEY", hide_env_values = true)]
    webhook_key: Option<Secret>,
    #[arg(long, env = "OFFERS_WEBHOOK_KEY_FILE", hide = true)]
    webhook_key_file: Option<PathBuf>,
    /// Signs checkpoints of the log, which prove that history was not changed: what `offers key generate` has written. The
    /// role `projector` needs it; without it nothing is signed.
    #[arg(long, env = "OFFERS_CHECKPOINT_KEY", hide_env_values = true)]
    checkpoint_key: Option<Secret>,
    #[arg(long, env = "OFFERS_CHECKPOINT_KEY_FILE", hide = true)]
    checkpoint_key_file: Option<PathBuf>,
    /// Takes secrets that were made for demonstrations (they begin with `demo-`). `./dev` says so; an
    /// installation never should.
    #[arg(long, env = "OFFERS_ALLOW_DEMO_SECRETS", default_value_t = false)]
    allow_demo_secrets: bool,
}

impl Secrets {
    /// # Errors
    /// Missing, for demonstrations only, or its file cannot be read.
    pub fn jwt_key(&self) -> Result<Secret, SecretError> {
        let key = secret::required("OFFERS_JWT_KEY", self.jwt_key.as_ref(), self.jwt_key_file.as_deref())?;
        self.fit("OFFERS_JWT_KEY", key)
    }

    /// # Errors
    /// Missing, for demonstrations only, or its file cannot be read.
    pub fn webhook_key(&self) -> Result<Secret, SecretError> {
        let (given, file) = (self.webhook_key.as_ref(), self.webhook_key_file.as_deref());
        self.fit("OFFERS_WEBHOOK_KEY", secret::required("OFFERS_WEBHOOK_KEY", given, file)?)
    }

    /// `None` if nothing is to be signed.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn checkpoint_key(&self) -> Result<Option<Secret>, SecretError> {
        let (given, file) = (self.checkpoint_key.as_ref(), self.checkpoint_key_file.as_deref());
        secret::optional("OFFERS_CHECKPOINT_KEY", given, file)
    }

    fn fit(&self, name: &'static str, key: Secret) -> Result<Secret, SecretError> {
        match key.is_for_demonstrations() && !self.allow_demo_secrets {
            true => Err(SecretError::ForDemonstrations { name }),
            false => Ok(key),
        }
    }
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tokens")]
pub struct Tokens {
    /// The lifetime of an access token.
    #[arg(long, env = "OFFERS_ACCESS_TOKEN_TTL", default_value = "5m", value_parser = lifetime_up_to(ACCESS_TOKEN_TTL_MAX))]
    pub access_token_ttl: Duration,
    /// The lifetime of a refresh token.
    #[arg(long, env = "OFFERS_REFRESH_TOKEN_TTL", default_value = "7d", value_parser = lifetime_up_to(REFRESH_TOKEN_TTL_MAX))]
    pub refresh_token_ttl: Duration,
    /// Memory for hashing one password, in KiB (OWASP: 19,456). Less is for tests.
    #[arg(long, env = "OFFERS_PASSWORD_MEMORY_KIB", default_value_t = 19_456)]
    pub password_memory_kib: u32,
}

/// The activation system.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Activation")]
pub struct ActivationSettings {
    /// The URL of the activation system.
    #[arg(long, env = "OFFERS_EXTERNAL_URL")]
    pub external_url: Option<String>,
    /// The limit for one call, from connecting to the last byte.
    #[arg(long, env = "OFFERS_EXTERNAL_TIMEOUT", default_value = "10s", value_parser = parse_lifetime)]
    pub external_timeout: Duration,
    /// Concurrent calls of an instance.
    #[arg(long, env = "OFFERS_EXTERNAL_CALLS", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub external_calls: u16,
    /// When a purchase without a definite answer is cancelled at the activation system and refunded, from the request
    /// on. Without a confirmation it is not refunded, however long that takes.
    #[arg(long, env = "OFFERS_ACTIVATION_DEADLINE", default_value = "15m", value_parser = lifetime_up_to(ACTIVATION_DEADLINE_MAX))]
    pub activation_deadline: Duration,
    /// When the activation system is asked once more about a purchase that was cancelled, from its end on.
    #[arg(long, env = "OFFERS_CANCEL_RECHECK", default_value = "10m", value_parser = lifetime_up_to(ACTIVATION_DEADLINE_MAX))]
    pub cancel_recheck: Duration,
}

/// Callbacks to partners.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Callbacks")]
pub struct Callbacks {
    /// Allows callbacks to private, loopback and other special addresses. Then a partner can reach everything
    /// that this service can reach.
    #[arg(long, env = "OFFERS_CALLBACK_ALLOW_PRIVATE", default_value_t = false)]
    pub callback_allow_private: bool,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Schedules")]
pub struct Schedules {
    /// When to announce subscriptions that end within three days: a cron expression (minute, hour, day of the
    /// month, month, day of the week) in UTC. If it runs less often than daily, a short subscription may end
    /// without an announcement.
    #[arg(long, env = "OFFERS_EXPIRY_SCHEDULE", default_value = "0 8 * * *")]
    pub expiry_schedule: CronExpression,
}

/// Mail to users.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mail")]
pub struct Mail {
    /// The mail server: `smtps://user:password@host`, `smtp://…?tls=required` (STARTTLS), `smtp://host`
    /// (not encrypted, for a relay nearby) or `file:///directory` (one file for each message). Without it no
    /// mail is sent. With TLS, mail is sent only to a server with a certificate that this machine trusts (for
    /// your own authority set SSL_CERT_FILE).
    #[arg(long, env = "OFFERS_SMTP_URL", hide_env_values = true)]
    smtp_url: Option<Secret>,
    #[arg(long, env = "OFFERS_SMTP_URL_FILE", hide = true)]
    smtp_url_file: Option<PathBuf>,
    /// The sender of mail: `Offers <offers@example.com>`. Required with OFFERS_SMTP_URL, but not for files.
    #[arg(long = "mail-from", env = "OFFERS_MAIL_FROM")]
    pub from: Option<String>,
    /// Concurrent connections of an instance to the mail server. If the server allows fewer, it refuses some,
    /// and mail waits for the next attempt.
    #[arg(long = "mail-connections", env = "OFFERS_MAIL_CONNECTIONS", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub connections: u8,
    /// Mails a second of an instance. Too many: servers refuse them. Too few: announcements come late.
    #[arg(long = "mail-rate", env = "OFFERS_MAIL_RATE", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
}

impl Mail {
    /// `None` if no mail is sent.
    pub fn smtp_url(&self) -> Result<Option<Secret>, SecretError> {
        secret::optional("OFFERS_SMTP_URL", self.smtp_url.as_ref(), self.smtp_url_file.as_deref())
    }
}
