//! `demo.json`: what somebody who tries the system, or a test from outside, needs to know.
//!
//! It is there exactly while the service answers: written when /readyz does, removed at the stop.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::{At, Error};
use super::files::replace;
use super::stack::Analyst;

/// The demo data that was loaded. What is not there yet is left out of the file.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Members {
    /// People who can log in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<User>,
    /// A partner, its key and the secret of its callbacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<Partner>,
    /// The offers, cheapest first; the simulator rejects the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<Uuid>,
}

/// A demo user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// Its id, which is its account's too.
    pub id: Uuid,
    /// What it logs in with.
    pub username: String,
    /// Its password; no secret.
    pub password: String,
    /// What it may do.
    pub roles: Vec<String>,
}

/// The demo partner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Partner {
    /// Its id, which is its float account's too.
    pub id: Uuid,
    /// What it calls with: `Authorization: ApiKey <key>`.
    pub api_key: String,
    /// What its callbacks are signed with.
    pub webhook_secret: String,
}

/// The whole file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Demo {
    /// The service, without `/api/v1`.
    pub api_url: String,
    /// PostgreSQL, as the service's own role.
    pub database_url: String,
    /// PostgreSQL, as the role that owns the database.
    pub database_owner_url: String,
    /// Redis.
    pub redis_url: String,
    /// NATS, with the credentials of the service's account.
    pub nats_url: String,
    /// An analyst's door; not with a given NATS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analyst: Option<Analyst>,
    /// The activation system.
    pub external_url: String,
    /// The simulator's log of effects; not with a given activation system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulator_log: Option<PathBuf>,
    /// The demo data.
    #[serde(flatten)]
    pub members: Members,
}

impl Demo {
    fn path(dir: &Path) -> PathBuf {
        dir.join("demo.json")
    }

    /// What is written in `dir` now; `None` when nothing is ready there.
    pub fn read(dir: &Path) -> Option<Demo> {
        serde_json::from_slice(&fs::read(Demo::path(dir)).ok()?).ok()
    }

    /// Writes the file, whole or not at all.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).expect("strings and paths are always JSON");
        replace(&Demo::path(dir), &text, 0o600)
    }

    /// Removes the file: nothing is ready any more, or not yet.
    pub(super) fn remove(dir: &Path) -> Result<(), Error> {
        match fs::remove_file(Demo::path(dir)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at(Demo::path(dir)),
            _ => Ok(()),
        }
    }
}
