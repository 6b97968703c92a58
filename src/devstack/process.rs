//! Identifies our processes and ends them.
//!
//! A pid alone is not enough: pids are reused, in a container soon. A process is identified by its pid *and*
//! its start time, so that only our own processes are ever ended.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// Interval of checks whether a process has ended.
const END_POLL: Duration = Duration::from_millis(20);
/// The limit for a process to end after SIGKILL (it can be in an uninterruptible write).
const KILL_WAIT: Duration = Duration::from_secs(10);

/// One process: a later process with the same pid is not equal to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: i32,
    /// The start time as the system writes it; only compared.
    started: String,
}

impl ProcessIdentity {
    /// The process that has `pid` now; a zombie does not count.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        started(pid).map(|started| ProcessIdentity { pid, started })
    }

    pub(crate) fn own() -> Self {
        let pid = i32::try_from(std::process::id()).expect("a pid is a positive C int");
        ProcessIdentity::of(pid).unwrap_or(ProcessIdentity { pid, started: String::new() })
    }

    pub(crate) fn is_alive(&self) -> bool {
        ProcessIdentity::of(self.pid).as_ref() == Some(self)
    }

    /// Sends `signal`, unless the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _gone_meanwhile = kill_process(pid, signal);
        }
    }

    /// Sends each of `stop_signals` and waits its patience, then SIGKILL.
    pub(crate) async fn end(&self, stop_signals: &[(Signal, Duration)]) {
        for (signal, patience) in stop_signals {
            self.signal(*signal);
            if self.gone_within(*patience).await {
                return;
            }
        }
        self.signal(Signal::KILL);
        self.gone_within(KILL_WAIT).await;
    }

    /// Waits until it has ended; false if it has not after `patience`.
    pub(crate) async fn gone_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(END_POLL).await;
        }
        true
    }
}

/// The start time, unique over the machine's boots; `None` if the process does not run.
#[cfg(target_os = "linux")]
fn started(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything: count fields from the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, ticks) = (fields.first()?, fields.get(19)?);
    if matches!(*state, "Z" | "X") {
        return None;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{} {ticks}", boot.trim()))
}

/// The start time; `None` if the process does not run.
#[cfg(not(target_os = "linux"))]
fn started(pid: i32) -> Option<String> {
    let line = ps(pid, "stat=,lstart=")?;
    let (state, started) = line.split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

/// The command line of a running process, its words joined by blanks.
pub(crate) fn command_line(pid: i32) -> Option<String> {
    if cfg!(target_os = "linux") {
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        return Some(String::from_utf8_lossy(&words).replace('\0', " "));
    }
    ps(pid, "command=")
}

fn ps(pid: i32, columns: &str) -> Option<String> {
    let output =
        Command::new("ps").env("LC_ALL", "C").args(["-o", columns, "-p", &pid.to_string()]).output().ok()?;
    let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// The file with a running child's identity.
#[derive(Debug, Clone)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        PidFile(dir.join("run").join(format!("{name}.pid")))
    }

    pub(crate) fn write(&self, identity: &ProcessIdentity) -> io::Result<()> {
        if let Some(parent) = self.0.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&self.0, serde_json::to_vec(identity)?)
    }

    /// The child, if it still runs.
    pub(crate) fn running(&self) -> Option<ProcessIdentity> {
        let identity: ProcessIdentity = serde_json::from_slice(&fs::read(&self.0).ok()?).ok()?;
        identity.is_alive().then_some(identity)
    }

    pub(crate) fn remove(&self) {
        let _may_be_gone = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_not_equal_to_an_earlier_one_with_its_pid() {
        let own = ProcessIdentity::own();
        assert!(own.is_alive());
        let before_us = ProcessIdentity { started: "another time".into(), ..own };
        assert!(!before_us.is_alive());
    }

    #[tokio::test]
    async fn a_stubborn_process_is_killed_after_its_patience() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let identity = ProcessIdentity::of(i32::try_from(child.id()).unwrap()).unwrap();
        identity.end(&[(Signal::TERM, Duration::from_millis(100))]).await;
        assert!(!identity.is_alive());
        assert!(!child.wait().unwrap().success());
    }
}
