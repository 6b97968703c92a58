//! What can keep the private servers from running.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::runtime::migrations;

/// Why the stack is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The demo data could not be loaded.
    #[error("the demo data could not be loaded")]
    DemoData(#[from] super::demo_data::Error),
    /// A program is not installed.
    #[error("{program} was not found; install it ({package}) or run ./dev, which does")]
    NotInstalled {
        /// The program.
        program: &'static str,
        /// The package it comes in.
        package: &'static str,
    },
    /// A cluster of another major version than any installed server.
    #[error("the data in {cluster} is from PostgreSQL {wanted}, which is not installed (found: {found})")]
    WrongVersion {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The version it was made by.
        wanted: u32,
        /// The versions that are installed.
        found: String,
    },
    /// Another process uses this data directory.
    #[error("process {pid} already runs on {dir}: see ./dev status, end it with ./dev down")]
    AlreadyRunning {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it.
        pid: i32,
    },
    /// The data directory is held by a process that does not say who it is.
    #[error("{0} is in use by another process and did not become free")]
    Busy(PathBuf),
    /// A child could not be started at all.
    #[error("cannot start {name}")]
    Spawn {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A child ended before it answered.
    #[error("{name} ended before it was ready ({status}); its log is {log}{tail}")]
    Ended {
        /// Its name.
        name: String,
        /// How it ended.
        status: String,
        /// Where it wrote its log.
        log: PathBuf,
        /// The log's last lines, or nothing.
        tail: String,
    },
    /// A child runs but does not answer.
    #[error("{name} did not answer within {after_s} s ({reason}); its log is {log}{tail}")]
    Deaf {
        /// Its name.
        name: String,
        /// How long we waited, in seconds.
        after_s: u64,
        /// What the last attempt said.
        reason: String,
        /// Where it wrote its log.
        log: PathBuf,
        /// The log's last lines, or nothing.
        tail: String,
    },
    /// A tool that prepares a server failed.
    #[error("{tool} failed: {output}")]
    Tool {
        /// The tool.
        tool: &'static str,
        /// What it printed.
        output: String,
    },
    /// No free loopback port.
    #[error("no free port on 127.0.0.1 for {0}")]
    NoPort(&'static str),
    /// The place for the cluster belongs to somebody else.
    #[error("{0} exists and is not ours; remove it or choose another data directory")]
    ForeignDirectory(PathBuf),
    /// The roles or the database could not be made.
    #[error("cannot set up the roles and the database")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("cannot migrate the database")]
    Migrate(#[from] migrations::Error),
    /// The service's address is in use.
    #[error(
        "{0} is in use by another process\nstop it, or choose another address: OFFERS_LISTEN=127.0.0.1:8081 ./dev \
         (port 0 takes a free one)"
    )]
    AddressTaken(SocketAddr),
    /// A file or directory.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

/// Names the file in an input or output error.
pub(crate) trait At<T> {
    /// Says which file it was about.
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|source| Error::File { path: path.into(), source })
    }
}
