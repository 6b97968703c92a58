//! `offers dev servers`: the servers alone, until stdin closes.
//!
//! The tests run it: the kernel closes the pipe when they die.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::ArgAction;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::devstack::{ExternalServers, Options, Stack};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Where the servers keep their data
    #[arg(long)]
    dir: PathBuf,
    /// Committed data survives a power cut; tests need no such thing
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    durable: bool,
    /// Remove the directory at the end
    #[arg(long)]
    ephemeral: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Reaper {
    #[arg(long)]
    pub(super) dir: PathBuf,
    #[arg(long)]
    pub(super) ephemeral: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let closed = stdin_closed();
    let options = Options {
        dir: args.dir,
        durable: args.durable,
        ephemeral: args.ephemeral,
        external: ExternalServers::default(),
    };
    let stack = Stack::start(&options).await?;
    writeln!(io::stdout(), "{}", serde_json::to_string(stack.urls())?)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = closed => {}
    }
    Ok(stack.stop().await?)
}

/// Resolves when stdin ends. On a thread of its own: at its end the runtime would wait for a blocking read.
fn stdin_closed() -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let _either_way_nobody_listens = io::stdin().read_to_end(&mut Vec::new());
        let _already_stopping = tell.send(());
    });
    told
}
