//! `offers events tail`: the log as it grows.

use std::time::Duration;

use anyhow::{Context, ensure};
use domain::Record;
use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::output::{self, Outcome};
use crate::config::{ApiAccess, Database};
use crate::event_log::{At, EventLog, PAGE_EVENTS};
use crate::runtime::{Interruption, check_database};

/// Between two looks through the API.
const POLL: Duration = Duration::from_secs(1);
/// Events that are asked for at once through the API.
const PAGE: i64 = 1_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Print events as they are recorded, until Ctrl-C
    Tail(Tail),
}

/// One line an event: position, time, aggregate, event, payload; with --json its record line. From the database, as a role
/// that may read the table `events`; without OFFERS_DATABASE_URL through the API, as an auditor or an administrator.
#[derive(Debug, clap::Args)]
pub(super) struct Tail {
    #[command(flatten)]
    database: Database,
    /// Only events of this type, such as `Succeeded`; may be given several times
    #[arg(long = "type", value_delimiter = ',')]
    types: Vec<String>,
    /// The first event: a position, or a time in RFC 3339 (recorded then or later) [default: the next one]
    #[arg(long)]
    from: Option<At>,
    #[command(flatten)]
    api: ApiAccess,
}

pub(super) async fn run(verb: Verb, as_json: bool) -> anyhow::Result<Outcome> {
    let Verb::Tail(args) = verb;
    refuse_unknown(&args.types)?;
    let mut interruption = Interruption::listen()?.or_hangup()?;
    let tail = async {
        match args.database.is_given() {
            true => tail_database(&args, as_json).await,
            false => tail_api(&args, as_json).await,
        }
    };
    tokio::select! {
        ended = tail => ended,
        () = interruption.wait() => Ok(Outcome::INTERRUPTED),
    }
}

async fn tail_database(args: &Tail, as_json: bool) -> anyhow::Result<Outcome> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let url = args.database.url()?;
    check_database("OFFERS_DATABASE_URL", url.expose()).await?;
    let log = EventLog::at(url.expose(), &stop)?;
    let head = log.head().await?;
    let mut after = match args.from {
        None => head,
        from => log.span(from, None).await?.after,
    };
    ensure!(after <= head, "--from: position {} is past the head of the log, {head}", after + 1);
    let mut feed = log.feed();
    loop {
        let page = feed.next(after, PAGE_EVENTS).await?;
        after = page.last().map_or(after, |event| event.position);
        let wanted = page.iter().filter(|event| args.wants(&event.event_type));
        let lines: Vec<String> =
            wanted.map(|event| if as_json { event.line() } else { line(event) }).collect();
        if !lines.is_empty() && !output::print_to_reader(&lines.join("\n"))? {
            return Ok(Outcome::SILENT);
        }
    }
}

async fn tail_api(args: &Tail, as_json: bool) -> anyhow::Result<Outcome> {
    let api = Api::open(&args.api)?;
    let mut after = before_first(&api, args.from).await?;
    loop {
        let (from, to) = (after.to_string(), after.saturating_add(PAGE).to_string());
        let page = api.lines(&["audit", "events"], &[("after", &from), ("to", &to)]).await?;
        let mut lines = Vec::new();
        for record in page.lines() {
            let event: Value = serde_json::from_str(record).context("the service sent no record")?;
            after = event["position"].as_i64().context("the service sent a record without a position")?;
            if args.wants(event["event_type"].as_str().unwrap_or_default()) {
                lines.push(if as_json { record.to_owned() } else { line_of_json(&event) });
            }
        }
        if !lines.is_empty() && !output::print_to_reader(&lines.join("\n"))? {
            return Ok(Outcome::SILENT);
        }
        if page.is_empty() {
            sleep(POLL).await;
        }
    }
}

/// The position before the first event that is wanted: without `from` the size of the newest checkpoint, which is at most a
/// second old.
async fn before_first(api: &Api, from: Option<At>) -> anyhow::Result<i64> {
    match from {
        Some(At::Position(position)) => Ok(position - 1),
        Some(At::Time(time)) => loop {
            let time = time.to_string();
            let first = api.get(&["audit", "events"], &[("from", &time), ("limit", "1")]).await?;
            if let Some(position) = first["results"][0]["position"].as_i64() {
                return Ok(position - 1);
            }
            sleep(POLL).await;
        },
        None => {
            let checkpoint = api.lines(&["audit", "checkpoint"], &[]).await;
            let checkpoint = checkpoint.context("give --from: no checkpoint says where the log ends")?;
            let size = checkpoint.lines().nth(1).and_then(|size| size.parse().ok());
            size.context("the service sent no checkpoint")
        }
    }
}

impl Tail {
    fn wants(&self, event_type: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|wanted| wanted == event_type)
    }
}

fn line(record: &Record) -> String {
    let Record { position, recorded_at, aggregate_type, aggregate_id, event_type, payload, .. } = record;
    format!("{position}  {recorded_at}  {aggregate_type} {aggregate_id}  {event_type}  {payload}")
}

fn line_of_json(event: &Value) -> String {
    let text = |member: &str| event[member].as_str().unwrap_or_default();
    format!(
        "{}  {}  {} {}  {}  {}",
        event["position"],
        text("recorded_at"),
        text("aggregate_type"),
        text("aggregate_id"),
        text("event_type"),
        event["payload"]
    )
}

fn refuse_unknown(types: &[String]) -> anyhow::Result<()> {
    let mut known: Vec<String> = domain::schema::events().into_iter().map(|event| event.event_type).collect();
    known.sort();
    known.dedup();
    for name in types {
        ensure!(known.contains(name), "--type {name}: it must be one of {}", known.join(", "));
    }
    Ok(())
}
