//! `offers dev status`: what runs on a data directory.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::devstack;

/// What service managers answer for "not running".
const NOT_RUNNING: u8 = 3;

pub(super) fn run(dir: &Path) -> anyhow::Result<ExitCode> {
    let status = devstack::status(dir);
    let mut out = io::stdout().lock();
    match status.owner {
        Some(pid) => writeln!(out, "running on {} (process {pid})", dir.display())?,
        None => writeln!(out, "not running on {}", dir.display())?,
    }
    for (name, process, port) in &status.children {
        let process = process.map_or("not running".to_owned(), |pid| format!("process {pid}"));
        let port = port.map_or(String::new(), |port| format!(", 127.0.0.1:{port}"));
        writeln!(out, "  {name:<10} {process}{port}")?;
    }
    match &status.demo {
        Some(demo) => writeln!(out, "ready: {}", demo.api_url)?,
        None => writeln!(out, "not ready")?,
    }
    Ok(if status.owner.is_some() { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) })
}
