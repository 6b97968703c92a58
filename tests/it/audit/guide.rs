//! docs/auditors.md: its commands print what it says.

use crate::outage::processes::{Serving, System};
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::python::{module_is_missing, python_is_missing};
use offers::notary::TreeStore;
use std::path::Path;
use tokio::process::Command;

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/auditors.md");
/// Between the outputs of two commands.
const MARK: &str = "=== the next command ===";

/// A command and the lines that it prints, in which `…` stands for anything.
struct Step {
    command: String,
    expected: Vec<String>,
}

fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let guide = std::fs::read_to_string(GUIDE).unwrap();
    for block in guide.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step { command: command.to_owned(), expected: Vec::new() }),
                (None, Some(step)) => step.expected.push(line.to_owned()),
                (None, None) => panic!("output without a command: {line}"),
            }
        }
    }
    steps
}

/// Whether `text` has the parts of `pattern` in their order.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        let found = if is_last && !part.is_empty() {
            rest.ends_with(part).then(|| rest.len() - part.len())
        } else {
            rest.find(part)
        };
        match found {
            Some(place) => rest = if is_last && part.is_empty() { "" } else { &rest[place + part.len()..] },
            None => return false,
        }
    }
    rest.is_empty()
}

#[test]
fn the_dots_of_the_guide_stand_for_anything() {
    assert!(fits("a…b…", "a1b2") && fits("a…", "abc") && fits("…+…+…", "x+y+z") && fits("", ""));
    assert!(!fits("a…b", "abc") && !fits("ab", "abc") && !fits("a…x…c", "abc"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_auditors_guide_prints_what_the_guide_says() {
    if python_is_missing().await || module_is_missing("cryptography").await {
        return;
    }
    let system = System::start_with(&[], Serving::default()).await;
    buy(&system).await;
    everything_is_signed(&system).await;
    let dir = std::env::temp_dir().join(format!("offers-guide-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let _ = std::os::unix::fs::symlink(docs, dir.join("docs"));
    let steps = steps();
    let script: String = steps.iter().map(|step| format!("{}\necho '{MARK}'\n", step.command)).collect();
    let bin = Path::new(env!("CARGO_BIN_EXE_offers")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let run = Command::new("bash")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .current_dir(&dir)
        .env("PATH", path)
        .env("URL", &system.url)
        .env("OFFERS_DATABASE_URL", &system.sandbox.database_url)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    let outputs: Vec<&str> = said.split(&format!("{MARK}\n")).collect();
    assert_eq!(outputs.len(), steps.len() + 1, "{said}");
    for (step, output) in steps.iter().zip(outputs) {
        let lines: Vec<&str> = output.lines().collect();
        let are_equal = lines.len() == step.expected.len()
            && lines.iter().zip(&step.expected).all(|(line, expected)| fits(expected, line));
        assert!(are_equal, "$ {}\n{output}\ninstead of\n{}", step.command, step.expected.join("\n"));
    }
}

async fn buy(system: &System) {
    let token = system.log_in("alice").await;
    let (client, api) = (http(), format!("{}/api/v1/activation", system.url));
    let wish = serde_json::json!({"offer_id": system.members.offers[0]});
    let accepted = client.post(format!("{api}/")).bearer_auth(&token).json(&wish).send().await.unwrap();
    let accepted: serde_json::Value = accepted.json().await.unwrap();
    let status = format!("{api}/status/{}/", accepted["transaction_id"].as_str().unwrap());
    let status = client.get(status).bearer_auth(token).header("prefer", "wait=30").send().await.unwrap();
    assert!(status.text().await.unwrap().contains("SUCCESS"));
}

async fn everything_is_signed(system: &System) {
    let store = TreeStore::at(system.sandbox.database_url.parse().unwrap());
    eventually("all records are in a checkpoint", async || {
        let head = system.log.head().await.unwrap().unsigned_abs();
        store.newest().await.unwrap().is_some_and(|newest| newest.size == head)
    })
    .await;
}
