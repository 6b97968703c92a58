//! `offers export`: the records of the log as a file.

mod csv;
mod file;
#[cfg(feature = "parquet")]
mod parquet;

use std::io;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use domain::Recorded;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::output::Outcome;
use super::progress::Progress;
use crate::config::Database;
use crate::event_log::{At, EventLog, Span};
use crate::runtime::check_database;
use file::Target;

/// Writes one record after the other. With `ndjson` each line without its newline is what the Merkle tree hashes. A role
/// that may only read the table `events` is enough.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    database: Database,
    /// The first record: a position, or a time in RFC 3339 (recorded then or later)
    #[arg(long)]
    from: Option<At>,
    /// The last record: a position, or a time in RFC 3339 (recorded before it) [default: the newest]
    #[arg(long)]
    to: Option<At>,
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// The file to write; it appears when it is complete [default: stdout]
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// One record line each: what `offers verify` reads
    Ndjson,
    /// A line with the names of the members, then one line each (RFC 4180)
    Csv,
    /// Needs a binary that was built with the feature `parquet`
    #[cfg(feature = "parquet")]
    Parquet,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let url = args.database.url()?;
    check_database("OFFERS_DATABASE_URL", url.expose()).await?;
    let log = EventLog::at(url.expose(), &stop)?;
    let span = span(&log, args.from, args.to).await?;
    let mut target = Target::open(args.out.as_deref())?;
    match export(&log, span, args.format, &mut target).await {
        Ok(()) => target.finish()?,
        // Whoever reads has read all that it wants.
        Err(cause) if is_closed_pipe(&cause) => return Ok(Outcome::SILENT),
        Err(cause) => return Err(cause),
    }
    let Some(out) = args.out else { return Ok(Outcome::SILENT) };
    let (records, out) = ((span.up_to - span.after).max(0), out.display().to_string());
    Outcome::done(
        format_args!("{records} records in {out}, up to position {}", span.up_to),
        json!({"records": records, "position": span.up_to, "file": out}),
    )
}

/// The part of the log that is meant, up to its head as it is now.
async fn span(log: &EventLog, from: Option<At>, to: Option<At>) -> anyhow::Result<Span> {
    let head = log.head().await?;
    for (flag, at) in [("--from", from), ("--to", to)] {
        if let Some(At::Position(position)) = at {
            ensure!(position <= head, "{flag}: position {position} is past the head of the log, {head}");
        }
    }
    let span = log.span(from, to).await?;
    let is_backwards = match (from, to) {
        (Some(At::Position(from)), Some(At::Position(to))) => from > to,
        _ => span.after > span.up_to,
    };
    ensure!(!is_backwards, "--from is after --to");
    Ok(Span { up_to: span.up_to.min(head), ..span })
}

async fn export(log: &EventLog, span: Span, format: Format, target: &mut Target) -> anyhow::Result<()> {
    let mut writer: Box<dyn Writer + '_> = match format {
        Format::Ndjson => Box::new(Lines(target)),
        Format::Csv => Box::new(csv::Csv::begin(target)?),
        #[cfg(feature = "parquet")]
        Format::Parquet => Box::new(parquet::Parquet::begin(target)?),
    };
    let mut scan = log.scan(span);
    let mut at = span.after;
    let mut progress = Progress::of("records", (span.up_to - at).max(0).unsigned_abs());
    while let Some(page) = scan.next().await {
        let page = page?;
        for event in &page {
            ensure!(event.position == at + 1, "the log is broken: position {} is missing", at + 1);
            at = event.position;
        }
        writer.write(&page).context("cannot write the export")?;
        progress.add(page.len() as u64);
    }
    ensure!(at >= span.up_to, "the log is broken: position {} is missing", at + 1);
    writer.end().context("cannot write the export")
}

/// One way to write records.
trait Writer {
    fn write(&mut self, page: &[Recorded]) -> io::Result<()>;

    fn end(self: Box<Self>) -> io::Result<()>;
}

struct Lines<'a>(&'a mut Target);

impl Writer for Lines<'_> {
    fn write(&mut self, page: &[Recorded]) -> io::Result<()> {
        let mut lines = String::with_capacity(page.len() * 800);
        for event in page {
            lines.push_str(&event.line());
            lines.push('\n');
        }
        io::Write::write_all(self.0, lines.as_bytes())
    }

    fn end(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn is_closed_pipe(cause: &anyhow::Error) -> bool {
    let io = cause.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
