//! `offers dev`: everything on one machine. The script `./dev` calls it.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use tracing_subscriber::EnvFilter;

use super::output::Outcome;
use crate::devstack;

mod clock;
mod exec;
mod mail;
mod servers;
mod simulate;
mod status;
mod up;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run private servers, the simulated activation system and the service, until Ctrl-C
    Up(up::Args),
    /// Stop what runs on the data directory
    Down(Directory),
    /// Stop what runs on the data directory and remove its data
    Reset(Directory),
    /// Print what runs on the data directory; exit code 1 if nothing runs
    Status(Directory),
    /// Set how the simulated activation system that runs on the data directory behaves
    Simulate(simulate::Args),
    /// List the mails that the service has written to files, newest last, or print one
    Mail(mail::Args),
    /// Move the clock of the service ahead, so that what comes in days is seen now
    Clock(clock::Args),
    /// Run another verb of this program in the environment of what runs on the data directory
    Exec(exec::Args),
    /// Run the servers alone, print their URLs as one line of JSON, until stdin closes
    Servers(servers::Args),
    /// Wait until stdin closes, then end what runs on a data directory (started by every stack)
    #[command(hide = true)]
    Reaper(servers::Reaper),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Directory {
    /// Where the servers keep their data
    #[arg(long = "data-dir", env = "OFFERS_DATA_DIR", default_value = ".data")]
    dir: PathBuf,
}

pub(super) async fn run(verb: Verb, as_json: bool) -> anyhow::Result<Outcome> {
    report_to_stderr();
    match verb {
        Verb::Up(args) => return up::run(args, as_json).await,
        Verb::Status(args) => return status::run(&args.dir),
        Verb::Simulate(args) => return simulate::run(args).await,
        Verb::Mail(args) => return mail::run(&args),
        Verb::Clock(args) => return clock::run(&args),
        Verb::Exec(args) => exec::run(args)?,
        Verb::Down(args) => {
            devstack::down(&args.dir).await?;
            return ended("not running on", &args.dir);
        }
        Verb::Reset(args) => {
            devstack::reset(&args.dir).await?;
            return ended("no data is left in", &args.dir);
        }
        Verb::Servers(args) => servers::run(args).await?,
        Verb::Reaper(args) => devstack::watch(args.dir, args.ephemeral, io::stdin()).await?,
    }
    Ok(Outcome::SILENT)
}

fn ended(text: &str, dir: &Path) -> anyhow::Result<Outcome> {
    let dir = dir.display();
    Outcome::done(format_args!("{text} {dir}"), json!({"running": false, "data_dir": dir.to_string()}))
}

/// Messages of the supervision, for the person at the terminal.
fn report_to_stderr() {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let levels = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,offers=info"));
    let format = tracing_subscriber::fmt().with_env_filter(levels).with_writer(io::stderr).with_ansi(colour);
    let _another_subscriber_will_do = format.with_target(false).compact().without_time().try_init();
}
