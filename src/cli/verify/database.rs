//! The log in the database as the history, and what is derived from it.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, ensure};
use domain::Recorded;
use projections::{Check, Readers};
use tokio_util::sync::CancellationToken;

use super::report::{self, DATABASE, Derived, Trust};
use super::{Args, threads};
use crate::cli::check;
use crate::cli::output::{self, Outcome};
use crate::cli::progress::Progress;
use crate::event_log::EventLog;
use crate::notary::{LoggedHistory, TreeStore};
use crate::postgres::connect_options;
use crate::runtime::check_database;
use crate::telemetry::chain;
use crate::tree::VerifierKey;
use crate::verify::{Checkpoints, Report, Verifier};

/// Pages that wait to be folded.
const PAGES_WAITING: usize = 1;
/// Checkpoints of the database that the log is held against, at most.
const STORED_CHECKPOINTS: i64 = 1_000;

pub(super) async fn verify(args: &Args, checkpoints: Checkpoints) -> anyhow::Result<Outcome> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let url = args.database.url()?;
    check_database("OFFERS_DATABASE_URL", url.expose()).await?;
    let log = EventLog::at(url.expose(), &stop)?;
    let store = TreeStore::at(connect_options(url.expose())?);
    let (checkpoints, store) = with_stored(store, checkpoints, args.key.as_ref()).await?;
    let readers = match args.log_only {
        true => None,
        false => Some(Readers::at(connect_options(url.expose())?)),
    };
    let folded = match &readers {
        None => 0,
        Some(readers) => readers.checkpoint().read().await.context(NOT_COMPARABLE)?,
    };
    let history = LoggedHistory::open(&log, store).await?;
    let trust = checkpoints.trust;
    let verifier = Verifier::new(checkpoints.all);
    let read = tokio::task::spawn_blocking(move || read(history, verifier, folded));
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

/// Adds the checkpoints that the database has itself: a sample of them, because there may be one for every second. Gives
/// the store back if it can be read.
async fn with_stored(
    store: TreeStore,
    kept: Checkpoints,
    key: Option<&VerifierKey>,
) -> anyhow::Result<(Known, Option<TreeStore>)> {
    let mut all = kept;
    let without = if all.is_empty() { Trust::Nothing } else { Trust::Kept };
    let newest = match store.newest().await {
        Ok(Some(newest)) => newest,
        Ok(None) => return Ok((Known { all, trust: without }, Some(store))),
        Err(cause) => {
            output::message(format_args!("the stored tree is not used: {}", chain(&cause)));
            return Ok((Known { all, trust: without }, None));
        }
    };
    let trust = if all.is_empty() { Trust::TheDatabaseItself } else { Trust::Kept };
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
    Ok((Known { all, trust }, Some(store)))
}

/// Verifies all pages, and folds those up to the position `folded` for a comparison.
fn read(
    history: LoggedHistory,
    verifier: Verifier,
    folded: i64,
) -> anyhow::Result<(Report, Result<Check, projections::Error>)> {
    let mut progress = Progress::of("records", history.head().unsigned_abs());
    let (pages, inbox) = mpsc::sync_channel::<Arc<Vec<Recorded>>>(PAGES_WAITING);
    let fold = thread::spawn(move || fold(inbox, folded));
    let report = history.verify(verifier, threads(), |page| {
        progress.add(page.len() as u64);
        // A fold that has failed takes nothing more; why is told by the verifier, or by the comparison.
        let _it_may_have_failed = pages.send(page);
    });
    drop((pages, progress));
    let fold = fold.join().expect("folding does not panic");
    Ok((report?, fold))
}

fn fold(inbox: mpsc::Receiver<Arc<Vec<Recorded>>>, up_to: i64) -> Result<Check, projections::Error> {
    let mut check = Check::default();
    for page in inbox {
        let end = page.partition_point(|event| event.position <= up_to);
        check.fold(&page[..end])?;
    }
    Ok(check)
}
