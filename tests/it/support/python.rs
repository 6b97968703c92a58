//! Python, which the examples of the documentation are written in.

use std::process::Stdio;
use tokio::process::Command;

/// Says why the test says nothing, where there is no Python.
pub async fn python_is_missing() -> bool {
    let asked = Command::new("python3").arg("--version").stdout(Stdio::null()).status().await;
    let missing = !asked.is_ok_and(|status| status.success());
    if missing {
        println!("skipped: the example needs python3, which is not installed");
    }
    missing
}
