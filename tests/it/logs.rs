//! What stands in the logs: fixed names, and no secret.

use crate::outage::processes::{Serving, System};
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::nats_server::NatsServer;
use crate::support::service::PASSWORD;
use async_nats::jetstream;
use offers::clock::Clock;
use offers::identity::Actor;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A log file that goes with the test.
struct LogFile(PathBuf);

impl LogFile {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("offers-it-{}-{name}.log", std::process::id()));
        let _ = std::fs::remove_file(&path); // of an earlier run with our process id
        Self(path)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // it is temporary
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_json_with_fixed_names_and_without_secrets() {
    let file = LogFile::new("secrets");
    // Everything that this program says, and whatever its libraries say short of their wire dumps.
    let environment = vec![("RUST_LOG", "debug,offers=trace".to_owned())];
    let system = System::start_with(&[], Serving { environment, log: Some(file.0.clone()) }).await;
    let secrets = use_every_secret(&system).await;
    let text = file.text();
    assert!(text.contains("/api/v1/auth/login"), "the requests are logged: {text}");
    for (what, secret) in secrets {
        assert!(secret.len() > 5, "{what} is too short to look for");
        assert!(!text.contains(&secret), "{what} stands in the log: {}", line_with(&text, &secret));
    }
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        for member in ["timestamp", "level", "target"] {
            assert!(line[member].is_string(), "{member} in {line}");
        }
        if line["span"].is_object() && line["span"]["name"] == "request" {
            assert!(line["span"]["request_id"].is_string(), "{line}");
        }
    }
}

/// No server has anything yet: not the stream, not the mirror, not the consumers. The processors come first: the stream
/// that they look for is made once they have looked.
#[tokio::test(flavor = "multi_thread")]
async fn a_clean_start_warns_of_nothing() {
    let (file, nats) = (LogFile::new("clean"), NatsServer::start().await);
    let environment = vec![
        ("RUST_LOG", "info".to_owned()),
        ("OFFERS_NATS_URL", nats.url("app")),
        ("OFFERS_NATS_ANALYTICS_URL", nats.url("analytics_admin")),
        ("OFFERS_NATS_STREAM", "OFFERS_EVENTS".to_owned()),
        ("OFFERS_NATS_SUBJECTS", "offers.events".to_owned()),
        ("OFFERS_ROLES", "api,projector,processor,scheduler".to_owned()),
    ];
    let mut system = System::start_with(&[], Serving { environment, log: Some(file.0.clone()) }).await;
    let readyz = format!("{}/readyz", system.url);
    let ready = async || http().get(&readyz).send().await.unwrap().json::<Value>().await.unwrap();
    let looks =
        async || ready().await["parts"]["nats"].as_str().is_some_and(|state| state.contains("stream"));
    eventually("a processor has looked for the stream", looks).await;
    let all = "api,relay,projector,processor,scheduler".to_owned();
    system.start_another_with(&[("OFFERS_ROLES", all)]);
    let analytics = jetstream::new(nats.client("analytics_admin").await);
    eventually("everything works", async || {
        ready().await["status"] == "ok" && analytics.get_stream("OFFERS_EVENTS").await.is_ok()
    })
    .await;
    for line in file.text().lines() {
        let level = &serde_json::from_str::<Value>(line).unwrap()["level"];
        assert!(level == "INFO", "{line}");
    }
}

fn line_with<'a>(text: &'a str, secret: &str) -> &'a str {
    text.lines().find(|line| line.contains(secret)).unwrap_or_default()
}

/// A login, a refused one, a refresh, a partner's call and a wrong key; and what nobody may read of it.
async fn use_every_secret(system: &System) -> Vec<(&'static str, String)> {
    let client = http();
    let url = |path: &str| format!("{}/api/v1{path}", system.url);
    let login = json!({"username": "alice", "password": "alice-demo"});
    let grant = client.post(url("/auth/login/")).json(&login).send().await.unwrap();
    let grant: Value = grant.json().await.unwrap();
    let wrong = json!({"username": "alice", "password": PASSWORD});
    client.post(url("/auth/login/")).json(&wrong).send().await.unwrap();
    let refresh = client.post(url("/auth/refresh/")).json(&json!({"refresh": grant["refresh"]}));
    let renewed: Value = refresh.send().await.unwrap().json().await.unwrap();
    let token = |grant: &Value, member: &str| grant[member].as_str().unwrap().to_owned();
    client.get(url("/account/")).bearer_auth(token(&renewed, "access")).send().await.unwrap();
    let (now, by) = (Clock::system().now().utc(), Actor::system("test"));
    let partner = system.identity.create_partner("shop", None, &by, now).await.unwrap();
    let key = partner.key.api_key.expose_secret().to_owned();
    let (user, offer) = (&system.members.users[0], &system.members.offers[0]);
    let sale = json!({"user_id": user.id, "offer_id": offer, "amount": "5.00"});
    let wrong_key = key.replace(|c: char| c.is_ascii_lowercase(), "x");
    for key in [&key, &wrong_key] {
        let call = client.post(url("/partner/activate/")).header("authorization", format!("ApiKey {key}"));
        call.json(&sale).send().await.unwrap();
    }
    let of_url = |url: &str| url.split(['@', ':', '/']).find(|part| part.len() >= 24).map(str::to_owned);
    let servers = [&system.sandbox.database_url, &system.sandbox.redis_url, &system.sandbox.nats_url];
    let passwords = servers.into_iter().filter_map(|url| of_url(url));
    let mut secrets: Vec<(&'static str, String)> =
        passwords.map(|found| ("a server's password", found)).collect();
    assert!(!secrets.is_empty(), "the servers of the tests have passwords");
    secrets.extend([
        ("a password", "alice-demo".to_owned()),
        ("a wrong password", PASSWORD.to_owned()),
        ("an access token", token(&grant, "access")),
        ("a refresh token", token(&grant, "refresh")),
        ("its successor", token(&renewed, "refresh")),
        ("a partner's key", key),
        ("a wrong key", wrong_key),
        ("a webhook secret", partner.webhook_secret.expose_secret().to_owned()),
        ("a server key", "0123456789abcdef0123456789abcdef-tests".to_owned()),
    ]);
    secrets
}

#[test]
fn a_database_that_cannot_be_used_is_named_without_its_password() {
    let secret = "wery-secret-password-of-the-database";
    let refused = format!("postgres://offers_app:{secret}@127.0.0.1:1/offers");
    let malformed = format!("postgres//offers_app:{secret}@127.0.0.1/offers");
    // The one is waited for, with every other one the service ends.
    for (url, named) in [(refused, "does not answer"), (malformed, "OFFERS_DATABASE_URL")] {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_offers"))
            .arg("serve")
            .env_clear()
            .env("RUST_LOG", "debug")
            .env("OFFERS_LISTEN", "127.0.0.1:0")
            .env("OFFERS_DATABASE_URL", url)
            .env("OFFERS_REDIS_URL", format!("redis://:{secret}@127.0.0.1:1/0"))
            .env("OFFERS_NATS_URL", format!("nats://app:{secret}@127.0.0.1:1"))
            .env("OFFERS_EXTERNAL_URL", "http://127.0.0.1:1")
            .env("OFFERS_JWT_KEY", format!("{secret}-0123456789abcdef"))
            .env("OFFERS_WEBHOOK_KEY", format!("{secret}-fedcba9876543210"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut is_named = false;
        for line in BufReader::new(serve.stderr.take().unwrap()).lines().map(Result::unwrap) {
            assert!(!line.contains(secret), "{line}");
            if line.contains(named) {
                is_named = true;
                serve.kill().unwrap(); // the rest of what it said is read, too
            }
        }
        assert!(is_named && !serve.wait().unwrap().success(), "{named}");
    }
}
