//! `offers export` and `offers events tail`.

use super::{RECORD, cli, files};
use crate::support::eventually::eventually;
use crate::support::languages::python_is_missing;
use crate::support::stack::{Sandbox, Stack};
use domain::{AccountId, Metadata, Money, OfferId, Record, Recorded, account, offer};
use offers::event_log::{AggregateCommand, EventLog, Plan};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Long enough for an event to be printed, if it is.
const SHORT: Duration = Duration::from_millis(200);

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
    assert!(!Path::new(&format!("{path}.part")).exists());
    cli(&sandbox, &["export", "--to", "6001", "--out", &path])
        .await
        .code(2)
        .says("--to: position 6001 is past the head of the log, 6000");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(&earlier[..10]), "the older export stays");
    let nowhere = file(&sandbox, "missing/export.ndjson");
    cli(&sandbox, &["export", "--out", &nowhere]).await.code(2).says("cannot create");
    for backwards in [["6", "5"], [&later[0].recorded_at.to_string(), "5"]] {
        let [from, to] = backwards;
        cli(&sandbox, &["export", "--from", from, "--to", to]).await.code(2).says("--from is after --to");
    }
}

fn file(sandbox: &Sandbox, name: &str) -> String {
    files(sandbox).join(name).to_str().unwrap().to_owned()
}

/// Prints the records of a CSV file as record lines, by a reader that is not ours.
const READ_CSV: &str = r#"
import csv, sys
header, *rows = csv.reader(open(sys.argv[1], newline="", encoding="utf-8"), strict=True)
texts = {"position", "sequence", "payload", "metadata"}
for row in rows:
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row), "a spreadsheet would compute it"
    print("{" + ",".join(f'"{name}":' + (cell if name in texts else f'"{cell}"') for name, cell in zip(header, row)) + "}")
"#;

/// The same of a Parquet file.
#[cfg(feature = "parquet")]
const READ_PARQUET: &str = r#"
import duckdb, sys
for (line,) in duckdb.execute("""
    select format('{{"position":{},"event_id":"{}","aggregate_type":"{}","aggregate_id":"{}","sequence":{},'
        || '"event_type":"{}","event_version":"{}","recorded_at":"{}","payload":{},"metadata":{}}}', position, event_id,
        aggregate_type, aggregate_id, sequence, event_type, event_version,
        strftime(recorded_at at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ'), payload, metadata)
    from read_parquet(?)""", [sys.argv[1]]).fetchall():
    print(line)
"#;

/// What a file in this format has, read by a script.
async fn read_back(sandbox: &Sandbox, format: &str, python: &Path, script: &str) -> String {
    let path = file(sandbox, &format!("export.{format}"));
    cli(sandbox, &["export", "--format", format, "--out", &path]).await.code(0);
    let run = Command::new(python).args(["-c", script, &path]).env("PYTHONIOENCODING", "utf-8").output();
    let run = run.unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// Records with all that a format could trip over.
async fn awkward(events: &str) -> (Sandbox, Vec<Recorded>) {
    let (sandbox, _) = filled(events).await;
    let log = EventLog::at(&sandbox.database_owner_url, &CancellationToken::new()).unwrap();
    for name in
        ["=1+1", "a, \"b\"", "one\r\ntwo\n", "+49 30", "@SUM(A1)", "Zwölf € 🎉", "\\", "'", "{}", "\t"]
    {
        let terms = offer::Terms {
            name: name.to_owned(),
            description: format!("{name},{name}"),
            price: Money::from_hundredths(500),
            duration_days: 1,
        };
        let create = AggregateCommand::Offer(OfferId(Uuid::now_v7()), offer::Command::Create(terms));
        log.commit(&Metadata::system("test", Uuid::now_v7()), Plan::new().command(create)).await.unwrap();
    }
    (sandbox, log.page(0, 100_000).await.unwrap())
}

#[tokio::test]
async fn an_export_as_csv_has_the_same_members() {
    if python_is_missing().await {
        return;
    }
    let (sandbox, events) = awkward("500").await;
    assert_eq!(read_back(&sandbox, "csv", Path::new("python3"), READ_CSV).await, lines(&events));
    let empty = cli(&sandbox, &["export", "--format", "csv", "--to", "0"]).await.code(0).stdout();
    assert_eq!(empty.trim_end().split(',').collect::<Vec<_>>().join(" "), RECORD);
}

/// More records than lie together in such a file.
#[cfg(feature = "parquet")]
#[tokio::test]
async fn an_export_as_parquet_has_the_same_members() {
    let Some(python) = crate::support::languages::python_with_packages().await else { return };
    let (sandbox, events) = awkward("60000").await;
    assert_eq!(read_back(&sandbox, "parquet", &python, READ_PARQUET).await, lines(&events));
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
    assert!(!Path::new(&path).exists() && !Path::new(&format!("{path}.part")).exists());
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
    let mut tail = Tail::start(&sandbox, &["--from", "1", "--type", "Opened,Credited", "--json"]);
    for event in events.iter().filter(|event| ["Opened", "Credited"].contains(&&*event.event_type)) {
        assert_eq!(tail.line().await, event.line());
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
        assert_eq!(tail.line().await, event.line());
    }
    cli(&sandbox, &["events", "tail", "--type", "credited"])
        .await
        .code(2)
        .says("it must be one of Activated");
}

#[tokio::test]
async fn the_log_is_followed_from_a_time_from_a_position_or_from_the_next_event_on() {
    let (sandbox, events) = filled("500").await;
    let text = |event: &Recorded| {
        let Record { position, recorded_at, aggregate_type, aggregate_id, event_type, payload, .. } =
            &**event;
        format!("{position}  {recorded_at}  {aggregate_type} {aggregate_id}  {event_type}  {payload}")
    };
    let moment = events[300].recorded_at;
    let later = events.iter().position(|event| event.recorded_at >= moment).unwrap();
    let mut from_moment = Tail::start(&sandbox, &["--from", &moment.to_string()]);
    let mut from_position = Tail::start(&sandbox, &["--from", "499"]);
    let mut two_types = Tail::start(&sandbox, &["--from", "1", "--type", "Created", "--type", "Failed"]);
    for event in &events[later..] {
        assert_eq!(from_moment.line().await, text(event));
    }
    for event in &events[498..] {
        assert_eq!(from_position.line().await, text(event));
    }
    for event in events.iter().filter(|event| ["Created", "Failed"].contains(&&*event.event_type)) {
        assert_eq!(two_types.line().await, text(event));
    }

    let mut next = Tail::start(&sandbox, &[]);
    let log = EventLog::at(&sandbox.database_owner_url, &CancellationToken::new()).unwrap();
    let mut first = None;
    eventually("it follows", async || {
        let open = account::Command::Open { kind: account::Kind::User };
        let plan = Plan::new().command(AggregateCommand::Account(AccountId(Uuid::now_v7()), open));
        log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
        first = timeout(SHORT, next.line()).await.ok();
        first.is_some()
    })
    .await;
    let position: i64 = first.unwrap().split("  ").next().unwrap().parse().unwrap();
    let event = log.event_at(position).await.unwrap().unwrap();
    assert!(position > 500 && event.event_type == "Opened", "{event:?}");
    cli(&sandbox, &["events", "tail", "--from", "99999"])
        .await
        .code(2)
        .says("--from: position 99999 is past the head of the log");
}

/// `offers events tail`, until it is dropped.
struct Tail {
    printed: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Tail {
    fn start(sandbox: &Sandbox, args: &[&str]) -> Self {
        let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_offers"))
            .args(["events", "tail"])
            .args(args)
            .env_clear()
            .env("OFFERS_DATABASE_URL", &sandbox.database_url)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let printed = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { printed, _process: process }
    }

    async fn line(&mut self) -> String {
        self.printed.next_line().await.unwrap().expect("it goes on until it is ended")
    }
}
