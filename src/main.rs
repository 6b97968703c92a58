//! The one binary: `offers <verb>`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use offers::cli::Cli;

/// A third of the service's time went into the system's allocator, which does not like many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
