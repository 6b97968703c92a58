//! The log in the database as the history, and what is derived from it.

use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use anyhow::{Context, ensure};
use domain::Recorded;
use projections::{Check, Readers};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::report::{self, DATABASE, Derived, Trust};
use super::{Args, threads};
use crate::cli::check;
use crate::cli::output::{self, Outcome};
use crate::cli::progress::Progress;
use crate::event_log::{EventLog, Scan, Span};
use crate::notary::TreeStore;
use crate::postgres::connect_options;
use crate::runtime::check_database;
use crate::telemetry::chain;
use crate::tree::{Hash, VerifierKey};
use crate::verify::{Batch, Checkpoints, Report, Verifier, in_order};

/// Pages that wait to be folded.
const PAGES_WAITING: usize = 2;
/// Checkpoints of the database that the log is held against, at most.
const STORED_CHECKPOINTS: i64 = 1_000;

pub(super) async fn verify(args: &Args, checkpoints: Checkpoints) -> anyhow::Result<Outcome> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let url = args.database.url()?;
    check_database("OFFERS_DATABASE_URL", url.expose()).await?;
    let log = EventLog::at(url.expose(), &stop)?;
    let store = TreeStore::at(connect_options(url.expose())?);
    let checkpoints = with_stored(&store, checkpoints, args.key.as_ref()).await?;
    let readers = match args.log_only {
        true => None,
        false => Some(Readers::at(connect_options(url.expose())?)),
    };
    let folded = match &readers {
        None => 0,
        Some(readers) => readers.checkpoint().read().await.context(NOT_COMPARABLE)?,
    };
    let head = log.head().await?;
    let history = History { scan: log.scan(Span { up_to: head, ..Span::ALL }), store, head };
    let trust = checkpoints.trust;
    let verifier = Verifier::new(checkpoints.all);
    let read = tokio::task::spawn_blocking(move || history.read(verifier, folded));
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
    report::tell(report, trust, args.key.as_ref(), derived)
}

const NOT_COMPARABLE: &str = "balances and read tables cannot be compared; --log-only verifies the log alone";

struct Known {
    all: Checkpoints,
    trust: Trust,
}

/// Adds the checkpoints that the database has itself: a sample of them, because there may be one for every second.
async fn with_stored(
    store: &TreeStore,
    kept: Checkpoints,
    key: Option<&VerifierKey>,
) -> anyhow::Result<Known> {
    let trust = if kept.is_empty() { Trust::TheDatabaseItself } else { Trust::Kept };
    let mut all = kept;
    let newest = match store.newest().await {
        Ok(newest) => newest,
        Err(cause) => {
            output::message(format_args!("the stored tree is not used: {}", chain(&cause)));
            return Ok(Known { trust: if all.is_empty() { Trust::Nothing } else { trust }, all });
        }
    };
    let Some(newest) = newest else {
        return Ok(Known { trust: if all.is_empty() { Trust::Nothing } else { trust }, all });
    };
    let key = match key {
        Some(key) => key.clone(),
        None => newest.key.parse().context("the key of the newest checkpoint in the database")?,
    };
    let sample = store.sample(&key.to_string(), STORED_CHECKPOINTS).await?;
    ensure!(
        !sample.is_empty(),
        "the database has no checkpoint of the key {key}, but some of {}",
        newest.key
    );
    for stored in sample {
        all.add(DATABASE, &stored.note, Some(&key))?;
    }
    Ok(Known { all, trust })
}

/// The log, and the tree that was stored while it grew.
struct History {
    scan: Scan,
    store: TreeStore,
    head: i64,
}

/// Events that follow one another, with the leaves that the stored tree has for them.
struct Page {
    events: Vec<Recorded>,
    leaves: Vec<Hash>,
}

impl History {
    /// Verifies all pages, and folds those up to the position `folded` for a comparison.
    fn read(
        mut self,
        mut verifier: Verifier,
        folded: i64,
    ) -> anyhow::Result<(Report, Result<Check, projections::Error>)> {
        let runtime = Handle::current();
        let mut progress = Progress::of("records", self.head.unsigned_abs());
        let (pages, inbox) = mpsc::sync_channel::<Arc<Page>>(PAGES_WAITING);
        let fold = thread::spawn(move || fold(inbox, folded));
        let source = || runtime.block_on(self.next());
        let work = |page: Arc<Page>| (Batch::of_events(&page.events), page);
        let take = |(batch, page): (Batch, Arc<Page>)| {
            progress.add(batch.length as u64);
            let flow = verifier.take(batch, &page.leaves);
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

    async fn next(&mut self) -> anyhow::Result<Option<Arc<Page>>> {
        let Some(events) = self.scan.next().await.transpose()? else { return Ok(None) };
        let after = events.first().map_or(0, |first| first.position.unsigned_abs().saturating_sub(1));
        // A tree that cannot be read is no worse than one that is not there.
        let leaves = self.store.leaves(after, events.len()).await.unwrap_or_default();
        Ok(Some(Arc::new(Page { events, leaves })))
    }
}

/// A fold that has failed takes nothing more; why it failed is told by the verifier, or by the comparison.
fn give(pages: &SyncSender<Arc<Page>>, page: Arc<Page>) {
    let _it_may_have_failed = pages.send(page);
}

fn fold(inbox: mpsc::Receiver<Arc<Page>>, up_to: i64) -> Result<Check, projections::Error> {
    let mut check = Check::default();
    for page in inbox {
        let end = page.events.partition_point(|event| event.position <= up_to);
        check.fold(&page.events[..end])?;
    }
    Ok(check)
}
