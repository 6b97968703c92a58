//! Cleans up after a stack whose process was killed.
//!
//! A process that is kill -9ed cannot end its children. So each stack has a guard: a process of this
//! binary that does nothing but wait for the end of a pipe, which the kernel closes when the stack's
//! process dies, however it dies. It works the same on Linux and macOS. Should the guard be killed too,
//! the next start does its work.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::cleanup;
use super::error::{At, Error};
use super::files::{Lock, State};
use super::postgres::Cluster;

/// How long a stack may live on after its end of the pipe was closed. A killed one is gone in a moment;
/// one whose start was broken off is cleaning up itself.
const STACK_PATIENCE: Duration = Duration::from_secs(90);
/// How long the lock may stay held after that; when for longer, the next stack has it and cleans up itself.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Everything that we or the service put into a data directory; the lock goes last.
const OURS: [&str; 11] = [
    "demo.json",
    "simulator.ndjson",
    "mail",
    "run",
    "log",
    "postgres",
    "redis",
    "nats",
    "secrets",
    "state.json",
    "lock",
];

/// The guard of a stack that runs in this process.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    /// Starts the guard: this executable's `dev guard`.
    pub(crate) fn start(dir: &Path, ephemeral: bool) -> Result<Guard, Error> {
        let spawned = |source| Error::Spawn { name: "the guard".to_owned(), source };
        let mut command = Command::new(std::env::current_exe().map_err(spawned)?);
        command.args(["dev", "guard", "--dir"]).arg(dir);
        if ephemeral {
            command.arg("--ephemeral");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // It must outlive a signal to our whole group.
        command.process_group(0).current_dir("/").spawn().map(Guard).map_err(spawned)
    }

    /// Sends it away; everything has been stopped in order.
    pub(crate) async fn dismiss(mut self) {
        let _already_gone = self.0.kill().await;
    }
}

/// What the guard does: waits until `pipe` ends, then ends what runs below `dir`.
///
/// # Errors
/// When another process uses the directory by then (it has cleaned up), or it cannot be removed.
pub async fn watch(dir: PathBuf, ephemeral: bool, mut pipe: impl Read + Send + 'static) -> Result<(), Error> {
    let stack = Lock::owner(&dir);
    let ended = tokio::task::spawn_blocking(move || pipe.read_to_end(&mut Vec::new()));
    let _either_way_the_stack_is_gone = ended.await;
    if let Some(stack) = stack {
        stack.gone_within(STACK_PATIENCE).await;
    }
    let _lock = Lock::take(&dir, LOCK_PATIENCE).await?;
    cleanup::clear(&dir).await?;
    if ephemeral { remove(&dir) } else { Ok(()) }
}

/// Removes what is ours in a data directory, the cluster wherever it is, and the directory when that was
/// all: somebody may have named a directory that holds other things too.
pub(crate) fn remove(dir: &Path) -> Result<(), Error> {
    Cluster::remove(&State::load(dir)).at(dir)?;
    for name in OURS {
        let path = dir.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).at(path),
            _ => {}
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => Err(error).at(dir),
        _ => Ok(()),
    }
}
