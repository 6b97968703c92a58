//! Why a stack or an installation cannot run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::runtime::migrations;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot load the demo data")]
    DemoData(#[from] super::demo_data::Error),
    #[error("{program} was not found; install it ({package}) or run ./dev, which does")]
    NotInstalled { program: &'static str, package: &'static str },
    /// The cluster has another major version than every installed server.
    #[error("the data in {cluster} is from PostgreSQL {wanted}, which is not installed (found: {found})")]
    WrongVersion { cluster: PathBuf, wanted: u32, found: String },
    /// Another process uses this data directory.
    #[error("process {pid} already runs on {dir}; choose another directory with OFFERS_DATA_DIR")]
    AlreadyRunning { dir: PathBuf, pid: i32 },
    /// Another process holds the lock and has not written its pid yet.
    #[error("{0} is in use by another process")]
    Busy(PathBuf),
    #[error("cannot start {name}")]
    Spawn {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("{name} ended before it was ready ({status}); its log is {log}{tail}")]
    Ended {
        name: String,
        status: String,
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    #[error("{name} did not answer within {after_s} s ({reason}); its log is {log}{tail}")]
    NotReady {
        name: String,
        after_s: u64,
        reason: String,
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// `initdb` failed.
    #[error("{tool} failed: {output}")]
    Tool { tool: &'static str, output: String },
    #[error("no free port on 127.0.0.1 for {0}")]
    NoPort(&'static str),
    /// The directory for the cluster belongs to another user.
    #[error("{0} exists and belongs to another user; remove it or choose another data directory")]
    ForeignDirectory(PathBuf),
    #[error("cannot create the roles and the database")]
    Database(#[from] sqlx::Error),
    #[error("cannot migrate the database")]
    Migrate(#[from] migrations::Error),
    #[error(
        "{0} is in use by another process\nstop it, or choose another address: OFFERS_LISTEN=127.0.0.1:8081 ./dev \
         (port 0 takes a free one)"
    )]
    AddressInUse(SocketAddr),
    #[error("cannot use {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Adds the path to an IO error.
pub(crate) trait At<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|source| Error::File { path: path.into(), source })
    }
}
