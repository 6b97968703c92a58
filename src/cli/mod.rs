//! The verbs of the binary: one file each, all of them on this screen.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod dev;
mod migrate;
mod simulator;

/// Sells prepaid offers; every cent and every step is an event in one verifiable log.
#[derive(Debug, Parser)]
#[command(name = "offers", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs everything on this machine, with private servers (see ./dev)
    Dev(dev::Args),
    /// Brings the database's schema up to date
    Migrate(migrate::Args),
    /// Runs the simulated external activation system until Ctrl-C
    Simulator(simulator::Args),
}

impl Cli {
    /// Does what was asked; the exit code is the verb's own.
    ///
    /// # Errors
    /// Whatever keeps the verb from being done, for a person to read.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Dev(args) => dev::run(args).await,
            Verb::Migrate(args) => migrate::run(args).await,
            Verb::Simulator(args) => simulator::run(args).await,
        }
    }
}
