//! `offers dev clock`: moves the clock of the service that runs on a data directory, so that what comes in days is seen now.

use std::time::Duration;

use anyhow::bail;
use serde_json::json;

use super::Directory;
use crate::cli::output::Outcome;
use crate::clock::Clock;
use crate::config::parse_duration;
use crate::devstack;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// How far ahead, in addition to before, such as +3d or +90m; without it the time is told
    #[arg(value_parser = ahead)]
    by: Option<Duration>,
    #[command(flatten)]
    directory: Directory,
}

/// Never back: the service has told the later time.
fn ahead(text: &str) -> Result<Duration, String> {
    let Some(duration) = text.strip_prefix('+') else {
        return Err("write + and a duration, such as +3d".to_owned());
    };
    parse_duration(duration)
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let dir = &args.directory.dir;
    let status = devstack::status(dir);
    if status.owner.is_none() {
        bail!("nothing runs on {}; start it with ./dev, in another terminal", dir.display());
    }
    let ahead = devstack::move_clock(dir, args.by.unwrap_or_default())?;
    let now = Clock::ahead_by(ahead).now();
    let told = format!("the clock of the service is {} ahead: {now}", humantime::format_duration(ahead));
    Outcome::done(told, json!({"ahead_s": ahead.as_secs(), "now": now}))
}
