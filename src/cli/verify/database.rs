//! The log in the database as the history, and what is derived from it.

use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use anyhow::Context;
use domain::Recorded;
use projections::{Check, Readers};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::report::{self, Derived};
use super::{Args, threads};
use crate::cli::check;
use crate::cli::output::Outcome;
use crate::cli::progress::Progress;
use crate::event_log::{EventLog, LogError, Scan, Span};
use crate::postgres::connect_options;
use crate::runtime::check_database;
use crate::verify::{Batch, Checkpoints, Report, Verifier, in_order};

/// Pages that wait to be folded.
const PAGES_WAITING: usize = 2;

pub(super) async fn verify(args: &Args, checkpoints: Checkpoints) -> anyhow::Result<Outcome> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let url = args.database.url()?;
    check_database("OFFERS_DATABASE_URL", url.expose()).await?;
    let log = EventLog::at(url.expose(), &stop)?;
    let is_vouched = !checkpoints.is_empty();
    let readers = match args.log_only {
        true => None,
        false => Some(Readers::at(connect_options(url.expose())?)),
    };
    let folded = match &readers {
        None => 0,
        Some(readers) => readers.checkpoint().read().await.context(NOT_COMPARABLE)?,
    };
    let head = log.head().await?;
    let scan = log.scan(Span { up_to: head, ..Span::ALL });
    let read = tokio::task::spawn_blocking(move || read(scan, head, Verifier::new(checkpoints), folded));
    let (report, fold) = read.await??;
    let mut derived = None;
    if let Some(readers) = readers.filter(|_| report.is_sound()) {
        let mut fold = fold?;
        check::compare(&mut fold, &log, &readers).await.context(NOT_COMPARABLE)?;
        let differences = fold.differences();
        derived = Some(Derived {
            summary: fold.summary(),
            differences: differences.count,
            examples: differences.examples.clone(),
        });
    }
    report::tell(report, is_vouched, args.key.as_ref(), derived)
}

const NOT_COMPARABLE: &str = "balances and read tables cannot be compared; --log-only verifies the log alone";

/// Verifies the pages of `scan`, and folds those up to the position `folded` for a comparison.
fn read(
    mut scan: Scan,
    head: i64,
    mut verifier: Verifier,
    folded: i64,
) -> anyhow::Result<(Report, Result<Check, projections::Error>)> {
    let runtime = Handle::current();
    let mut progress = Progress::of("records", head.unsigned_abs());
    let (pages, inbox) = mpsc::sync_channel::<Arc<Vec<Recorded>>>(PAGES_WAITING);
    let fold = thread::spawn(move || fold(inbox, folded));
    let source = || -> Result<Option<Arc<Vec<Recorded>>>, LogError> {
        runtime.block_on(scan.next()).transpose().map(|page| page.map(Arc::new))
    };
    let work = |page: Arc<Vec<Recorded>>| (Batch::of_events(&page), page);
    let take = |(batch, page): (Batch, Arc<Vec<Recorded>>)| {
        progress.add(batch.length as u64);
        let flow = verifier.take(batch, &[]);
        if flow.is_continue() {
            give(&pages, page);
        }
        flow
    };
    let read = in_order(threads(), source, work, take);
    drop((pages, progress));
    let fold = fold.join().expect("folding does not panic");
    read?;
    Ok((verifier.finish(), fold))
}

/// A fold that has failed takes nothing more; why it failed is told by the verifier, or by the comparison.
fn give(pages: &SyncSender<Arc<Vec<Recorded>>>, page: Arc<Vec<Recorded>>) {
    let _it_may_have_failed = pages.send(page);
}

fn fold(inbox: mpsc::Receiver<Arc<Vec<Recorded>>>, up_to: i64) -> Result<Check, projections::Error> {
    let mut check = Check::default();
    for page in inbox {
        let end = page.partition_point(|event| event.position <= up_to);
        check.fold(&page[..end])?;
    }
    Ok(check)
}
