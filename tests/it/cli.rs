//! An administrator's work without HTTP: by the verbs of the binary, as `system:cli`. `verbs.rs` has those that go
//! through the API.

use crate::support::config::WEBHOOK_KEY;
use crate::support::eventually::eventually;
use crate::support::service::{PASSWORD, Service, Setting, Shop, send};
use crate::support::stack::{Sandbox, Stack};
use clap::CommandFactory;
use offers::cli::Cli;
use offers::tree::SigningKey;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use uuid::Uuid;

/// Runs `offers` on the sandbox's database with `stdin`.
async fn offers(sandbox: &Sandbox, args: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
    command.args(args).env_clear().env("OFFERS_DATABASE_URL", &sandbox.database_url);
    command.env("OFFERS_WEBHOOK_KEY", WEBHOOK_KEY).stdin(Stdio::piped());
    let (mut running, stdin) =
        (command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), stdin.to_owned());
    running.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    tokio::task::spawn_blocking(|| running.wait_with_output().unwrap()).await.unwrap()
}

async fn output_json(sandbox: &Sandbox, args: &[&str], stdin: &str) -> Value {
    let done = offers(sandbox, args, stdin).await;
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

async fn refused(sandbox: &Sandbox, args: &[&str], stdin: &str) -> String {
    let done = offers(sandbox, args, stdin).await;
    assert!(!done.status.success() && done.stdout.is_empty(), "{args:?}");
    String::from_utf8(done.stderr).unwrap()
}

async fn float(service: &Service, shop: &Shop) -> Value {
    let reply = send(service.request_by(shop, Method::GET, "/partner/balance/")).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()["balance"].clone()
}

#[tokio::test]
async fn a_user_is_made_and_buys_a_new_offer() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let create = ["user", "create", "carol", "--email", "carol@example.com", "--role", "user", "--json"];
    let carol = output_json(&sandbox, &create, &format!("{PASSWORD}\n")).await;
    assert_eq!((&carol["username"], &carol["roles"]), (&json!("carol"), &json!(["user"])));
    assert!(refused(&sandbox, &create, "another password\n").await.contains("taken"));
    let short = ["user", "create", "dave", "--email", "dave@example.com"];
    assert!(refused(&sandbox, &short, "short\n").await.contains("password"));
    assert!(refused(&sandbox, &short, "iloveyou\n").await.contains("commonest"));

    let offer = ["offer", "create", "TV", "--price", "19.99", "--days", "30", "--reason", "spring", "--json"];
    let tv = output_json(&sandbox, &offer, "").await;
    assert_eq!((&tv["price"], &tv["is_active"]), (&json!("19.99"), &json!(true)));
    let last = service.resources.log.event_at(tv["position"].as_i64().unwrap()).await.unwrap().unwrap();
    let metadata: Value = serde_json::from_str(&last.metadata).unwrap();
    assert_eq!((&metadata["actor"], &metadata["reason"]), (&json!("system:cli"), &json!("spring")));
    for wrong in
        [["", "1", "1"], ["TV", "-1", "1"], ["TV", "1", "0"], ["TV", "1", "3651"], ["a\nb", "1", "1"]]
    {
        refused(&sandbox, &["offer", "create", wrong[0], "--price", wrong[1], "--days", wrong[2]], "").await;
    }
    let body = json!({"username": "carol", "password": PASSWORD});
    let login = send(service.anonymous(Method::POST, "/api/v1/auth/login/").json(&body)).await;
    let token = login.json()["access"].as_str().unwrap().to_owned();
    let carol = crate::support::service::Person { id: carol["id"].as_str().unwrap().parse().unwrap(), token };
    service.pay_in(carol.id.into(), 5050).await;
    let bought = service.post(&carol, "/activation/", &json!({"offer_id": tv["id"]})).await;
    assert_eq!(bought.status, 202, "{}", bought.text);
    assert_eq!(service.balance(&carol).await, "30.51");
}

#[tokio::test]
async fn a_partner_is_made_and_its_keys_rotate() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let create = ["partner", "create", "Shop", "--callback-url", "https://shop.example/hook", "--json"];
    let made = output_json(&sandbox, &create, "").await;
    let id = made["id"].as_str().unwrap();
    let shop =
        |made: &Value| Shop { id: id.parse().unwrap(), key: made["api_key"].as_str().unwrap().to_owned() };
    let first = shop(&made);
    assert_eq!(float(&service, &first).await, "0.00");
    let now = service.app.clock.now().utc();
    let secrets = service.app.identity.webhook_secrets(first.id, now).await.unwrap();
    assert_eq!(secrecy::ExposeSecret::expose_secret(&secrets[0]), made["webhook_secret"].as_str().unwrap());

    let second = output_json(&sandbox, &["partner", "rotate", id, "--reason", "yearly", "--json"], "").await;
    assert_eq!(second["revoked"], json!([]));
    for live in [&first, &shop(&second)] {
        assert_eq!(float(&service, live).await, "0.00");
    }
    let third = output_json(&sandbox, &["partner", "rotate", id, "--revoke-others", "--json"], "").await;
    assert_eq!(third["revoked"].as_array().unwrap().len(), 2);
    assert_eq!(float(&service, &shop(&third)).await, "0.00");
    for dead in [&first, &shop(&second)] {
        let refused = async || {
            let reply = send(service.request_by(dead, Method::GET, "/partner/balance/")).await;
            reply.status == 401 && reply.code() == "token_invalid"
        };
        eventually("the other process knows that the key is revoked", refused).await;
    }
    let secret = output_json(&sandbox, &["partner", "rotate", id, "--webhook-secret", "--json"], "").await;
    assert_ne!(secret["webhook_secret"], made["webhook_secret"]);
    assert_eq!(service.app.identity.webhook_secrets(first.id, now).await.unwrap().len(), 2);

    refused(&sandbox, &["partner", "create", "Shop", "--callback-url", "ftp://shop.example"], "").await;
    assert!(refused(&sandbox, &["partner", "create", ""], "").await.contains("name"));
    refused(&sandbox, &["partner", "rotate", &Uuid::now_v7().to_string()], "").await;
    let lines = offers(&sandbox, &["partner", "create", "Lines"], "").await;
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert!(lines.lines().any(|line| line.starts_with("api_key         ofk_")), "{lines}");
}

/// The verbs that need nothing but a database, as a person calls them.
fn plain(args: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
    command.args(args).env_clear().envs(environment.iter().copied()).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn every_verb_tells_its_result_as_json() {
    let sandbox = Stack::get().await.sandbox().await;
    let environment = [
        ("OFFERS_DATABASE_URL", &*sandbox.database_url),
        ("OFFERS_DATABASE_OWNER_URL", &*sandbox.database_owner_url),
    ];
    for (args, member) in [
        (&["migrate"][..], "schema"),
        (&["check"], "equal"),
        (&["verify"], "sound"),
        (&["replay", "read-tables"], "position"),
        (&["replay", "read-tables", "--check"], "equal"),
        (&["dev", "status", "--data-dir", "/nonexistent"], "running"),
        (&["dev", "down", "--data-dir", "/nonexistent"], "running"),
        (&["dev", "reset", "--data-dir", "/nonexistent"], "running"),
    ] {
        let output = plain(args, &environment).arg("--json").output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(json.get(member).is_some(), "{args:?}: {json}");
        let lines = plain(args, &environment).output().unwrap();
        assert!(!lines.stdout.is_empty() && !lines.stdout.starts_with(b"{"), "{args:?}");
        assert_eq!(lines.status.code(), output.status.code());
    }
}

#[test]
fn a_verb_that_runs_until_it_is_ended_tells_where_it_listens_as_json() {
    let mut running = plain(&["simulator", "--listen", "127.0.0.1:0", "--json"], &[])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).unwrap();
    running.kill().unwrap();
    running.wait().unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert!(told["url"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{told}");
}

#[test]
fn completions_and_manual_name_every_verb() {
    let said = |args: &[&str]| {
        let output = plain(args, &[]).output().unwrap();
        assert_eq!((output.status.code(), said(&output)), (Some(0), String::new()), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let manual = said(&["man"]);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = said(&["completions", shell]);
        for verb in Cli::command().get_subcommands().map(clap::Command::get_name) {
            assert!(script.contains(verb), "{verb} is missing for {shell}");
            assert!(manual.contains(&format!("offers\\-{verb}")), "{verb} is missing in the manual");
        }
    }
    assert!(manual.contains("OFFERS_DATABASE_URL"), "its settings, too");
    assert_eq!(plain(&["completions", "tcsh"], &[]).output().unwrap().status.code(), Some(2));
    let json: Value = serde_json::from_str(&said(&["completions", "bash", "--json"])).unwrap();
    assert!(json["script"].as_str().unwrap().contains("complete -F"), "{json}");
}

#[tokio::test]
async fn a_reader_that_goes_away_is_survived_and_a_full_disk_is_an_error() {
    let sandbox = Stack::get().await.sandbox().await;
    let environment = [("OFFERS_DATABASE_URL", &*sandbox.database_url)];
    let mut running =
        plain(&["check"], &environment).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(running.stdout.take());
    let output = running.wait_with_output().unwrap();
    assert_eq!((output.status.code(), said(&output)), (Some(0), String::new()));

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = plain(&["check"], &environment).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("cannot write to stdout"), "{}", said(&output));
}

#[test]
fn without_postgresql_every_verb_says_that_it_was_refused() {
    let url = "postgres://offers_app:s3cret@127.0.0.1:9/offers";
    let environment = [("OFFERS_DATABASE_URL", url), ("OFFERS_DATABASE_OWNER_URL", url)];
    for args in [
        &["check"][..],
        &["demo", "generate", "--events", "1"],
        &["events", "tail"],
        &["export"],
        &["verify"],
        &["replay", "read-tables"],
        &["migrate"],
        &["user", "create", "carol", "--email", "carol@example.com"],
    ] {
        let output = plain(args, &environment).output().unwrap();
        let said = said(&output);
        assert!(output.stdout.is_empty() && output.status.code() == Some(2), "{args:?}: {:?}", output.status);
        assert!(said.contains("refused") && !said.contains("s3cret"), "{args:?}: {said}");
    }
}

#[test]
fn a_verb_shows_its_own_settings_only_and_says_what_is_wrong_with_an_amount() {
    let output = plain(&["user", "create", "--help"], &[]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("OFFERS_DATABASE_URL"), "{help}");
    assert!(!help.contains("OFFERS_NATS") && !help.contains("OFFERS_REDIS"), "{help}");

    let output = plain(&["account", "credit", "carol", "-5", "--reason", "x"], &[]).output().unwrap();
    assert!(said(&output).contains("'-5'") && said(&output).contains("AMOUNT"), "{}", said(&output));
    assert!(!said(&output).contains("unexpected argument"), "{}", said(&output));
}

#[test]
fn a_key_is_made_once_for_its_owner_alone() {
    let path = std::env::temp_dir().join(format!("offers-key-{}", std::process::id()));
    let _ = std::fs::remove_file(&path); // of an earlier run with our process id
    let file = path.to_str().unwrap();
    let generate = ["key", "generate", "--origin", "offers.example/log", "--out", file];
    let output = plain(&generate, &[]).output().unwrap();
    assert_eq!((output.status.code(), said(&output)), (Some(0), String::new()));
    let private = std::fs::read_to_string(&path).unwrap();
    let key: SigningKey = private.parse().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", key.verifier()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let again = plain(&generate, &[]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stdout.is_empty() && said(&again).contains("never replaced"), "{}", said(&again));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), private);
    std::fs::remove_file(&path).unwrap();

    let output = plain(&[&generate[..], &["--json"]].concat(), &[]).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["verifier_key"].as_str().unwrap().starts_with("offers.example/log+"), "{told}");
    assert!(!told.to_string().contains("PRIVATE"), "{told}");
    std::fs::remove_file(&path).unwrap();
    let wrong = ["key", "generate", "--origin", "my log", "--out", file];
    let output = plain(&wrong, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("has no space") && !path.exists(), "{}", said(&output));
}

#[tokio::test]
async fn a_refusal_is_1_and_what_cannot_be_done_is_2() {
    let sandbox = Stack::get().await.sandbox().await;
    let nobody = ["partner", "rotate", &Uuid::now_v7().to_string()];
    assert_eq!(offers(&sandbox, &nobody, "").await.status.code(), Some(1));
    let wrong = ["partner", "rotate", "nobody"];
    assert_eq!(offers(&sandbox, &wrong, "").await.status.code(), Some(2));
}

#[test]
fn a_service_that_dev_has_not_started_has_no_clock_that_can_be_moved() {
    for (name, value) in [("OFFERS_CLOCK_FILE", "/tmp/clock"), ("OFFERS_DOCS_EXAMPLES", "{}")] {
        let output =
            plain(&["serve"], &[(name, value), ("OFFERS_DATA_DIR", "/nonexistent")]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            said(&output).contains(&format!("{name} is for the service that ./dev starts")),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn a_misspelt_verb_of_dev_is_refused_before_anything_is_built() {
    let dev = concat!(env!("CARGO_MANIFEST_DIR"), "/dev");
    let output = Command::new(dev).arg("tets").env("PATH", "/usr/bin:/bin").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("there is no ./dev tets; did you mean ./dev test?"), "{}", said(&output));
    let script = std::fs::read_to_string(dev).unwrap();
    let (_, verbs) = script.split_once("\nverbs='").unwrap();
    let known: BTreeSet<&str> = verbs.split('\'').next().unwrap().split(' ').chain(["dev"]).collect();
    let cli = Cli::command();
    let verbs = cli.get_subcommands();
    assert_eq!(known, verbs.flat_map(clap::Command::get_name_and_visible_aliases).collect());
}
