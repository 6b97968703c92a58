//! Python and node, which the examples of the documentation are written in.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::Command;

/// Says why the test says nothing, where there is no Python.
pub async fn python_is_missing() -> bool {
    is_missing("python3").await
}

/// The same for node.
pub async fn node_is_missing() -> bool {
    is_missing("node").await
}

async fn is_missing(language: &str) -> bool {
    let asked = Command::new(language).arg("--version").stdout(Stdio::null()).status().await;
    let missing = !asked.is_ok_and(|status| status.success());
    if missing {
        skipped(&format!("the example needs {language}, which is not installed"));
    }
    missing
}

/// A Python that has what docs/examples needs from PyPI, installed once below target/. Without it, says why the test
/// says nothing.
pub async fn python_with_packages() -> Option<PathBuf> {
    if python_is_missing().await {
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system.py");
    let output = Command::new("python3").arg(script).output().await.unwrap();
    if output.status.success() {
        return Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end()));
    }
    skipped(&String::from_utf8_lossy(&output.stderr));
    None
}

/// Past the harness, which swallows what a successful test prints.
pub fn skipped(why: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: {why}");
}
