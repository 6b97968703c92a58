//! The one binary: `offers <verb>`.

use std::process::ExitCode;

use clap::Parser;
use offers::cli::Cli;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    Cli::parse().run().await
}
