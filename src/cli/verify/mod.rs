//! `offers verify`: is the history the one that its checkpoints vouch for, and what the rules allow?

mod database;
mod export;
mod receipt;
mod report;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::output::Outcome;
use crate::config::Database;
use crate::tree::VerifierKey;
use crate::verify::Checkpoints;

/// Reads the whole log, from the database or from an export alone, and holds it against checkpoints. Exit code 0 if it is
/// sound; 1 if not, with the first wrong position; 2 if the input cannot be used.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Verify this file of `offers export`, `-` for stdin, without any database
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// A file with one or more checkpoints that were kept elsewhere; may be given several times
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// The log's key, `<origin>+<hash>+<base64>`: checkpoints must be signed by it. Without it signatures are not verified
    #[arg(long, value_name = "VKEY")]
    key: Option<VerifierKey>,
    /// Do not compare balances and read tables with the log
    #[arg(long, conflicts_with = "export")]
    log_only: bool,
    #[command(flatten)]
    database: Database,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Verify receipts: that their records are in the log, without database or network
    Receipt(receipt::Args),
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    if let Some(Verb::Receipt(args)) = &args.verb {
        return receipt::run(args);
    }
    let checkpoints = args.checkpoints()?;
    match &args.export {
        Some(path) => export::verify(path, checkpoints, args.key.as_ref()),
        None => database::verify(&args, checkpoints).await,
    }
}

impl Args {
    fn checkpoints(&self) -> anyhow::Result<Checkpoints> {
        let mut checkpoints = Checkpoints::default();
        for path in &self.checkpoints {
            checkpoints.add(&path.display().to_string(), &read(path)?, self.key.as_ref())?;
        }
        Ok(checkpoints)
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Threads that look at records.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
