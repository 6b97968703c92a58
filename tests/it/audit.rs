//! History as an auditor sees it.

mod demo_history;
mod export;
pub(crate) mod filters;
mod guide;
mod tampering;
mod verifying;
mod witness;

use crate::support::service::{Service, send};
use crate::support::stack::Sandbox;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{AccountId, TransactionId};
use futures::{StreamExt, stream};
use offers::tree::SigningKey;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use uuid::Uuid;

const RECORD: &str = "position event_id aggregate_type aggregate_id sequence event_type event_version \
                      recorded_at payload metadata";

#[tokio::test]
async fn events_are_listed_in_log_order_with_their_leaf_hashes() {
    let service = Service::start().await;
    let auditor = service.person("auditor", &["auditor"]).await;
    service.rich("alice").await;
    service.offer("TV", 1000).await;
    let events = service.walk(&auditor, "/audit/events/?limit=1").await;
    let log = service.resources.log.page(0, 1000).await.unwrap();
    assert_eq!(events.len(), log.len());
    for (event, recorded) in events.iter().zip(&log) {
        let members: Vec<_> = event.as_object().unwrap().keys().cloned().collect();
        assert_eq!(members.join(" "), format!("{RECORD} leaf_hash"));
        assert_eq!(event["position"], recorded.position);
        let leaf = [b"\0", recorded.line().as_bytes()].concat();
        assert_eq!(event["leaf_hash"], STANDARD.encode(Sha256::digest(leaf)));
    }
}

#[tokio::test]
async fn events_are_narrowed() {
    let service = Service::start().await;
    let auditor = service.person("auditor", &["auditor"]).await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let count = async |query: String| service.walk(&auditor, &format!("/audit/events/?{query}")).await.len();
    assert_eq!(count("after=1&limit=2".into()).await, 3);
    assert_eq!(count("aggregate_type=Account".into()).await, 3);
    assert_eq!(count(format!("aggregate_id={}", alice.id)).await, 2);
    assert_eq!(count("event_type=Credited&limit=1".into()).await, 1);
    assert_eq!(count(format!("aggregate_type=Account&aggregate_id={tv}")).await, 0);
    let reply = service.get(&auditor, "/audit/events/?after=-1&aggregate_id=7").await;
    assert_eq!(reply.fields(), ["after", "aggregate_id"]);
}

#[tokio::test]
async fn the_stream_of_records_is_the_log_line_by_line() {
    let service = Service::start().await;
    let auditor = service.person("auditor", &["auditor"]).await;
    service.person("alice", &["user"]).await;
    let credits = stream::iter(0..1500).map(|_| service.pay_in(AccountId(Uuid::now_v7()), 1));
    credits.buffer_unordered(64).count().await;
    let records = async |query: &str| {
        let request = service.request(&auditor, Method::GET, &format!("/audit/events/{query}"));
        let reply = send(request.header("accept", "application/x-ndjson")).await;
        assert_eq!(reply.headers["content-type"], "application/x-ndjson");
        reply.text
    };
    let text = records("").await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1502);
    assert!(text.ends_with('\n'));
    for (line, position) in lines.iter().zip(1..) {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["position"], position);
        let members: Vec<_> = record.as_object().unwrap().keys().cloned().collect();
        assert_eq!(members.join(" "), RECORD);
    }
    let expected: String = text.lines().skip(1500).flat_map(|line| [line, "\n"]).collect();
    assert_eq!(records("?after=1500").await, expected);
    assert_eq!(records("?after=1502").await, "");
    assert_eq!(records("?event_type=Opened").await.lines().count(), 2);
}

#[tokio::test]
async fn a_transaction_is_shown_with_the_subscription_it_caused() {
    let service = Service::start().await;
    let (auditor, alice) = (service.person("auditor", &["auditor"]).await, service.rich("alice").await);
    let tv = service.offer("TV", 1000).await;
    let accepted = service.post(&alice, "/activation/", &json!({"offer_id": tv})).await;
    let id = accepted.id("transaction_id");
    service.succeed(TransactionId(id), &alice, tv).await;
    let reply = service.get(&auditor, &format!("/audit/transactions/{id}/")).await;
    let shown = reply.json();
    let events = shown["events"].as_array().unwrap();
    let types: Vec<_> = events.iter().map(|event| event["event_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["ActivationRequested", "Processing", "Succeeded", "Activated"]);
    let first = service.first_event(id).await;
    assert!(reply.text.contains(&first.line()), "a record, byte for byte");
    let path = format!("/audit/transactions/{}/", Uuid::now_v7());
    service.get(&auditor, &path).await.is(404, "transaction_not_found");
    service.get(&alice, &format!("/audit/transactions/{id}/")).await.is(403, "forbidden");
}

/// What a verb of the binary has printed, and how it ended.
pub(crate) struct Ran {
    args: String,
    output: Output,
}

impl Ran {
    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    #[track_caller]
    pub(crate) fn code(&self, code: i32) -> &Self {
        let (stdout, stderr) = (self.stdout(), self.stderr());
        assert_eq!(self.output.status.code(), Some(code), "{}: {stdout:.2000} {stderr}", self.args);
        self
    }

    /// On stderr.
    #[track_caller]
    fn says(&self, words: &str) -> &Self {
        assert!(self.stderr().contains(words), "{}: {:?} is not in {}", self.args, words, self.stderr());
        self
    }

    /// On stdout.
    #[track_caller]
    fn prints(&self, words: &str) -> &Self {
        assert!(
            self.stdout().contains(words),
            "{}: {:?} is not in {:.2000}",
            self.args,
            words,
            self.stdout()
        );
        self
    }
}

/// Runs `offers` on the databases of `sandbox`.
pub(crate) async fn cli(sandbox: &Sandbox, args: &[&str]) -> Ran {
    cli_with(sandbox, args, "").await
}

/// The same with something to read.
async fn cli_with(sandbox: &Sandbox, args: &[&str], stdin: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
    command
        .args(args)
        .env_clear()
        .env("OFFERS_DATABASE_URL", &sandbox.database_url)
        .env("OFFERS_DATABASE_OWNER_URL", &sandbox.database_owner_url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let stdin = stdin.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut running = command.spawn().unwrap();
        let _it_may_not_read = running.stdin.take().unwrap().write_all(stdin.as_bytes());
        running.wait_with_output().unwrap()
    });
    Ran { args: args.join(" "), output: output.await.unwrap() }
}

/// The key of the log of these tests.
fn signing_key() -> SigningKey {
    SigningKey::from_seed("log.example", [7; 32]).unwrap()
}

/// A directory for the files of one test.
fn files(sandbox: &Sandbox) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("offers-{}-{}", std::process::id(), sandbox.subjects));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
