//! Inspects, stops or removes a data directory from outside.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cleanup::{self, Leftover};
use super::demo::Demo;
use super::error::{At, Error};
use super::files::{LockFile, State, replace};
use super::process::{PidFile, Signal};
use super::reaper;

/// The limit for the owner of a directory to stop everything in order.
const STOP_PATIENCE: Duration = Duration::from_secs(90);
/// The limit for a reaper to clean up.
const REAPER_PATIENCE: Duration = Duration::from_secs(60);

/// What runs on a data directory.
#[derive(Debug)]
pub struct Status {
    /// The process that runs it.
    pub owner: Option<i32>,
    /// Each child's name, its process if it runs, and its port if it has one.
    pub children: Vec<(String, Option<i32>, Option<u16>)>,
    /// `None` if the service is not ready.
    pub demo: Option<Demo>,
}

/// Inspects `dir` without changing anything.
#[must_use]
pub fn status(dir: &Path) -> Status {
    let ports = State::load(dir).ports;
    let mut names = cleanup::names(dir);
    names.sort();
    let child = |name: String| {
        let running = PidFile::new(dir, &name).running().map(|identity| identity.pid);
        let port = ports.get(&name).copied();
        (name, running, port)
    };
    Status {
        owner: LockFile::owner(dir).map(|owner| owner.pid),
        children: names.into_iter().map(child).collect(),
        demo: Demo::read(dir),
    }
}

/// Ends what runs on `dir`.
pub async fn down(dir: &Path) -> Result<(), Error> {
    let Some(dir) = data_dir(dir)? else { return Ok(()) };
    if let Some(owner) = LockFile::owner(&dir) {
        owner.end(&[(Signal::TERM, STOP_PATIENCE)]).await;
    }
    settle(&dir).await
}

/// Cleans up after an owner that has ended, or after our own start that was cancelled.
pub async fn settle(dir: &Path) -> Result<(), Error> {
    let Some(dir) = data_dir(dir)? else { return Ok(()) };
    let _lock = LockFile::take(&dir, REAPER_PATIENCE).await?;
    cleanup::clear(&dir, Leftover::OfThisRun).await
}

/// Kills every child of `dir` at once, for a user who does not want to wait. The data survives.
pub fn kill(dir: &Path) {
    let processes = cleanup::names(dir).into_iter().filter_map(|name| PidFile::new(dir, &name).running());
    for process in processes {
        process.signal(Signal::KILL);
    }
}

/// Ends what runs on `dir` and removes all its data.
pub async fn reset(dir: &Path) -> Result<(), Error> {
    down(dir).await?;
    let Some(dir) = data_dir(dir)? else { return Ok(()) };
    let _lock = LockFile::take(&dir, Duration::ZERO).await?;
    reaper::remove(&dir)
}

/// How far the clock of the service is ahead of the system's, in seconds: a file that the service follows.
pub(super) fn clock_file(dir: &Path) -> PathBuf {
    dir.join("clock")
}

/// Moves the clock of the service on `dir` further ahead, and returns how far ahead it is then.
pub fn move_clock(dir: &Path, by: Duration) -> Result<Duration, Error> {
    let file = clock_file(dir);
    let before = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    let ahead = Duration::from_secs(before.unwrap_or(0)).saturating_add(by);
    if !by.is_zero() {
        replace(&file, ahead.as_secs().to_string().as_bytes(), 0o600)?;
    }
    Ok(ahead)
}

/// The absolute path of `dir` if it is a data directory: nothing else is ever removed.
fn data_dir(dir: &Path) -> Result<Option<PathBuf>, Error> {
    if !dir.join("lock").exists() {
        return Ok(None);
    }
    std::fs::canonicalize(dir).map(Some).at(dir)
}
