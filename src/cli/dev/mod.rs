//! `offers dev`: everything on one machine. The script `./dev` is its door.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use tracing_subscriber::EnvFilter;

use crate::devstack;

mod exec;
mod servers;
mod status;
mod up;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts private servers, the simulated activation system and the service, until Ctrl-C
    Up(up::Args),
    /// Stops what runs on the data directory
    Down(Directory),
    /// Stops what runs on the data directory and removes its data
    Reset(Directory),
    /// Says what runs on the data directory; exit code 3 when nothing does
    Status(Directory),
    /// Does another verb of this program in the environment of what runs on the data directory
    Exec(exec::Args),
    /// Runs the servers alone, prints where they are as one line of JSON, until stdin closes
    Servers(servers::Args),
    /// Waits until stdin closes, then ends what runs on a data directory (each stack starts its own)
    #[command(hide = true)]
    Guard(servers::Guard),
}

/// Which data directory.
#[derive(Debug, clap::Args)]
struct Directory {
    /// Where the servers keep their data
    #[arg(long = "data-dir", env = "OFFERS_DATA_DIR", default_value = ".data")]
    dir: PathBuf,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    report_to_stderr();
    match args.verb {
        Verb::Up(args) => return up::run(args).await,
        Verb::Status(args) => return status::run(&args.dir),
        Verb::Exec(args) => exec::run(args)?,
        Verb::Down(args) => devstack::down(&args.dir).await?,
        Verb::Reset(args) => devstack::reset(&args.dir).await?,
        Verb::Servers(args) => servers::run(args).await?,
        Verb::Guard(args) => devstack::watch(args.dir, args.ephemeral, io::stdin()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the supervision has to say, for the person in front of the terminal.
fn report_to_stderr() {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let levels = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,offers=info"));
    let format = tracing_subscriber::fmt().with_env_filter(levels).with_writer(io::stderr).with_ansi(colour);
    let _another_subscriber_will_do = format.with_target(false).compact().without_time().try_init();
}
