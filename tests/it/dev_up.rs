//! `./dev`, behind its script: everything comes up, stays up, and continues after a kill -9.

use crate::support::door::Door;
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::up::{Up, ready};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[tokio::test]
async fn everything_comes_up_and_a_service_that_is_killed_comes_back() {
    let mut up = Up::start("service").await;
    let demo = up.demo().unwrap();
    assert!(ready(&demo).await);

    for name in ["log", "mail", "secrets"] {
        for path in below(&up.dir.join(name)).into_iter().chain([up.dir.join(name)]) {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "others can read {}", path.display());
        }
    }

    let simulate = |behaviour: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
        command.args(["dev", "simulate", behaviour, "--data-dir"]).arg(&up.dir).output().unwrap()
    };
    let control = format!("{}/_control", demo["external_url"].as_str().unwrap());
    let behaviour = async || http().get(&control).send().await.unwrap().json::<Value>().await.unwrap();
    assert!(simulate("silent").status.success());
    assert_eq!(behaviour().await["lie"], "silent");
    assert!(simulate("ok").status.success());
    assert_eq!(behaviour().await["lie"], Value::Null);
    assert_eq!(simulate("sideways").status.code(), Some(2));

    let mut verb = Command::new(env!("CARGO_BIN_EXE_offers"));
    verb.args(["dev", "exec", "--data-dir"]).arg(&up.dir).args(["--", "user", "show", "alice", "--json"]);
    let shown = verb.output().unwrap();
    let alice: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(alice["id"], demo["users"][0]["id"], "a verb is the demo administrator's, without a login");
    assert!(up.dir.join("secrets/logins.json").exists(), "and not in the home directory");

    let mut doctor = Command::new(env!("CARGO_BIN_EXE_offers"));
    doctor.args(["dev", "exec", "--data-dir"]).arg(&up.dir).args(["--", "doctor", "--json"]);
    let examined = doctor.output().unwrap();
    let found: Value = serde_json::from_slice(&examined.stdout).unwrap();
    assert_eq!((examined.status.code(), &found["well"]), (Some(0), &Value::Bool(true)), "{found}");
    let about =
        found["findings"].as_array().unwrap().iter().map(|finding| finding["about"].as_str().unwrap());
    assert!(about.collect::<Vec<_>>().ends_with(&["Redis", "NATS", "activation", "mail"]), "{found}");

    let api = demo["api_url"].as_str().unwrap();
    let document: Value =
        http().get(format!("{api}/openapi.json")).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["x-demo-logins"][2]["username"], "admin", "one click is enough");
    let activation =
        &document["paths"]["/api/v1/activation/"]["post"]["requestBody"]["content"]["application/json"];
    assert_eq!(activation["example"]["offer_id"], demo["offers"][0]);
    let credit = &document["paths"]["/api/v1/admin/accounts/{owner_id}/credit/"]["post"]["requestBody"];
    assert_eq!(credit["content"]["application/json"]["example"]["amount"], "5.00", "{credit}");
    let user = &document["paths"]["/api/v1/admin/users/{id}/"]["get"]["parameters"][0];
    assert_eq!(user["example"], demo["users"][0]["id"]);

    let alice = Door::at(api, 1).token("alice").await;
    let bought = http().post(format!("{api}/api/v1/activation/")).bearer_auth(&alice);
    let bought = bought.json(&json!({"offer_id": demo["offers"][2]})).send().await.unwrap();
    let bought: Value = bought.json().await.unwrap();
    let status = format!("{api}/api/v1/activation/status/{}/", bought["transaction_id"].as_str().unwrap());
    let is_active = async || {
        let status = http().get(&status).bearer_auth(&alice).send().await.unwrap();
        status.json::<Value>().await.unwrap()["status"] == "SUCCESS"
    };
    eventually("a subscription of 30 days begins", is_active).await;
    let dev = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
        command.arg("dev").args(args).arg("--json").arg("--data-dir").arg(&up.dir).output().unwrap()
    };
    assert_eq!(dev(&["clock", "-3d"]).status.code(), Some(2), "it never goes back");
    assert_eq!(dev(&["clock", "+27d"]).status.code(), Some(0));
    let told: Value = serde_json::from_slice(&dev(&["clock", "+1d"]).stdout).unwrap();
    assert_eq!(told["ahead_s"], 28 * 24 * 60 * 60);
    let last_mail = || {
        let mails: Value = serde_json::from_slice(&dev(&["mail"]).stdout).unwrap();
        mails["results"].as_array().unwrap().last().cloned().unwrap_or_default()
    };
    let is_told = async || last_mail()["subject"] == "Mobile Month 20 GB ends soon";
    eventually("alice is told that it ends soon", is_told).await;
    let number = last_mail()["number"].to_string();
    let mail: Value = serde_json::from_slice(&dev(&["mail", &number]).stdout).unwrap();
    assert!(mail["body"].as_str().unwrap().contains("Hello Alice"), "{mail}");
    assert!(mail["to"].as_str().unwrap().contains("alice@example.com"), "{mail}");

    let before = up.pid("serve").unwrap();
    kill_process(before, Signal::KILL).unwrap();
    eventually("it has another process", async || up.pid("serve").is_some_and(|now| now != before)).await;
    eventually("it is ready again", async || ready(&demo).await).await;

    let ended = up.terminate();
    assert!(ended.success(), "{ended}");
    assert!(up.demo().is_none(), "nothing claims to be ready");
    assert!(!ready(&demo).await);
    assert_eq!(up.pid("postgres"), None);
}

#[tokio::test]
async fn a_nats_server_that_hangs_is_restarted() {
    let up = Up::start("hang").await;
    let before = up.pid("nats").unwrap();
    kill_process(before, Signal::STOP).unwrap();
    eventually("it has another process", async || up.pid("nats").is_some_and(|now| now != before)).await;
    let demo = up.demo().unwrap();
    let nats_is_ok = async || {
        let url = format!("{}/readyz", demo["api_url"].as_str().unwrap());
        let answer = http().get(url).send().await.unwrap();
        answer.json::<Value>().await.is_ok_and(|ready| ready["parts"]["nats"] == "ok")
    };
    eventually("the service is connected again", nats_is_ok).await;
}

#[test]
fn demo_logins_are_offered_to_other_machines_only_when_asked() {
    let up = |listen: &str| {
        let dir = std::env::temp_dir().join(format!("offers-it-{}-up-nowhere", std::process::id()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
        command.args(["dev", "up", "--listen", listen, "--data-dir"]).arg(&dir);
        let output = command.output().unwrap();
        assert!(!output.status.success() && !dir.exists());
        String::from_utf8(output.stderr).unwrap()
    };
    for listen in ["0.0.0.0:0", "192.0.2.1:8080", "[::]:0"] {
        let said = up(listen);
        assert!(said.contains("--expose-demo-logins") && said.contains(listen), "{said}");
    }
}

/// Everything below `dir`.
fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { [vec![path.clone()], below(&path)].concat() } else { vec![path] })
        .collect()
}

#[tokio::test]
async fn after_a_kill_the_next_start_continues_on_the_same_data() {
    let mut up = Up::start("continue").await;
    let before = up.demo().unwrap();
    up.process.kill().unwrap();
    up.process.wait().unwrap();

    let again = up.restart().await;
    let after = again.demo().unwrap();
    assert!(ready(&after).await);
    for member in ["database_url", "users", "partner", "offers", "simulator_log"] {
        assert_eq!(after.get(member), before.get(member), "{member}");
    }
}
