//! `offers demo`: data for demonstrations and measurements.

use anyhow::Context;
use domain::Recorded;
use serde_json::json;
use std::time::Instant;

use super::output::{Outcome, Refused};
use super::progress::Progress;
use crate::clock::Clock;
use crate::devstack::DemoHistory;
use crate::event_log::{Fill, FillError};
use crate::postgres::connect_options;
use crate::runtime::check_database;

/// Events that are sent to PostgreSQL at once.
const CHUNK_EVENTS: usize = 10_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Fill an empty log with a believable history
    Generate(Generate),
}

/// Accounts, credits, offers, purchases, successes, refunds and subscriptions, with the balances that follow from
/// them. No users are created. Refused (exit code 1) if the log has events.
#[derive(Debug, clap::Args)]
pub(super) struct Generate {
    /// Events to write
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    events: u32,
    /// The same seed gives the same history, apart from its times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The URL of the database, as the role that owns it
    #[arg(long, env = "OFFERS_DATABASE_OWNER_URL", hide_env_values = true)]
    database_owner_url: String,
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<Outcome> {
    let Verb::Generate(args) = verb;
    generate(args).await
}

async fn generate(args: Generate) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    check_database("OFFERS_DATABASE_OWNER_URL", &args.database_owner_url).await?;
    let mut fill = match Fill::begin(&connect_options(&args.database_owner_url)?).await {
        Err(full @ FillError::NotEmpty) => return Err(Refused(full.into()).into()),
        begun => begun.context("OFFERS_DATABASE_OWNER_URL must be of the role that owns the database")?,
    };
    let events = usize::try_from(args.events)?;
    let mut history = DemoHistory::new(events, args.seed, Clock::system().now());
    let mut progress = Progress::of("events", u64::from(args.events));
    let mut chunk: Vec<Recorded> = Vec::with_capacity(CHUNK_EVENTS);
    loop {
        chunk.clear();
        while chunk.len() < CHUNK_EVENTS
            && let Some(commit) = history.next()
        {
            chunk.extend(commit);
        }
        if chunk.is_empty() {
            break;
        }
        fill.write(&chunk).await?;
        progress.add(chunk.len() as u64);
    }
    fill.commit(&history.balances(), history.now()).await?;
    drop(progress);
    let took = began.elapsed();
    Outcome::done(
        format_args!("{events} events after {took:.1?}"),
        json!({"events": events, "seconds": took.as_secs_f64()}),
    )
}
