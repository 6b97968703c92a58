//! `demo.json`: the URLs, logins and keys of a running installation, for people and for tests from outside.
//!
//! It exists exactly while the service answers: written when /readyz does, removed at the stop.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::demo_data::Members;
use super::error::{At, Error};
use super::files::replace;
use super::options::Analyst;

/// The content of `demo.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Demo {
    /// The service, without `/api/v1`.
    pub api_url: String,
    /// PostgreSQL, as the service's own role.
    pub database_url: String,
    /// PostgreSQL, as the role that owns the database.
    pub database_owner_url: String,
    pub redis_url: String,
    /// NATS, with the credentials of the service's account.
    pub nats_url: String,
    /// The access of an analyst; not with an external NATS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analyst: Option<Analyst>,
    pub external_url: String,
    /// The simulator's log of effects; not with an external activation system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulator_log: Option<PathBuf>,
    #[serde(flatten)]
    pub members: Members,
}

impl Demo {
    fn path(dir: &Path) -> PathBuf {
        dir.join("demo.json")
    }

    /// Reads the file in `dir`; `None` if nothing is ready there.
    #[must_use]
    pub fn read(dir: &Path) -> Option<Demo> {
        serde_json::from_slice(&fs::read(Demo::path(dir)).ok()?).ok()
    }

    /// Writes the whole file or nothing.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).expect("strings and paths are always JSON");
        replace(&Demo::path(dir), &text, 0o600)
    }

    pub(super) fn remove(dir: &Path) -> Result<(), Error> {
        match fs::remove_file(Demo::path(dir)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at(Demo::path(dir)),
            _ => Ok(()),
        }
    }
}
