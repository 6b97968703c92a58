//! `offers witness`: what it keeps, and what it refuses to keep.

use super::{Ran, cli, files, signing_key};
use crate::support::stack::{Sandbox, Stack};
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use offers::tree::{Builder, Plan, SignedCheckpoint, SigningKey, Tile, leaf_hash};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// A log that says what the test wants.
#[derive(Clone)]
struct Log(Arc<Mutex<(Vec<String>, SigningKeyOf)>>);

#[derive(Clone, Copy)]
enum SigningKeyOf {
    Ours,
    AForger,
}

impl Log {
    fn tree(&self) -> (Builder, Vec<Tile>) {
        let (mut tree, mut tiles) = (Builder::default(), Vec::new());
        for line in &self.0.lock().unwrap().0 {
            tiles.extend(tree.push(leaf_hash(line)));
        }
        tiles.extend(tree.growing_tiles().collect::<Vec<_>>());
        (tree, tiles)
    }

    fn say(&self, change: impl FnOnce(&mut Vec<String>)) {
        change(&mut self.0.lock().unwrap().0);
    }
}

async fn checkpoint(State(log): State<Log>) -> String {
    let (tree, _) = log.tree();
    let key = match log.0.lock().unwrap().1 {
        SigningKeyOf::Ours => signing_key(),
        SigningKeyOf::AForger => SigningKey::from_seed("log.example", [9; 32]).unwrap(),
    };
    SignedCheckpoint::sign(tree.size(), tree.root(), &key).to_string()
}

async fn login(Json(body): Json<Value>) -> Json<Value> {
    assert_eq!(body, json!({"username": "auditor", "password": "secret"}));
    Json(json!({"access": "token"}))
}

async fn consistency(State(log): State<Log>, Query(query): Query<HashMap<String, u64>>) -> String {
    let plan = Plan::consistency(query["from"], query["to"]).unwrap();
    let hashes = plan.hashes(&log.tree().1.into_iter().collect()).unwrap();
    hashes.iter().map(|hash| format!("{hash}\n")).collect()
}

async fn serve(log: Log) -> String {
    let api = Router::new()
        .route("/api/v1/audit/checkpoint/", get(checkpoint))
        .route("/api/v1/auth/login/", post(login))
        .route("/api/v1/audit/consistency/", get(consistency))
        .with_state(log);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, api).await });
    url
}

struct Witness {
    sandbox: Sandbox,
    url: String,
    store: String,
}

impl Witness {
    async fn look(&self) -> Ran {
        let key = signing_key().verifier().to_string();
        let login = ["--username", "auditor", "--password", "secret"];
        let args = ["witness", "--url", &self.url, "--key", &key, "--store", &self.store];
        cli(&self.sandbox, &[&args[..], &login].concat()).await
    }

    fn kept(&self) -> String {
        std::fs::read_to_string(&self.store).unwrap_or_default()
    }

    async fn refuses(&self, why: &str) {
        let kept = self.kept();
        self.look().await.code(1).says("HISTORY WAS REWRITTEN").says(why);
        assert_eq!(self.kept(), kept, "nothing was kept");
    }
}

#[tokio::test]
async fn a_witness_keeps_what_continues_and_refuses_a_rewritten_history() {
    let lines = (1..=9).map(|position| format!("{{\"position\":{position}}}")).collect();
    let log = Log(Arc::new(Mutex::new((lines, SigningKeyOf::Ours))));
    let sandbox = Stack::get().await.sandbox().await;
    let store = files(&sandbox).join("witness").to_str().unwrap().to_owned();
    let witness = Witness { sandbox, url: serve(log.clone()).await, store };
    witness.look().await.code(0).prints("9 records: kept in");
    witness.look().await.code(0).prints("9 records: kept already");
    log.say(|lines| lines.extend((10..=300).map(|position| format!("{{\"position\":{position}}}"))));
    witness.look().await.code(0).prints("300 records: kept in");
    assert_eq!(witness.kept().matches("\n— log.example ").count(), 2);

    log.say(|lines| lines[6].push(' ')); // of the same size
    witness.refuses("the log of 300 records does not continue that of 300").await;
    log.say(|lines| lines.push("more".to_owned())); // and grown since
    witness.refuses("the log of 301 records does not continue that of 300").await;
    log.say(|lines| lines.truncate(200));
    witness.refuses("there were 300 records, and now there are 200").await;
    log.0.lock().unwrap().1 = SigningKeyOf::AForger;
    witness.refuses("is not signed by the key").await;

    std::fs::write(&witness.store, &witness.kept()[..100]).unwrap();
    witness.look().await.code(2).says("witness: line");
    let silent = Witness { url: "http://127.0.0.1:9".to_owned(), ..witness };
    silent.look().await.code(2);
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_checkpoint_in_the_file_of_a_witness() {
    let log = Log(Arc::new(Mutex::new((vec!["1".to_owned()], SigningKeyOf::Ours))));
    let sandbox = Stack::get().await.sandbox().await;
    let store = files(&sandbox).join("witness").to_str().unwrap().to_owned();
    let witness = Witness { sandbox, url: serve(log.clone()).await, store };
    witness.look().await.code(0);
    let kept = witness.kept();
    log.say(|lines| lines.push("2".to_owned()));
    // A file may not have more than one block of 512 bytes: after a few checkpoints there is no room for a whole one.
    let script = r#"trap '' XFSZ; ulimit -f 1; exec "$0" "$@""#;
    let key = signing_key().verifier().to_string();
    let args = ["witness", "--url", &witness.url, "--key", &key, "--store", &witness.store];
    let mut codes = Vec::new();
    while codes.last() != Some(&Some(2)) {
        assert!(codes.len() < 12, "it always fits: {codes:?}");
        let mut shell = std::process::Command::new("sh");
        let login = ["--username", "auditor", "--password", "secret"];
        shell.args(["-c", script, env!("CARGO_BIN_EXE_offers")]).args(args).args(login);
        codes.push(tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap().status.code());
        log.say(|lines| lines.push("more".to_owned()));
    }
    assert!(witness.kept().starts_with(&kept) && witness.kept().ends_with('\n'));
    witness.look().await.code(0).prints("kept in");
}
