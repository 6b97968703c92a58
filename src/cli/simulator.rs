//! `offers simulator`: the simulated activation system.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use uuid::Uuid;

use super::output::{self, Outcome};
use crate::config::parse_duration;
use crate::runtime::Interruption;
use crate::simulator::{self, Behaviour};

/// It does each activation once and a cancelled one never, across restarts. These flags, or PUT /_control
/// while it runs, set how it misbehaves.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address; port 0 chooses a free port
    #[arg(long, env = "OFFERS_SIMULATOR_LISTEN", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,

    /// The duration of a call
    #[arg(long, env = "OFFERS_SIMULATOR_LATENCY", default_value = "20ms", value_parser = parse_duration)]
    latency: Duration,

    /// The latency varies by ± this
    #[arg(long, env = "OFFERS_SIMULATOR_LATENCY_JITTER", default_value = "0ms", value_parser = parse_duration)]
    latency_jitter: Duration,

    /// The part of all calls, 0 to 1, without a usable answer; half of them have their effect
    #[arg(long, env = "OFFERS_SIMULATOR_FAILURE_RATE", default_value_t = 0.0)]
    failure_rate: f64,

    /// The part of all activations, 0 to 1, that are accepted (202) and done later
    #[arg(long, env = "OFFERS_SIMULATOR_PENDING_RATE", default_value_t = 0.0)]
    pending_rate: f64,

    /// How much later they are done
    #[arg(long, env = "OFFERS_SIMULATOR_PENDING_FOR", default_value = "500ms", value_parser = parse_duration)]
    pending_for: Duration,

    /// An offer that is always rejected; may be given several times
    #[arg(long, env = "OFFERS_SIMULATOR_REJECT_OFFER", value_delimiter = ',')]
    reject_offer: Vec<Uuid>,

    /// The seed of all random choices
    #[arg(long, env = "OFFERS_SIMULATOR_SEED", default_value_t = 1)]
    seed: u64,

    /// The log: every effect as a line of JSON, read again at the start
    #[arg(long, env = "OFFERS_SIMULATOR_LOG")]
    log: Option<PathBuf>,
}

pub(super) async fn run(args: Args, as_json: bool) -> anyhow::Result<Outcome> {
    super::on_one_thread(move || serve(args, as_json)).await?;
    Ok(Outcome::SILENT)
}

async fn serve(args: Args, as_json: bool) -> anyhow::Result<()> {
    let mut interruption = Interruption::listen()?;
    let running = simulator::start(args.settings()?).await?;
    let url = running.url();
    output::print(&match as_json {
        true => json!({"url": url}).to_string(),
        false => format!("The simulated activation system listens on {url}"),
    })?;
    running.run_until(interruption.wait()).await.context("the log of effects cannot be written")
}

impl Args {
    fn settings(self) -> anyhow::Result<simulator::Settings> {
        Ok(simulator::Settings {
            listen: self.listen,
            seed: self.seed,
            log: self.log,
            behaviour: Behaviour {
                latency_ms: millis(self.latency)?,
                latency_jitter_ms: millis(self.latency_jitter)?,
                failure_rate: self.failure_rate,
                pending_rate: self.pending_rate,
                pending_for_ms: millis(self.pending_for)?,
                reject_offers: HashSet::from_iter(self.reject_offer),
                ..Behaviour::default()
            },
        })
    }
}

fn millis(duration: Duration) -> anyhow::Result<u64> {
    u64::try_from(duration.as_millis()).context("a duration is too long")
}
