//! `offers dev`: everything on one machine. The script `./dev` is its door.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::devstack::{self, Given, Options, Stack};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the servers alone, prints where they are as one line of JSON, until stdin closes
    Servers(Servers),
    /// Waits until stdin closes, then ends what runs on a data directory (each stack starts its own)
    #[command(hide = true)]
    Guard(Guard),
}

#[derive(Debug, clap::Args)]
struct Servers {
    /// Where the servers keep their data
    #[arg(long)]
    dir: PathBuf,
    /// Whether what is committed survives a power cut; tests do without
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    durable: bool,
    /// Remove the directory at the end
    #[arg(long)]
    ephemeral: bool,
}

#[derive(Debug, clap::Args)]
struct Guard {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    ephemeral: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Servers(args) => servers(args).await?,
        Verb::Guard(args) => devstack::watch(args.dir, args.ephemeral, io::stdin()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn servers(args: Servers) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let closed = stdin_closed();
    let options =
        Options { dir: args.dir, durable: args.durable, ephemeral: args.ephemeral, given: Given::default() };
    let stack = Stack::start(options).await?;
    writeln!(io::stdout(), "{}", serde_json::to_string(stack.urls())?)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = closed => {}
    }
    Ok(stack.stop().await?)
}

/// Resolves when stdin ends. A thread of its own: the runtime would wait for a blocking read at its end.
fn stdin_closed() -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let _either_way_nobody_listens = io::stdin().read_to_end(&mut Vec::new());
        let _already_stopping = tell.send(());
    });
    told
}
