//! `offers export` and `offers events tail`.

use super::{cli, files};
use crate::support::stack::{Sandbox, Stack};
use domain::{AccountId, Metadata, Money, Recorded, account};
use offers::event_log::{AggregateCommand, EventLog, Plan};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A log of so many events.
async fn filled(events: &str) -> (Sandbox, Vec<Recorded>) {
    let sandbox = Stack::get().await.sandbox().await;
    cli(&sandbox, &["demo", "generate", "--events", events]).await.code(0);
    let log = EventLog::at(&sandbox.database_url, &CancellationToken::new()).unwrap();
    let events = log.page(0, 100_000).await.unwrap();
    (sandbox, events)
}

fn lines(events: &[Recorded]) -> String {
    events.iter().flat_map(|event| [event.line(), "\n".to_owned()]).collect()
}

#[tokio::test]
async fn an_export_has_the_record_lines_of_its_part_of_the_log() {
    let (sandbox, events) = filled("6000").await;
    assert_eq!(cli(&sandbox, &["export"]).await.code(0).stdout(), lines(&events));
    let part = cli(&sandbox, &["export", "--from", "11", "--to", "5999"]).await;
    assert_eq!(part.code(0).stdout(), lines(&events[10..5999]));
    let moment = events[300].recorded_at;
    let (earlier, later): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| event.recorded_at < moment);
    let moment = moment.to_string();
    assert_eq!(cli(&sandbox, &["export", "--from", &moment]).await.stdout(), lines(&later));
    assert_eq!(cli(&sandbox, &["export", "--to", &moment]).await.stdout(), lines(&earlier));

    let path = file(&sandbox, "export.ndjson");
    let told = cli(&sandbox, &["export", "--to", "10", "--out", &path, "--json"]).await;
    let told: Value = serde_json::from_str(&told.code(0).stdout()).unwrap();
    assert_eq!((&told["records"], &told["position"]), (&10.into(), &10.into()));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(&earlier[..10]));
    cli(&sandbox, &["export", "--from", "6001"])
        .await
        .code(2)
        .says("position 6001 is past the head of the log, 6000");
    assert!(!std::path::Path::new(&format!("{path}.part")).exists());
}

fn file(sandbox: &Sandbox, name: &str) -> String {
    files(sandbox).join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_export_as_csv_has_the_same_members() {
    let (sandbox, events) = filled("40").await;
    let csv = cli(&sandbox, &["export", "--format", "csv"]).await.code(0).stdout();
    let mut lines = csv.lines();
    let header = "position,event_id,aggregate_type,aggregate_id,sequence,event_type,event_version,recorded_at,payload,metadata";
    assert_eq!(lines.next(), Some(header));
    for (line, event) in lines.zip(&events) {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let plain: Vec<&str> = line.splitn(9, ',').take(8).collect();
        let position = event.position.to_string();
        assert_eq!(
            (plain[0], plain[5], plain[7]),
            (&*position, &*event.event_type, &*event.recorded_at.to_string())
        );
        assert!(
            line.ends_with(&format!(",{},{}", quoted(&event.payload), quoted(&event.metadata))),
            "{line}"
        );
    }
    assert_eq!(csv.lines().count(), 41);
}

#[tokio::test]
async fn an_export_stops_at_a_missing_position_and_leaves_no_file() {
    let (sandbox, _) = filled("40").await;
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    for statement in ["alter table events disable trigger user", "delete from events where position = 17"] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    let path = file(&sandbox, "broken.ndjson");
    cli(&sandbox, &["export", "--out", &path]).await.code(2).says("position 17 is missing");
    assert!(!std::path::Path::new(&path).exists() && !std::path::Path::new(&format!("{path}.part")).exists());
}

/// Leaves the service's role of this database nothing but reading the events.
async fn restrict(sandbox: &Sandbox) {
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    for statement in
        ["revoke all on all tables in schema public from offers_app", "grant select on events to offers_app"]
    {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
}

#[tokio::test]
async fn a_role_that_may_only_read_the_events_follows_the_log_by_type() {
    let (sandbox, events) = filled("500").await;
    restrict(&sandbox).await;
    assert_eq!(cli(&sandbox, &["export"]).await.code(0).stdout(), lines(&events));
    let mut tail = Command::new(env!("CARGO_BIN_EXE_offers"))
        .args(["events", "tail", "--from", "1", "--type", "Opened,Credited", "--json"])
        .env_clear()
        .env("OFFERS_DATABASE_URL", &sandbox.database_url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(tail.stdout.take().unwrap()).lines();
    for event in events.iter().filter(|event| ["Opened", "Credited"].contains(&&*event.event_type)) {
        assert_eq!(told.next().unwrap().unwrap(), event.line());
    }
    let log = EventLog::at(&sandbox.database_owner_url, &CancellationToken::new()).unwrap();
    let account = AccountId(Uuid::now_v7());
    for command in [
        account::Command::Open { kind: account::Kind::User },
        account::Command::Credit { amount: Money::from_hundredths(1) },
    ] {
        let plan = Plan::new().command(AggregateCommand::Account(account, command));
        let committed = log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
        let event = log.event_at(committed.position().unwrap()).await.unwrap().unwrap();
        assert_eq!(told.next().unwrap().unwrap(), event.line());
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
    cli(&sandbox, &["events", "tail", "--type", "credited"])
        .await
        .code(2)
        .says("it must be one of Activated");
}
