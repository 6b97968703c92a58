//! `offers check`: folds the whole log and compares everything that is derived from it.
//!
//! The service may be running: each part is compared at its own position. Exit code 0 if all is equal, 1 if not
//! (a sentence for each of the first fifty differences), 2 if the check failed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use domain::Recorded;
use domain::transaction::Transaction;
use projections::{Check, Readers, RedisHashes, StoredHash};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::output::Outcome;
use super::progress::Progress;
use crate::config::{Database, Redis};
use crate::event_log::{EventLog, Span, StreamId};
use crate::postgres::connect_options;
use crate::runtime::check_database;

/// Nothing is written back, so no hash is given a time to live.
const NO_TTL: Duration = Duration::ZERO;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    redis_server: Redis,
    /// Compare the existing Redis hashes too
    #[arg(long)]
    redis: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    report(&check(&args).await.context("the check could not be made")?)
}

async fn check(args: &Args) -> anyhow::Result<Check> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let url = args.database.url()?;
    check_database("OFFERS_DATABASE_URL", url.expose()).await?;
    let log = EventLog::at(url.expose(), &stop)?;
    let readers = Readers::at(connect_options(url.expose())?);
    let mut check = Check::default();
    // The long way first, so that the snapshot is held for less of it.
    fold_to(&mut check, &log, readers.checkpoint().read().await?).await?;
    compare(&mut check, &log, &readers).await?;
    if args.redis {
        let history = Arc::new(log.clone());
        let hashes = RedisHashes::open(args.redis_server.url()?.expose(), NO_TTL, history)?;
        compare_hashes(&mut check, &log, &hashes).await?;
    }
    Ok(check)
}

/// Compares the read tables and the balances, each at its own position. What is folded already must not be beyond the
/// read tables.
pub(super) async fn compare(check: &mut Check, log: &EventLog, readers: &Readers) -> anyhow::Result<()> {
    let snapshot = readers.snapshot().await?;
    fold_to(check, log, snapshot.position).await?;
    check.compare_read_tables(snapshot, log).await?;
    let (head, balances) = log.balances().await?;
    fold_to(check, log, head).await?;
    check.compare_balances(&balances);
    Ok(())
}

/// Compares every hash that is there with the stream of its transaction: also one that is newer than the read
/// tables, and one whose transaction does not exist.
pub(super) async fn compare_hashes(
    check: &mut Check,
    log: &EventLog,
    hashes: &RedisHashes,
) -> anyhow::Result<()> {
    let mut cursor = 0;
    let mut progress = Progress::of("hashes", 0);
    loop {
        let page = hashes.stored(cursor).await?;
        let ids = page.hashes.iter().filter_map(StoredHash::transaction_id);
        let streams: Vec<_> = ids.map(|id| StreamId::of::<Transaction>(id.0)).collect();
        let mut events: HashMap<String, Vec<Recorded>> = HashMap::new();
        for event in log.streams(&streams).await? {
            events.entry(event.aggregate_id.clone()).or_default().push(event);
        }
        let contained = page.checkpoint.map_or(0, |checkpoint| checkpoint.position);
        for hash in &page.hashes {
            let stream = hash.transaction_id().and_then(|id| events.get(&id.to_string()));
            check.compare_hash(hash, stream.map_or(&[], Vec::as_slice), contained)?;
        }
        progress.add(page.hashes.len() as u64);
        cursor = page.next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

/// Folds up to exactly `position`, which is the end of a commit.
async fn fold_to(check: &mut Check, log: &EventLog, position: i64) -> anyhow::Result<()> {
    let mut progress = Progress::of("events", (position - check.position()).max(0).unsigned_abs());
    let mut scan = log.scan(Span { after: check.position(), up_to: position });
    while let Some(page) = scan.next().await {
        let page = page?;
        check.fold(&page)?;
        progress.add(page.len() as u64);
    }
    anyhow::ensure!(check.position() == position, "the log ends before position {position}");
    Ok(())
}

fn report(check: &Check) -> anyhow::Result<Outcome> {
    let differences = check.differences();
    let is_equal = differences.count == 0;
    let verdict =
        if is_equal { "all equal".to_owned() } else { format!("{} differences", differences.count) };
    let lines = differences.examples.iter().cloned().chain([check.summary(), verdict]);
    let result = json!({
        "equal": is_equal,
        "position": check.position(),
        "differences": differences.count,
        "first_differences": differences.examples,
        "summary": check.summary(),
    });
    Ok(Outcome::done(lines.collect::<Vec<_>>().join("\n"), result)?.or_no(is_equal))
}
