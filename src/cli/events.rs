//! `offers events tail`: the log as it grows.

use anyhow::ensure;
use domain::{Record, Recorded};
use tokio_util::sync::CancellationToken;

use super::output::{self, Outcome};
use crate::config::Database;
use crate::event_log::{At, EventLog, PAGE_EVENTS};
use crate::runtime::{Interruption, check_database};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Print events as they are recorded, until Ctrl-C
    Tail(Tail),
}

/// One line an event: position, time, aggregate, event, payload; with --json its record line. A role that may only read
/// the table `events` is enough.
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
}

pub(super) async fn run(verb: Verb, as_json: bool) -> anyhow::Result<Outcome> {
    let Verb::Tail(args) = verb;
    let mut interruption = Interruption::listen()?.or_hangup()?;
    tokio::select! {
        ended = tail(&args, as_json) => ended,
        () = interruption.wait() => Ok(Outcome::INTERRUPTED),
    }
}

async fn tail(args: &Tail, as_json: bool) -> anyhow::Result<Outcome> {
    refuse_unknown(&args.types)?;
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
        let wanted =
            page.iter().filter(|event| args.types.is_empty() || args.types.contains(&event.event_type));
        let lines: Vec<String> = wanted.map(|event| line(event, as_json)).collect();
        if !lines.is_empty() && !output::print_to_reader(&lines.join("\n"))? {
            return Ok(Outcome::SILENT);
        }
    }
}

fn line(event: &Recorded, as_json: bool) -> String {
    if as_json {
        return event.line();
    }
    let Record { position, recorded_at, aggregate_type, aggregate_id, event_type, payload, .. } = &**event;
    format!("{position}  {recorded_at}  {aggregate_type} {aggregate_id}  {event_type}  {payload}")
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
