//! A child process that is restarted until it is stopped.
//!
//! When the child dies it is restarted on the same port and data. `stop` ends it in order. Dropping the
//! `Service` ends it too, without waiting.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::error::{At, Error};
use super::files::create_private_directory;
use super::probe::Probe;
use super::process::{PidFile, ProcessIdentity, Signal};
use crate::backoff::{Backoff, Delays};

/// Interval of probes of a starting server.
const READY_POLL: Duration = Duration::from_millis(25);
const RESTART: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// A child that ran this long is restarted with the first delay again.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// Interval of probes of a running server that may hang, and after how many failures in a row it is restarted.
const HANG_POLL: Duration = Duration::from_secs(5);
const HANG_FAILURES: u32 = 3;
/// The end of a log that an error shows, in bytes and lines.
const TAIL_BYTES: u64 = 4 * 1024;
const TAIL_LINES: usize = 5;

/// How a child is started and stopped.
#[derive(Debug, Clone)]
pub(crate) struct ServiceSpec {
    /// In messages, and of the log and pid files.
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// The whole environment apart from `PATH` and `LC_ALL`.
    pub(crate) env: Vec<(String, OsString)>,
    pub(crate) home: PathBuf,
    /// User and group, if not ours.
    pub(crate) user: Option<(u32, u32)>,
    pub(crate) probe: Probe,
    pub(crate) ready_within: Duration,
    /// Whether it is restarted when the probe fails again and again while it runs.
    pub(crate) may_hang: bool,
    /// Sent in this order, each with its patience; then SIGKILL.
    pub(crate) stop_signals: Vec<(Signal, Duration)>,
}

impl ServiceSpec {
    fn command(&self, log: File) -> std::io::Result<Command> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C goes to the terminal's group; we stop our children in order.
            .process_group(0)
            .kill_on_drop(true);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    }
}

#[derive(Debug)]
pub(crate) struct Service {
    name: &'static str,
    stopping: CancellationToken,
    supervision: JoinHandle<()>,
}

impl Service {
    /// Starts the child, waits until it is ready, and supervises it from then on.
    pub(crate) async fn start(spec: ServiceSpec, dir: &Path) -> Result<Service, Error> {
        let supervisor = Supervisor {
            log: dir.join("log").join(format!("{}.log", spec.name)),
            pid_file: PidFile::new(dir, spec.name),
            name: spec.name,
            spec,
        };
        let child = supervisor.launch().await?;
        let stopping = CancellationToken::new();
        let name = supervisor.name;
        let supervision = tokio::spawn(supervisor.watch(child, stopping.clone()));
        Ok(Service { name, stopping, supervision })
    }

    pub(crate) async fn stop(mut self) {
        self.stopping.cancel();
        if let Err(error) = (&mut self.supervision).await {
            warn!(name = self.name, %error, "the supervision of {} failed", self.name);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// Restarts a child that dies.
struct Supervisor {
    name: &'static str,
    spec: ServiceSpec,
    log: PathBuf,
    pid_file: PidFile,
}

impl Supervisor {
    async fn watch(self, mut child: Child, stopping: CancellationToken) {
        let mut delays = RESTART.delays();
        loop {
            let since = Instant::now();
            let why = tokio::select! {
                status = child.wait() => format!("ended ({})", described(status)),
                () = self.hangs() => "does not answer".to_owned(),
                () = stopping.cancelled() => return self.end(&mut child).await,
            };
            if since.elapsed() >= STEADY_AFTER {
                delays.reset();
            }
            warn!(name = self.name, "{} {why}; restarting it", self.name);
            self.end(&mut child).await;
            let relaunched = tokio::select! {
                relaunched = self.relaunch(&mut delays) => relaunched,
                () = stopping.cancelled() => return self.end_stray().await,
            };
            child = relaunched;
            info!(name = self.name, "{} is back", self.name);
        }
    }

    /// Waits until a child that may hang does.
    async fn hangs(&self) {
        let mut failures = 0;
        while failures < HANG_FAILURES || !self.spec.may_hang {
            sleep(HANG_POLL).await;
            let fails = self.spec.may_hang && self.spec.probe.attempt().await.is_err();
            failures = if fails { failures + 1 } else { 0 };
        }
    }

    /// Restarts the child; each failure makes the next delay longer.
    async fn relaunch(&self, delays: &mut Delays) -> Child {
        loop {
            sleep(delays.next_delay()).await;
            match self.launch().await {
                Ok(child) => return child,
                Err(error) => warn!(name = self.name, "{error}"),
            }
        }
    }

    /// Starts the child and waits until it is ready.
    async fn launch(&self) -> Result<Child, Error> {
        let mut child = self.spawn()?;
        let deadline = Instant::now() + self.spec.ready_within;
        loop {
            let attempt = tokio::select! {
                attempt = self.spec.probe.attempt() => attempt,
                status = child.wait() => {
                    self.pid_file.remove();
                    return Err(self.ended(described(status)));
                }
            };
            match attempt {
                // Another process may have answered on a port that the child failed to bind.
                Ok(()) if matches!(child.try_wait(), Ok(None)) => return Ok(child),
                Ok(()) => {}
                Err(reason) if Instant::now() >= deadline => {
                    self.end(&mut child).await;
                    return Err(self.not_ready(reason));
                }
                Err(_) => sleep(READY_POLL).await,
            }
        }
    }

    fn spawn(&self) -> Result<Child, Error> {
        let spawned = |source| Error::Spawn { name: self.name.to_owned(), source };
        if let Some(parent) = self.log.parent() {
            create_private_directory(parent)?;
        }
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log).at(&self.log)?;
        let child = self.spec.command(log).and_then(|mut command| command.spawn()).map_err(spawned)?;
        if let Some(identity) = identity(&child) {
            self.pid_file.write(&identity).at(&self.spec.home)?;
        }
        Ok(child)
    }

    async fn end(&self, child: &mut Child) {
        if let Some(identity) = identity(child) {
            for (signal, patience) in &self.spec.stop_signals {
                identity.signal(*signal);
                if timeout(*patience, child.wait()).await.is_ok() {
                    break;
                }
                warn!(name = self.name, "{} did not end within {} s", self.name, patience.as_secs());
            }
        }
        let _already_ended = child.kill().await;
        self.pid_file.remove();
    }

    /// Ends the child of a cancelled launch.
    async fn end_stray(&self) {
        if let Some(identity) = self.pid_file.running() {
            identity.end(&self.spec.stop_signals).await;
        }
        self.pid_file.remove();
    }

    fn ended(&self, status: String) -> Error {
        Error::Ended { name: self.name.to_owned(), status, log: self.log.clone(), tail: tail(&self.log) }
    }

    fn not_ready(&self, reason: String) -> Error {
        Error::NotReady {
            name: self.name.to_owned(),
            after_s: self.spec.ready_within.as_secs(),
            reason,
            log: self.log.clone(),
            tail: tail(&self.log),
        }
    }
}

fn identity(child: &Child) -> Option<ProcessIdentity> {
    child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(ProcessIdentity::of)
}

fn described(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// The log's last lines, indented, for an error message.
fn tail(log: &Path) -> String {
    let mut end = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let length = file.metadata().map_or(0, |meta| meta.len());
        let _from_the_start = file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)));
        let _as_much_as_there_is = file.read_to_end(&mut end);
    }
    let text = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).map(|line| format!("\n    {line}")).collect()
}
