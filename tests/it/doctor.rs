//! `offers doctor`: what is wrong is named, with what to do about it. `dev_up.rs` has one that finds all well.

use crate::support::config::WEBHOOK_KEY;
use crate::support::stack::{Sandbox, Stack};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::process::Stdio;
use tokio::process::Command;

/// Runs it as `offers serve` would run on `sandbox`, with `changes`; returns its exit code and what it said.
async fn doctor(sandbox: &Sandbox, changes: &[(&str, &str)]) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
    command.args(["doctor", "--json", "--listen", "127.0.0.1:0"]).env_clear().stdin(Stdio::null());
    command
        .env("OFFERS_DATABASE_URL", &sandbox.database_url)
        .env("OFFERS_REDIS_URL", &sandbox.redis_url)
        .env("OFFERS_NATS_URL", &sandbox.nats_url)
        .env("OFFERS_JWT_KEY", "fedcba9876543210fedcba9876543210")
        .env("OFFERS_WEBHOOK_KEY", WEBHOOK_KEY)
        .env("OFFERS_ROLES", "api,relay,projector")
        .envs(changes.iter().copied());
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(!said.contains(WEBHOOK_KEY) && !said.contains("fedcba98"), "{said}");
    (output.status.code(), serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}: {output:?}")))
}

/// The findings about one thing with one verdict, as text.
fn found(said: &Value, about: &str, verdict: &str) -> String {
    let findings = said["findings"].as_array().unwrap().iter();
    let wanted = findings.filter(|finding| finding["about"] == about && finding["verdict"] == verdict);
    wanted.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn versions_rights_and_the_clock_are_told_and_a_missing_migration_is_wrong() {
    let sandbox = Stack::get().await.sandbox().await;
    let owner = ("OFFERS_DATABASE_OWNER_URL", &*sandbox.database_owner_url);
    let (code, said) = doctor(&sandbox, &[owner]).await;
    for (about, part) in [
        ("settings", "complete for the roles api"),
        ("PostgreSQL", " answers"),
        ("Redis", " answers"),
        ("NATS", "nats-server 2."),
        ("clock", "differs from ours by "),
        ("rights", "may add events, and change or delete none"),
        ("schema", "every migration is applied"),
    ] {
        assert!(found(&said, about, "ok").contains(part), "{about}: {said}");
    }
    assert!(
        found(&said, "PostgreSQL", "wrong").contains("fsync is off"),
        "as on every test's server: {said}"
    );
    assert_eq!((code, &said["well"]), (Some(1), &Value::Bool(false)));
    assert_eq!(said["settings"]["OFFERS_WEBHOOK_KEY"], "(set)");
    assert_eq!(said["settings"]["OFFERS_ROLES"], "api,relay,projector");
    let answers = said["findings"].as_array().unwrap().iter().filter(|finding| finding["took_ms"].is_u64());
    assert_eq!(answers.count(), 3, "{said}");

    let mut connection = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    let last = "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)";
    sqlx::raw_sql(last).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let missing = found(&doctor(&sandbox, &[owner]).await.1, "schema", "wrong");
    assert!(missing.contains("not applied: 0") && missing.contains("run offers migrate"), "{missing}");
}

#[tokio::test]
async fn servers_that_do_not_answer_and_a_role_that_may_too_much_are_wrong_with_what_to_do() {
    let sandbox = Stack::get().await.sandbox().await;
    let changes = [
        ("OFFERS_DATABASE_URL", &*sandbox.database_owner_url),
        ("OFFERS_REDIS_URL", "redis://:s3cret@127.0.0.1:9"),
        ("OFFERS_NATS_URL", "nats://app:s3cret@127.0.0.1:9"),
        ("OFFERS_EXTERNAL_URL", "http://127.0.0.1:9"),
        ("OFFERS_SMTP_URL", "smtp://127.0.0.1:9"),
        ("OFFERS_MAIL_FROM", "offers@example.com"),
        ("OFFERS_ROLES", "api,processor"),
        ("OFFERS_WEBHOOK_KEY", "demo-0123456789abcdef0123456789abcdef"),
    ];
    let (code, said) = doctor(&sandbox, &changes).await;
    for (about, part) in [
        ("settings", "OFFERS_WEBHOOK_KEY is a demo secret"),
        ("rights", "could change history: it may update events"),
        ("Redis", "OFFERS_REDIS_URL"),
        ("NATS", "OFFERS_NATS_URL"),
        ("activation", "OFFERS_EXTERNAL_URL"),
        ("mail", "OFFERS_SMTP_URL"),
    ] {
        assert!(found(&said, about, "wrong").contains(part), "{about}: {said}");
    }
    assert_eq!(code, Some(1));
    assert!(!said.to_string().contains("s3cret"), "{said}");

    let changes =
        [("OFFERS_DATABASE_URL", "postgres://app:s3cret@127.0.0.1:9/offers"), ("OFFERS_NATS_URL", "")];
    let (code, said) = doctor(&sandbox, &changes).await;
    assert_eq!(code, Some(1));
    assert!(found(&said, "PostgreSQL", "wrong").contains("refused"), "{said}");
    assert!(found(&said, "settings", "wrong").contains("OFFERS_NATS_URL is not set"), "{said}");
}
