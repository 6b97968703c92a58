//! Cleans up after a stack whose process was killed.
//!
//! A process that gets SIGKILL cannot end its children. So each stack has a reaper: a process of this program
//! that waits for the end of a pipe, which the kernel closes when the stack's process dies. It works the same
//! on Linux and macOS. If the reaper is killed too, the next start does its work.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::cleanup;
use super::error::{At, Error};
use super::files::{LockFile, State};
use super::postgres::Cluster;

/// How long a stack may live after its end of the pipe was closed. A killed stack is gone at once; a stack
/// whose start was cancelled cleans up itself.
const STACK_PATIENCE: Duration = Duration::from_secs(90);
/// How long the lock may stay locked after that. If longer, the next stack has it and cleans up itself.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Everything that we or the service put into a data directory; the lock is removed last.
const OURS: [&str; 12] = [
    "demo.json",
    "simulator.ndjson",
    "clock",
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

/// The reaper of a stack in this process.
#[derive(Debug)]
pub(crate) struct Reaper(Child);

impl Reaper {
    /// Starts the reaper: `dev reaper` of this program.
    pub(crate) fn start(dir: &Path, ephemeral: bool) -> Result<Reaper, Error> {
        let spawned = |source| Error::Spawn { name: "the reaper".to_owned(), source };
        let mut command = Command::new(std::env::current_exe().map_err(spawned)?);
        command.args(["dev", "reaper", "--dir"]).arg(dir);
        if ephemeral {
            command.arg("--ephemeral");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // It must outlive a signal to our whole group.
        command.process_group(0).current_dir("/").spawn().map(Reaper).map_err(spawned)
    }

    /// Ends the reaper, after everything was stopped in order.
    pub(crate) async fn dismiss(mut self) {
        let _already_gone = self.0.kill().await;
    }
}

/// Runs the reaper: waits until `pipe` ends, then ends what runs on `dir`.
pub async fn watch(dir: PathBuf, ephemeral: bool, mut pipe: impl Read + Send + 'static) -> Result<(), Error> {
    let stack = LockFile::owner(&dir);
    let ended = tokio::task::spawn_blocking(move || pipe.read_to_end(&mut Vec::new()));
    let _either_way_the_stack_is_gone = ended.await;
    if let Some(stack) = stack {
        stack.gone_within(STACK_PATIENCE).await;
    }
    let _lock = LockFile::take(&dir, LOCK_PATIENCE).await?;
    cleanup::clear(&dir, cleanup::Leftover::OfThisRun).await?;
    if ephemeral { remove(&dir) } else { Ok(()) }
}

/// Removes our files in a data directory, the cluster, and the directory if it is empty then: it may contain
/// other files too.
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
