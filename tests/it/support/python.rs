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

/// Says why the test says nothing, where Python lacks a package of PyPI.
pub async fn module_is_missing(name: &str) -> bool {
    let asked =
        Command::new("python3").args(["-c", &format!("import {name}")]).stderr(Stdio::null()).status();
    let missing = !asked.await.is_ok_and(|status| status.success());
    if missing {
        println!("skipped: the example needs {name} from PyPI, which is not installed");
    }
    missing
}
