//! `offers dev simulate`: sets the behaviour of the simulated activation system that runs on a data directory.

use super::Directory;
use crate::cli::output::Outcome;
use crate::devstack::Demo;
use crate::simulator::{named, names};
use crate::tls::http_client;
use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use serde_json::json;
use std::time::Duration;

/// The limit for reaching the simulator.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// `ok` ends every other one
    #[arg(value_parser = PossibleValuesParser::new(names()))]
    behaviour: String,
    #[command(flatten)]
    directory: Directory,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    let Args { behaviour, directory } = args;
    let changes = named(&behaviour).context("there is no such behaviour")?;
    let Some(demo) = Demo::read(&directory.dir) else {
        bail!("nothing runs on {}; start it with ./dev, in another terminal", directory.dir.display())
    };
    let url = format!("{}/_control", demo.external_url.trim_end_matches('/'));
    let client = http_client().timeout(TIMEOUT).no_proxy().build()?;
    let nobody = || format!("no simulated activation system takes orders at {url}");
    let answer = client.put(&url).json(&changes).send().await.with_context(nobody)?;
    answer.error_for_status().with_context(nobody)?;
    let text = format!("the simulated activation system behaves: {behaviour}");
    Outcome::done(text, json!({ "behaviour": behaviour, "changes": changes }))
}
