//! `offers check`: folds the whole log and compares everything that is derived from it.
//!
//! The service may be running: each part is compared at its own position. Exit code 0 if all is equal, 1 if not
//! (a sentence for each of the first fifty differences), 2 if the check failed.

use std::process::ExitCode;
use std::time::Duration;

use projections::{Check, Readers, RedisHashes};
use tokio_util::sync::CancellationToken;

use crate::config::Servers;
use crate::event_log::{EventLog, PAGE_EVENTS};

/// Nothing is written back, so no hash is given a time to live.
const NO_TTL: Duration = Duration::ZERO;
/// The check failed.
const UNKNOWN: u8 = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    servers: Servers,
    /// Compare the existing Redis hashes too
    #[arg(long)]
    redis: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match check(&args).await {
        Ok(check) => Ok(report(&check)),
        Err(cause) => {
            println!("the check could not be made: {cause:#}");
            Ok(ExitCode::from(UNKNOWN))
        }
    }
}

async fn check(args: &Args) -> anyhow::Result<Check> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let url = args.servers.database_url()?;
    let log = EventLog::at(url.expose(), &stop)?;
    let readers = Readers::at(url.expose())?;
    let hashes = match args.redis {
        true => Some(RedisHashes::open(args.servers.redis_url()?.expose(), NO_TTL)?),
        false => None,
    };

    let mut check = Check::default();
    // The long way first, so that the snapshot is held for a short one only.
    fold_to(&mut check, &log, readers.checkpoint().read().await?).await?;
    let snapshot = readers.snapshot().await?;
    fold_to(&mut check, &log, snapshot.position).await?;
    check.compare_read_tables(snapshot, hashes.as_ref()).await?;
    let (head, balances) = log.balances().await?;
    fold_to(&mut check, &log, head).await?;
    check.compare_balances(&balances);
    Ok(check)
}

/// Folds up to exactly `position`, which is the end of a commit.
async fn fold_to(check: &mut Check, log: &EventLog, position: i64) -> anyhow::Result<()> {
    while check.position() < position {
        let mut page = log.page(check.position(), PAGE_EVENTS).await?;
        page.retain(|event| event.position <= position);
        anyhow::ensure!(!page.is_empty(), "the log ends before position {position}");
        check.fold(&page)?;
    }
    Ok(())
}

fn report(check: &Check) -> ExitCode {
    let differences = check.differences();
    for difference in &differences.examples {
        println!("{difference}");
    }
    println!("{}", check.summary());
    if differences.count == 0 {
        println!("all equal");
        return ExitCode::SUCCESS;
    }
    println!("{} differences", differences.count);
    ExitCode::FAILURE
}
