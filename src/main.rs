//! The one binary: `offers <verb>`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use offers::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(code) => code,
        Err(error) => {
            // For a person: the whole chain of causes, and no backtrace.
            let _stderr_may_be_closed = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
