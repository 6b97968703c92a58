//! What a stack is started with, and where its servers are.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The options of a stack.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; created if missing.
    pub dir: PathBuf,
    /// Committed data survives a power cut. Without it tests are several times faster.
    pub durable: bool,
    /// The directory is removed when the stack stops.
    pub ephemeral: bool,
    pub external: ExternalServers,
}

/// Servers that are not ours, used instead of private ones.
#[derive(Debug, Default, Clone)]
pub struct ExternalServers {
    /// PostgreSQL, as the service's role.
    pub database_url: Option<String>,
    /// The same, as the role that migrates; `database_url` if missing.
    pub database_owner_url: Option<String>,
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
    pub redis_url: String,
    /// NATS, the service's account. async-nats ignores credentials in a URL: take them out and pass them.
    pub nats_url: String,
    /// NATS, as the user that keeps the analysts' mirror; `None` for an external server without that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_analytics_url: Option<String>,
    /// The access of an analyst; `None` for an external server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analyst: Option<Analyst>,
}

/// The credentials of an analyst.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analyst {
    pub user: String,
    pub password: String,
    /// With the credentials.
    pub nats_url: String,
    /// The prefix of the JetStream API in the analysts' account.
    pub js_api_prefix: String,
}
