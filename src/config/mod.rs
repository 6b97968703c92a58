//! Configuration: environment variables `OFFERS_*` and the same as flags; `offers serve --help` is the
//! manual. A secret `X` may also be given as a file: `X_FILE` (without the white space around it).
//!
//! Outside `./dev` nothing secret has a default, and secrets made for demonstrations are refused.

mod cron;
mod currency;
mod duration;
mod protection;
mod secret;
mod unknown;

pub use cron::CronExpression;
pub use currency::parse_currency;
use duration::{DAY, lifetime_up_to};
pub use duration::{parse_duration, parse_lifetime};
pub use protection::{Network, Origin, Protection, Rate, RateLimit};
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

/// Bytes that an event stream may have: some thousand purchases, and what NATS can count.
const STREAM_BYTES: RangeInclusive<u64> = 10_000_000..=i64::MAX.cast_unsigned();

/// An access token is not looked up anywhere: until it ends, a stolen one works.
const ACCESS_TOKEN_TTL_MAX: Duration = DAY;
/// Somebody who has not been here for a year can log in again.
const REFRESH_TOKEN_TTL_MAX: Duration = DAY.saturating_mul(365);

/// What the manual says beside the flags.
pub const BESIDE_THE_FLAGS: &str = "\
Secrets in files:
  Instead of a variable that holds a password or a key, the one with _FILE behind its name may name a file:
  OFFERS_DATABASE_URL_FILE, OFFERS_REDIS_URL_FILE, OFFERS_NATS_URL_FILE, OFFERS_NATS_ANALYTICS_URL_FILE,
  OFFERS_JWT_KEY_FILE, OFFERS_WEBHOOK_KEY_FILE, OFFERS_SMTP_URL_FILE

Logs and traces:
  RUST_LOG                      What is logged, such as info,offers=debug
  OTEL_EXPORTER_OTLP_ENDPOINT   Where traces are sent by OTLP (http/protobuf), such as http://127.0.0.1:4318;
                                without it nowhere. OpenTelemetry's other OTEL_… variables hold too";

/// What an instance does. Each may run many times; relay, projector and scheduler have one active
/// instance each, the others stand by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Answers HTTP requests.
    Api,
    /// Publishes the log to NATS.
    Relay,
    /// Writes the read tables and the Redis hashes.
    Projector,
    /// Calls the activation system and drives what is unfinished.
    Processor,
    /// Runs what is due.
    Scheduler,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Everything `offers serve` can be told.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Where HTTP is served.
    #[arg(long, env = "OFFERS_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are served beside: for instances without the role `api`, and to
    /// keep /metrics off the public address.
    #[arg(long, env = "OFFERS_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
    /// What this instance does, separated by commas.
    #[arg(
        long,
        env = "OFFERS_ROLES",
        value_enum,
        value_delimiter = ',',
        default_value = "api,relay,projector,processor,scheduler"
    )]
    pub roles: Vec<Role>,
    /// One currency an installation, as an ISO 4217 code.
    #[arg(long, env = "OFFERS_CURRENCY", default_value = "EUR", value_parser = parse_currency)]
    pub currency: String,
    /// Where the servers are.
    #[command(flatten)]
    pub servers: Servers,
    /// What is signed and derived with.
    #[command(flatten)]
    pub secrets: Secrets,
    /// How long tokens live.
    #[command(flatten)]
    pub tokens: Tokens,
    /// How activations are driven.
    #[command(flatten)]
    pub activation: Activation,
    /// How partners are told.
    #[command(flatten)]
    pub callbacks: Callbacks,
    /// What runs when.
    #[command(flatten)]
    pub schedules: Schedules,
    /// What the HTTP edge defends itself with.
    #[command(flatten)]
    pub protection: Protection,
    /// How users are told.
    #[command(flatten)]
    pub mail: Mail,
    /// How long the Redis hash of a finished transaction is kept. It comes back on the next read.
    #[arg(long, env = "OFFERS_STATUS_TTL", default_value = "7d", value_parser = parse_lifetime)]
    pub status_ttl: Duration,
    /// How logs are written.
    #[arg(long, env = "OFFERS_LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
}

impl Serve {
    /// The roles, each once.
    #[must_use]
    pub fn roles(&self) -> BTreeSet<Role> {
        self.roles.iter().copied().collect()
    }
}

/// The servers behind the service.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Servers")]
pub struct Servers {
    /// PostgreSQL, as the service's own role (not the one that owns the schema):
    /// `postgres://user:password@host:port/database`.
    #[arg(long, env = "OFFERS_DATABASE_URL", hide_env_values = true)]
    database_url: Option<Secret>,
    #[arg(long, env = "OFFERS_DATABASE_URL_FILE", hide = true)]
    database_url_file: Option<PathBuf>,
    /// Connections for reading. Too few: requests wait; too many: PostgreSQL slows down for all.
    #[arg(long, env = "OFFERS_DATABASE_CONNECTIONS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(4..=1000))]
    pub database_connections: u32,
    /// Redis: `redis://:password@host:port/database`, or `rediss://…` over TLS, to a server whose certificate this
    /// machine trusts.
    #[arg(long, env = "OFFERS_REDIS_URL", hide_env_values = true)]
    redis_url: Option<Secret>,
    #[arg(long, env = "OFFERS_REDIS_URL_FILE", hide = true)]
    redis_url_file: Option<PathBuf>,
    /// NATS with JetStream, as the service's account: `nats://user:password@host:port`.
    #[arg(long, env = "OFFERS_NATS_URL", hide_env_values = true)]
    nats_url: Option<Secret>,
    #[arg(long, env = "OFFERS_NATS_URL_FILE", hide = true)]
    nats_url_file: Option<PathBuf>,
    /// NATS as the administrator of the analysts' account; without it there is no mirror for them.
    #[arg(long, env = "OFFERS_NATS_ANALYTICS_URL", hide_env_values = true)]
    nats_analytics_url: Option<Secret>,
    #[arg(long, env = "OFFERS_NATS_ANALYTICS_URL_FILE", hide = true)]
    nats_analytics_url_file: Option<PathBuf>,
    /// The JetStream stream of the events. The analysts' mirror has the same name; nats.conf names the
    /// default.
    #[arg(long, env = "OFFERS_NATS_STREAM", default_value = "OFFERS_EVENTS", hide = true)]
    pub nats_stream: String,
    /// What the subjects of the events begin with.
    #[arg(long, env = "OFFERS_NATS_SUBJECTS", default_value = "offers.events", hide = true)]
    pub nats_subjects: String,
    /// How many bytes of the newest events the stream on NATS keeps; the analysts' mirror takes as many again.
    #[arg(long, env = "OFFERS_NATS_STREAM_BYTES", default_value_t = 1_500_000_000, value_parser = clap::value_parser!(u64).range(STREAM_BYTES))]
    pub nats_stream_bytes: u64,
}

impl Servers {
    /// # Errors
    /// Missing, or its file cannot be read.
    pub fn database_url(&self) -> Result<Secret, SecretError> {
        secret::required("OFFERS_DATABASE_URL", self.database_url.as_ref(), self.database_url_file.as_deref())
    }

    /// # Errors
    /// Missing, or its file cannot be read.
    pub fn redis_url(&self) -> Result<Secret, SecretError> {
        secret::required("OFFERS_REDIS_URL", self.redis_url.as_ref(), self.redis_url_file.as_deref())
    }

    /// # Errors
    /// Missing, or its file cannot be read.
    pub fn nats_url(&self) -> Result<Secret, SecretError> {
        secret::required("OFFERS_NATS_URL", self.nats_url.as_ref(), self.nats_url_file.as_deref())
    }

    /// # Errors
    /// Its file cannot be read.
    pub fn nats_analytics_url(&self) -> Result<Option<Secret>, SecretError> {
        secret::optional(
            "OFFERS_NATS_ANALYTICS_URL",
            self.nats_analytics_url.as_ref(),
            self.nats_analytics_url_file.as_deref(),
        )
    }
}

/// What tokens are signed with and stored secrets are derived from.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Secrets")]
pub struct Secrets {
    /// Signs access tokens and makes refresh tokens: 32 bytes or more; several separated by commas, the
    /// first signs, the others still verify.
    #[arg(long, env = "OFFERS_JWT_KEY", hide_env_values = true)]
    jwt_key: Option<Secret>,
    #[arg(long, env = "OFFERS_JWT_KEY_FILE", hide = true)]
    jwt_key_file: Option<PathBuf>,
    /// Derives the partners' webhook secrets: 32 bytes or more. Losing it ends all of them.
    #[arg(long, env = "OFFERS_WEBHOOK_KEY", hide_env_values = true)]
    webhook_key: Option<Secret>,
    #[arg(long, env = "OFFERS_WEBHOOK_KEY_FILE", hide = true)]
    webhook_key_file: Option<PathBuf>,
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

    fn fit(&self, name: &'static str, key: Secret) -> Result<Secret, SecretError> {
        match key.is_for_demonstrations() && !self.allow_demo_secrets {
            true => Err(SecretError::ForDemonstrations { name }),
            false => Ok(key),
        }
    }
}

/// What callers hold.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tokens")]
pub struct Tokens {
    /// How long an access token lives.
    #[arg(long, env = "OFFERS_ACCESS_TOKEN_TTL", default_value = "5m", value_parser = lifetime_up_to(ACCESS_TOKEN_TTL_MAX))]
    pub access_token_ttl: Duration,
    /// How long a refresh token lives.
    #[arg(long, env = "OFFERS_REFRESH_TOKEN_TTL", default_value = "7d", value_parser = lifetime_up_to(REFRESH_TOKEN_TTL_MAX))]
    pub refresh_token_ttl: Duration,
    /// The memory that hashing one password takes, in KiB (OWASP: 19,456). Less is for tests.
    #[arg(long, env = "OFFERS_PASSWORD_MEMORY_KIB", default_value_t = 19_456)]
    pub password_memory_kib: u32,
}

/// The activation system and how it is driven.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Activation")]
pub struct Activation {
    /// The external activation system.
    #[arg(long, env = "OFFERS_EXTERNAL_URL")]
    pub external_url: Option<String>,
    /// How long one call may take, from connecting to the last byte.
    #[arg(long, env = "OFFERS_EXTERNAL_TIMEOUT", default_value = "10s", value_parser = parse_lifetime)]
    pub external_timeout: Duration,
    /// Calls under way at a time, an instance.
    #[arg(long, env = "OFFERS_EXTERNAL_CALLS", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub external_calls: u16,
}

/// How partners are told that a purchase is final.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Callbacks")]
pub struct Callbacks {
    /// Sends callbacks to private, loopback and other special addresses too. Then whoever registers a
    /// URL can reach everything that this service can.
    #[arg(long, env = "OFFERS_CALLBACK_ALLOW_PRIVATE", default_value_t = false)]
    pub callback_allow_private: bool,
}

/// What the scheduler runs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Schedules")]
pub struct Schedules {
    /// When owners are told that a subscription ends within three days: a cron expression (minute, hour,
    /// day of the month, month, day of the week) in UTC. Rarer than daily, and the end of a short
    /// subscription may come unannounced.
    #[arg(long, env = "OFFERS_EXPIRY_SCHEDULE", default_value = "0 8 * * *")]
    pub expiry_schedule: CronExpression,
}

/// How users are told what became of their purchases.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mail")]
pub struct Mail {
    /// Where mail goes: `smtps://user:password@host`, `smtp://…?tls=required` (STARTTLS), `smtp://host`
    /// (a relay nearby, nothing encrypted) or `file:///directory` (a file a message). Without it nothing
    /// is mailed. With TLS the server shows a certificate that this machine trusts (an authority of your
    /// own: SSL_CERT_FILE), or hears nothing.
    #[arg(long, env = "OFFERS_SMTP_URL", hide_env_values = true)]
    smtp_url: Option<Secret>,
    #[arg(long, env = "OFFERS_SMTP_URL_FILE", hide = true)]
    smtp_url_file: Option<PathBuf>,
    /// Who mail is from: `Offers <offers@example.com>`. Needed with OFFERS_SMTP_URL, but not for files.
    #[arg(long = "mail-from", env = "OFFERS_MAIL_FROM")]
    pub from: Option<String>,
    /// Connections to the mail server at a time, an instance. More than it allows, and mail waits for
    /// the pauses after its refusals.
    #[arg(long = "mail-connections", env = "OFFERS_MAIL_CONNECTIONS", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub connections: u8,
    /// Mails a second, an instance. Too many, and servers refuse them; too few, and mail to all whose
    /// subscription ends comes late.
    #[arg(long = "mail-rate", env = "OFFERS_MAIL_RATE", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
}

impl Mail {
    /// Where mail goes; `None`: nothing is mailed.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn smtp_url(&self) -> Result<Option<Secret>, SecretError> {
        secret::optional("OFFERS_SMTP_URL", self.smtp_url.as_ref(), self.smtp_url_file.as_deref())
    }
}
