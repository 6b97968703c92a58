//! `offers rebuild`: rebuilds the read tables from the log, next to the live ones, and then replaces those. The
//! service continues meanwhile.

use std::time::{Duration, Instant};

use projections::{Held, Rebuild};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::output::Outcome;
use crate::event_log::{EventLog, PAGE_EVENTS};
use crate::postgres::connect_options;
use crate::runtime::check_database;

/// Attempts to switch while long queries use the live tables.
const SWITCH_TRIES: u32 = 30;
/// Between two attempts, so that queries behind the switch can continue.
const SWITCH_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The URL of the database, as the role that owns it
    #[arg(long, env = "OFFERS_DATABASE_OWNER_URL", hide_env_values = true)]
    database_owner_url: String,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    check_database("OFFERS_DATABASE_OWNER_URL", &args.database_owner_url).await?;
    let log = EventLog::at(&args.database_owner_url, &stop)?;
    let rebuild = Rebuild::begin(connect_options(&args.database_owner_url)?).await?;
    catch_up(&rebuild, &log, i64::MAX).await?;
    let held = hold(&rebuild).await?;
    let position = catch_up(&rebuild, &log, held.position).await?;
    held.switch().await?;
    let took = began.elapsed();
    Outcome::done(
        format_args!("the read tables are new, up to position {position}, after {took:.1?}"),
        json!({"position": position, "seconds": took.as_secs_f64()}),
    )
}

/// Applies pages until the new tables are at `position` or at the head; returns their position.
async fn catch_up(rebuild: &Rebuild, log: &EventLog, position: i64) -> anyhow::Result<i64> {
    let mut at = rebuild.checkpoint().await?;
    while at < position {
        let page = log.page(at, PAGE_EVENTS).await?;
        let Some(last) = page.last() else { break };
        rebuild.apply(&page).await?;
        at = last.position;
    }
    Ok(at)
}

async fn hold(rebuild: &Rebuild) -> anyhow::Result<Held> {
    for _ in 0..SWITCH_TRIES {
        if let Some(held) = rebuild.hold().await? {
            return Ok(held);
        }
        tokio::time::sleep(SWITCH_PAUSE).await;
    }
    anyhow::bail!("the live tables are read without a pause: try again later")
}
