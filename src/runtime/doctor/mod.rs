//! Whether a service could run well with a configuration: the settings, the servers, their versions and rights.
//!
//! Nothing is changed anywhere. What is wrong comes with what to do about it, and no secret is told.

mod database;
mod servers;

use super::parts::refusals;
use crate::config::{Role, Serve};
use crate::telemetry::chain;
use serde::Serialize;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;
use strum::Display;

/// Less free space is worth a note, or wrong: PostgreSQL stops when its disk is full.
const LITTLE_DISK: u64 = 5 << 30;
const NO_DISK: u64 = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// It works, and should be looked at.
    Note,
    Wrong,
}

#[derive(Debug, Serialize)]
pub struct Finding {
    pub about: &'static str,
    pub verdict: Verdict,
    pub found: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// How long the answer took, in milliseconds.
    pub took_ms: Option<u64>,
}

impl Finding {
    fn ok(about: &'static str, found: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Ok, found: found.into(), remedy: None, took_ms: None }
    }

    fn note(about: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, remedy: Some(remedy.into()), ..Self::ok(about, found) }
    }

    fn wrong(about: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, ..Self::note(about, found, remedy) }
    }

    fn took(self, duration: Duration) -> Self {
        Self { took_ms: u64::try_from(duration.as_millis()).ok(), ..self }
    }
}

/// Looks at everything that `offers serve` with `config` needs. `owner_url` shows more of the database, `data_dir` is on
/// this machine.
pub async fn examine(config: &Serve, owner_url: Option<&str>, data_dir: Option<&Path>) -> Vec<Finding> {
    let mut findings = settings(config);
    findings.extend(data_dir.filter(|dir| dir.exists()).map(disk));
    findings.extend(database::examine(config, owner_url).await);
    findings.extend(servers::redis(config).await);
    findings.extend(servers::nats(config).await);
    if config.roles().contains(&Role::Processor) {
        findings.extend(servers::activation_system(config).await);
        findings.extend(servers::mail(config).await);
    }
    findings
}

/// What `offers serve` refuses before it asks a server.
fn settings(config: &Serve) -> Vec<Finding> {
    let mut findings: Vec<Finding> = refusals(config)
        .iter()
        .map(|cause| Finding::wrong("settings", chain(cause), "offers serve --help says what it must be"))
        .collect();
    if findings.is_empty() {
        let roles: Vec<String> = config.roles().iter().map(Role::to_string).collect();
        findings.push(Finding::ok("settings", format!("complete for the roles {}", roles.join(", "))));
    }
    let addresses = [config.roles().contains(&Role::Api).then_some(config.listen), config.metrics_listen];
    for address in addresses.into_iter().flatten() {
        findings.push(match TcpListener::bind(address) {
            Ok(_closed_again) => Finding::ok("address", format!("{address} is free")),
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {
                let remedy = "if that is not this service, end it or listen elsewhere (OFFERS_LISTEN)";
                Finding::note("address", format!("{address} is in use"), remedy)
            }
            Err(cause) => {
                let found = format!("cannot listen on {address}: {cause}");
                Finding::wrong("address", found, "choose an address of this machine (OFFERS_LISTEN)")
            }
        });
    }
    findings
}

fn disk(dir: &Path) -> Finding {
    let shown = dir.display();
    match rustix::fs::statvfs(dir) {
        Err(cause) => {
            Finding::note("disk", format!("cannot look at {shown}: {cause}"), "check OFFERS_DATA_DIR")
        }
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let found = format!("{:.1} GiB free at {shown}", free as f64 / (1_u64 << 30) as f64);
            match free {
                ..NO_DISK => {
                    Finding::wrong("disk", found, "make room: PostgreSQL stops when its disk is full")
                }
                NO_DISK..LITTLE_DISK => Finding::note("disk", found, "make room"),
                LITTLE_DISK.. => Finding::ok("disk", found),
            }
        }
    }
}
