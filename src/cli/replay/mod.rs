//! `offers replay`: builds what is derived from the log once more, or compares it. The service continues meanwhile.
//!
//! Only projections can be replayed: nothing here can reach a processor, so nobody is called, mailed or charged again.

mod as_of;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use projections::{Check, Error, HashProjector, Held, Readers, Rebuild, RedisHashes};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::check::compare_hashes;
use super::output::Outcome;
use super::progress::{self, Progress};
use crate::config::{Redis, parse_lifetime};
use crate::event_log::{EventLog, Span};
use crate::notary::TreeStore;
use crate::postgres::connect_options;
use crate::runtime::check_database;

/// Attempts to stop the live tables while long queries use them, or to copy hashes that the service copies too.
const TRIES: u32 = 30;
/// Between two attempts, so that queries behind them can continue.
const TRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to rebuild: the read tables beside the live ones, which they replace, then the Redis hashes from them; or
    /// what to compare [default: all]
    #[arg(value_enum)]
    projections: Vec<Projection>,
    /// Change nothing: compare the live ones with the log, field by field. Exit code 1 if anything differs
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    as_of: as_of::Subject,
    /// The URL of the database, as the role that owns it
    #[arg(long, env = "OFFERS_DATABASE_OWNER_URL", hide_env_values = true)]
    database_owner_url: String,
    #[command(flatten)]
    redis_server: Redis,
    /// How long Redis keeps the hash of a finished transaction
    #[arg(long, env = "OFFERS_STATUS_TTL", default_value = "7d", value_parser = parse_lifetime)]
    status_ttl: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Projection {
    ReadTables,
    Hashes,
    /// The Merkle tree and its checkpoints, with --check only: what was signed stays
    Tree,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    check_database("OFFERS_DATABASE_OWNER_URL", &args.database_owner_url).await?;
    let log = EventLog::at(&args.database_owner_url, &stop)?;
    if let Some(to) = args.as_of.to {
        return as_of::show(&args.as_of, to, &log).await;
    }
    anyhow::ensure!(
        args.check || !args.projections.contains(&Projection::Tree),
        "the tree is compared with --check, never replaced: what was signed stays. If only its tiles are wrong, remove them, \
         and the service makes them again (docs/operations.md)"
    );
    let replay = Replay { log, args };
    if replay.args.check { replay.check().await } else { replay.rebuild().await }
}

struct Replay {
    log: EventLog,
    args: Args,
}

impl Replay {
    async fn rebuild(&self) -> anyhow::Result<Outcome> {
        let (mut text, mut members) = (Vec::new(), Map::new());
        let began = Instant::now();
        if self.wants(Projection::ReadTables) {
            let rebuild = Rebuild::resume(connect_options(&self.args.database_owner_url)?, &self.log).await?;
            self.catch_up(&rebuild, i64::MAX).await?;
            let held = hold(&rebuild).await?;
            let position = self.catch_up(&rebuild, held.position).await?;
            held.switch().await?;
            text.push(format!(
                "the read tables are new, up to position {position}, after {:.1?}",
                began.elapsed()
            ));
            members.insert("position".to_owned(), position.into());
        }
        if self.wants(Projection::Hashes) {
            let position = self.copy_hashes().await?;
            text.push(format!("the hashes are new, up to position {position}"));
            members.insert("hashes_position".to_owned(), position.into());
        }
        members.insert("seconds".to_owned(), began.elapsed().as_secs_f64().into());
        Outcome::done(text.join("\n"), Value::Object(members))
    }

    /// Rebuilds the read tables up to exactly where the live ones are, and compares the two; the same with the tree.
    async fn check(&self) -> anyhow::Result<Outcome> {
        let mut found: Vec<String> = Vec::new();
        let mut count = 0;
        let mut members = Map::new();
        if self.wants(Projection::ReadTables) {
            let rebuild = Rebuild::begin(connect_options(&self.args.database_owner_url)?).await?;
            self.catch_up(&rebuild, rebuild.live_checkpoint().await?).await?;
            let held = hold(&rebuild).await?;
            let position = self.catch_up(&rebuild, held.position).await?;
            let comparing = progress::while_waiting("comparing the tables", None, held.compare(rebuild));
            for difference in comparing.await? {
                count += difference.rows;
                found.extend(difference.examples);
            }
            members.insert("position".to_owned(), position.into());
        }
        if self.wants(Projection::Hashes) {
            let mut check = Check::default();
            let hashes =
                RedisHashes::open(self.redis()?.expose(), self.args.status_ttl, Arc::new(self.log.clone()))?;
            compare_hashes(&mut check, &self.log, &hashes).await?;
            count += i64::try_from(check.differences().count)?;
            found.extend(check.differences().examples.iter().cloned());
        }
        if self.wants(Projection::Tree) {
            let mut progress = Progress::of("records", self.log.head().await?.unsigned_abs());
            let store = TreeStore::at(connect_options(&self.args.database_owner_url)?);
            let compared = store.compare(&self.log, |records| progress.add(records)).await?;
            count += i64::try_from(compared.differences)?;
            found.extend(compared.examples);
            members.insert("tree_size".to_owned(), compared.size.into());
        }
        members.insert("equal".to_owned(), (count == 0).into());
        members.insert("differences".to_owned(), count.into());
        members.insert("first_differences".to_owned(), json!(found));
        found.push(if count == 0 { "all equal".to_owned() } else { format!("{count} differences") });
        Ok(Outcome::done(found.join("\n"), Value::Object(members))?.or_no(count == 0))
    }

    fn wants(&self, projection: Projection) -> bool {
        self.args.projections.is_empty() || self.args.projections.contains(&projection)
    }

    /// Applies pages until the new tables are at `position` or at the head; returns their position.
    async fn catch_up(&self, rebuild: &Rebuild, position: i64) -> anyhow::Result<i64> {
        let mut at = rebuild.checkpoint().await?;
        let to = position.min(self.log.head().await?);
        let mut progress = Progress::of("events", u64::try_from(to - at).unwrap_or(0));
        let mut scan = self.log.scan(Span { after: at, up_to: to });
        while let Some(page) = scan.next().await {
            let page = page?;
            rebuild.apply(&page).await?;
            progress.add(page.len() as u64);
            at = page.last().map_or(at, |last| last.position);
        }
        Ok(at)
    }

    async fn copy_hashes(&self) -> anyhow::Result<i64> {
        let readers = Readers::at(connect_options(&self.args.database_owner_url)?);
        let log = Arc::new(self.log.clone());
        let projector = HashProjector::open(self.redis()?.expose(), readers, log, self.args.status_ttl)?;
        let mut copied = progress::while_waiting("filling Redis", None, projector.rebuild()).await;
        for _ in 0..TRIES {
            match copied {
                Err(Error::Overtaken { .. }) => tokio::time::sleep(TRY_PAUSE).await, // by the service's own copy
                copied => return copied.context("cannot fill Redis"),
            }
            copied = projector.checkpoint().await;
        }
        copied.context("cannot fill Redis: the service copies the hashes again and again")
    }

    fn redis(&self) -> anyhow::Result<crate::config::Secret> {
        self.args.redis_server.url().context("name read-tables to leave the hashes as they are")
    }
}

async fn hold(rebuild: &Rebuild) -> anyhow::Result<Held> {
    for _ in 0..TRIES {
        if let Some(held) = rebuild.hold().await? {
            return Ok(held);
        }
        tokio::time::sleep(TRY_PAUSE).await;
    }
    anyhow::bail!("the live tables are read without a pause: try again later")
}
