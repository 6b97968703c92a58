//! Ends the processes that a killed run has left, and no others.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use tracing::{debug, warn};

use super::demo::Demo;
use super::environment::Environment;
use super::error::Error;
use super::files::State;
use super::postgres::Cluster;
use super::process::{PidFile, Signal};

/// The private servers in the order in which they are stopped, after their clients.
const SERVERS: [&str; 3] = ["nats", "redis", "postgres"];
/// The limit for a child to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(10);
/// The limit for a fast shutdown of PostgreSQL.
const POSTGRES_PATIENCE: Duration = Duration::from_secs(20);

/// Whose the processes are: only those of an earlier run are news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    OfThisRun,
    OfEarlierRun,
}

/// Ends every process that a pid file of `dir` identifies, and removes `demo.json`.
///
/// The caller holds the directory's lock.
pub(crate) async fn clear(dir: &Path, leftover: Leftover) -> Result<(), Error> {
    Demo::remove(dir)?;
    Environment::forget(dir);
    let clients: Vec<_> = names(dir).into_iter().filter(|name| !SERVERS.contains(&name.as_str())).collect();
    join_all(clients.iter().map(|name| end_one(dir, name, leftover))).await;
    for server in SERVERS {
        end_one(dir, server, leftover).await;
    }
    if let Some(cluster) = Cluster::known(&State::load(dir)) {
        cluster.end_stray_server().await;
    }
    Ok(())
}

/// The names of the children with a pid file in `dir`.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir.join("run")).into_iter().flatten().flatten();
    let name = |file: std::fs::DirEntry| Some(file.file_name().to_str()?.strip_suffix(".pid")?.to_owned());
    files.filter_map(name).collect()
}

async fn end_one(dir: &Path, name: &str, leftover: Leftover) {
    let file = PidFile::new(dir, name);
    if let Some(identity) = file.running() {
        match leftover {
            Leftover::OfThisRun => debug!("ending {name} (process {})", identity.pid),
            Leftover::OfEarlierRun => warn!("ending {name} of an earlier run (process {})", identity.pid),
        }
        let stop_signals = match name {
            "postgres" => (Signal::INT, POSTGRES_PATIENCE),
            _ => (Signal::TERM, PATIENCE),
        };
        identity.end(&[stop_signals]).await;
    }
    file.remove();
}
