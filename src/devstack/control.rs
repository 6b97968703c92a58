//! Looks at a data directory from outside, and ends or removes what is there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::demo::Demo;
use super::error::{At, Error};
use super::files::{Lock, State};
use super::process::{PidFile, Signal};
use super::{cleanup, reaper};

/// How long the owner of a directory may take to stop everything in order.
const STOP_PATIENCE: Duration = Duration::from_secs(90);
/// How long a guard may take to clean up.
const GUARD_PATIENCE: Duration = Duration::from_secs(60);

/// What runs on a data directory.
#[derive(Debug)]
pub struct Status {
    /// The process that runs it all; `None` when there is none.
    pub owner: Option<i32>,
    /// Each child's name, its process when it runs, and its port where it has one of ours.
    pub children: Vec<(String, Option<i32>, Option<u16>)>,
    /// What can be used now.
    pub demo: Option<Demo>,
}

/// Looks at `dir` without changing anything.
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
        owner: Lock::owner(dir).map(|owner| owner.pid),
        children: names.into_iter().map(child).collect(),
        demo: Demo::read(dir),
    }
}

/// Ends what runs on `dir`; does nothing when nothing does.
///
/// # Errors
/// When somebody else takes the directory meanwhile.
pub async fn down(dir: &Path) -> Result<(), Error> {
    let Some(dir) = ours(dir)? else { return Ok(()) };
    if let Some(owner) = Lock::owner(&dir) {
        owner.end(&[(Signal::TERM, STOP_PATIENCE)]).await;
    }
    settle(&dir).await
}

/// Cleans up after an owner that has ended (it may be we who broke off a start), together with its guard.
///
/// # Errors
/// When somebody else takes the directory meanwhile.
pub async fn settle(dir: &Path) -> Result<(), Error> {
    let Some(dir) = ours(dir)? else { return Ok(()) };
    let _lock = Lock::take(&dir, GUARD_PATIENCE).await?;
    cleanup::clear(&dir).await
}

/// Kills every child of `dir` at once, for somebody who does not want to wait. The data survives it.
pub fn kill(dir: &Path) {
    let processes = cleanup::names(dir).into_iter().filter_map(|name| PidFile::new(dir, &name).running());
    for process in processes {
        process.signal(Signal::KILL);
    }
}

/// Ends what runs on `dir` and removes all its data.
///
/// # Errors
/// When somebody else takes the directory meanwhile, or it cannot be removed.
pub async fn reset(dir: &Path) -> Result<(), Error> {
    down(dir).await?;
    let Some(dir) = ours(dir)? else { return Ok(()) };
    let _lock = Lock::take(&dir, Duration::ZERO).await?;
    reaper::remove(&dir)
}

/// The directory's absolute path, when it is a data directory: nothing else is ever removed.
fn ours(dir: &Path) -> Result<Option<PathBuf>, Error> {
    if !dir.join("lock").exists() {
        return Ok(None);
    }
    std::fs::canonicalize(dir).map(Some).at(dir)
}
