//! The files of a data directory: ports and the cluster's path, passwords, secrets, and the lock.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::error::{At, Error};
use super::ports;
use super::process::ProcessIdentity;

/// Length of a generated password: 190 bits.
const PASSWORD_CHARS: usize = 32;
/// Length of a generated secret of the service: 380 bits.
const SECRET_CHARS: usize = 64;
/// How long a process may look alive after a kill -9, while its memory is freed.
const DEATH: Duration = Duration::from_millis(500);
/// Interval of attempts to lock a data directory.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// What is kept from start to start.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    #[serde(default)]
    pub(crate) ports: BTreeMap<String, u16>,
    /// The path of the PostgreSQL cluster, which may be outside the data directory.
    #[serde(default)]
    pub(crate) cluster: Option<PathBuf>,
}

impl State {
    /// The state that the last start saved; empty for a new directory or an unreadable file.
    pub(crate) fn load(dir: &Path) -> State {
        let bytes = fs::read(dir.join("state.json")).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// The port of the server called `name`: its last one, or another if that is in use now.
    pub(crate) fn choose_port(&mut self, name: &'static str) -> Result<u16, Error> {
        let kept = self.ports.remove(name);
        let taken: Vec<u16> = self.ports.values().copied().collect();
        let port = ports::choose(kept, &taken).ok_or(Error::NoPort(name))?;
        self.ports.insert(name.to_owned(), port);
        Ok(port)
    }

    pub(crate) fn save(&self, dir: &Path) -> Result<(), Error> {
        replace(&dir.join("state.json"), &json(self), 0o644)
    }
}

/// The passwords of the private servers, created once for each data directory.
///
/// They start with a letter: nats-server reads the value of a variable as its configuration
/// language, where digits first mean a number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Passwords {
    pub(crate) postgres: String,
    pub(crate) offers_owner: String,
    pub(crate) offers_app: String,
    pub(crate) redis: String,
    pub(crate) nats_app: String,
    pub(crate) nats_analytics_admin: String,
    pub(crate) nats_analyst: String,
}

impl Passwords {
    pub(crate) fn load_or_create(dir: &Path) -> Result<Passwords, Error> {
        let path = dir.join("secrets").join("servers.json");
        if let Some(known) = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(known);
        }
        let made = Passwords {
            postgres: password(),
            offers_owner: password(),
            offers_app: password(),
            redis: password(),
            nats_app: password(),
            nats_analytics_admin: password(),
            nats_analyst: password(),
        };
        replace(&path, &json(&made), 0o600)?;
        Ok(made)
    }
}

pub(crate) fn random_secret() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), SECRET_CHARS)
}

/// The file of one of the service's secrets; created with what `make` returns if missing.
pub(crate) fn secret(dir: &Path, name: &str, make: impl FnOnce() -> String) -> Result<PathBuf, Error> {
    let path = dir.join("secrets").join(name);
    if !path.exists() {
        replace(&path, make().as_bytes(), 0o600)?;
    }
    Ok(path)
}

fn password() -> String {
    format!("p{}", Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_CHARS - 1))
}

/// Pretty JSON of a value that is plain data.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("strings, numbers and paths are always JSON")
}

/// Creates a directory that nobody else can look into.
pub(crate) fn create_private_directory(dir: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).at(dir)
}

/// Writes a whole file or nothing: readers see the old content or the new.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        create_private_directory(parent)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let written = (|| {
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    })();
    written.at(path)
}

/// Locked while a process uses a data directory; the kernel unlocks it when that process dies.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
}

impl LockFile {
    /// Locks the directory. Waits up to `patience` for the reaper of a dead owner.
    pub(crate) async fn take(dir: &Path, patience: Duration) -> Result<LockFile, Error> {
        fs::create_dir_all(dir).at(dir)?;
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .at(&path)?;
        let (start, deadline) = (Instant::now(), Instant::now() + patience);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(LockFile { file }),
                Err(TryLockError::Error(source)) => return Err(Error::File { path, source }),
                Err(TryLockError::WouldBlock) => {}
            }
            let owner = LockFile::owner(dir).filter(|owner| *owner != ProcessIdentity::own());
            if let Some(owner) = owner.filter(|_| start.elapsed() >= DEATH) {
                return Err(Error::AlreadyRunning { dir: dir.to_owned(), pid: owner.pid });
            }
            if Instant::now() >= deadline.max(start + DEATH) {
                return Err(Error::Busy(dir.to_owned()));
            }
            sleep(LOCK_POLL).await;
        }
    }

    /// Writes the owner into the file, for error messages and `offers dev status`.
    pub(crate) fn write_owner(&mut self, dir: &Path, owner: &ProcessIdentity) -> Result<(), Error> {
        let line = serde_json::to_vec(owner).expect("a number and a string are always JSON");
        let written = (|| {
            io::Seek::rewind(&mut self.file)?;
            self.file.write_all(&line)?;
            self.file.set_len(line.len() as u64)
        })();
        written.at(dir.join("lock"))
    }

    /// The owner that was written last, if it still runs.
    pub(crate) fn owner(dir: &Path) -> Option<ProcessIdentity> {
        let owner: ProcessIdentity = serde_json::from_slice(&fs::read(dir.join("lock")).ok()?).ok()?;
        owner.is_alive().then_some(owner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("offers-files-{name}-{}", std::process::id()));
        let _none_yet = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn passwords_are_created_once_and_only_their_owner_may_read_them() {
        let dir = scratch("passwords");
        let made = Passwords::load_or_create(&dir).unwrap();
        let read = Passwords::load_or_create(&dir).unwrap();
        assert_eq!(made.redis, read.redis);
        assert_ne!(made.redis, made.nats_app);
        assert!(made.redis.starts_with('p') && made.redis.len() == PASSWORD_CHARS);
        let mode = fs::metadata(dir.join("secrets/servers.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(dir).unwrap();
    }

    #[tokio::test]
    async fn a_second_user_of_a_directory_learns_the_pid_of_the_first() {
        let dir = scratch("lock");
        let mut first = LockFile::take(&dir, Duration::ZERO).await.unwrap();
        assert!(matches!(LockFile::take(&dir, Duration::ZERO).await, Err(Error::Busy(_))));
        let mut another = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let owner = ProcessIdentity::of(i32::try_from(another.id()).unwrap()).unwrap();
        first.write_owner(&dir, &owner).unwrap();
        let refused = LockFile::take(&dir, Duration::ZERO).await;
        assert!(matches!(refused, Err(Error::AlreadyRunning { pid, .. }) if pid == owner.pid));
        another.kill().unwrap();
        another.wait().unwrap();
        drop(first);
        LockFile::take(&dir, Duration::ZERO).await.unwrap();
        fs::remove_dir_all(dir).unwrap();
    }
}
