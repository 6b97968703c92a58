//! The guides of those who call the service: their commands print what they say, and clients that are generated from
//! its document buy. They share one system.

use crate::support::guide::{Guide, Reader};
use crate::support::languages::{node_is_missing, python_is_missing, skipped};
use crate::support::up::Up;
use std::path::Path;
use tokio::process::Command;

/// The exit code of tests/clients/generated.py when a generator cannot be installed.
const INCOMPLETE: i32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_guides_for_callers_show_is_what_happens() {
    if node_is_missing().await || python_is_missing().await {
        return;
    }
    let up = Up::start("guides").await;
    let url = up.demo().unwrap()["api_url"].as_str().unwrap().to_owned();
    let environment = vec![("URL", url), ("OFFERS_DATA_DIR", up.dir.display().to_string())];
    let reader = Reader::new("callers", None, environment);
    std::os::unix::fs::symlink(&up.dir, reader.dir.join(".data")).unwrap();
    for guide in ["clients.md", "partners.md", "admin.md"] {
        reader.runs(&Guide::read(guide).steps).await;
    }
    clients_are_generated(&up).await;
}

/// In TypeScript and Python: each buys.
async fn clients_are_generated(up: &Up) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/generated.py");
    let mut command = Command::new("python3");
    let run = command.arg(script).arg(up.dir.join("demo.json")).kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    match run.status.code() {
        Some(0) => {}
        Some(INCOMPLETE) => skipped(&said),
        _ => panic!("{said}"),
    }
}
