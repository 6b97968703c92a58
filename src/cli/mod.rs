//! The verbs of the binary: one file each, all of them on this screen.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod admin;
mod check;
mod completions;
mod demo;
mod dev;
mod events;
mod export;
mod key;
mod listen;
mod load;
mod migrate;
mod output;
mod progress;
mod replay;
mod serve;
mod settings;
mod simulator;
mod verify;
mod witness;

use output::Outcome;

/// Sells prepaid offers; every cent and every step is an event in one verifiable log.
#[derive(Debug, Parser)]
#[command(name = "offers", version, propagate_version = true)]
pub struct Cli {
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Pay into an account
    #[command(subcommand)]
    Account(admin::account::Verb),
    /// Compare balances, final states and read tables with the log
    Check(check::Args),
    /// Print a script that completes the verbs and flags in a shell
    Completions(completions::Args),
    /// Fill an empty log with a history for demonstrations and measurements
    #[command(subcommand)]
    Demo(demo::Verb),
    /// Run everything on this machine, with private servers (see ./dev)
    #[command(subcommand)]
    Dev(dev::Verb),
    /// Follow the log
    #[command(subcommand)]
    Events(events::Verb),
    /// Write the records of the log to a file or to stdout
    Export(export::Args),
    /// Make the key that signs checkpoints of the log
    #[command(subcommand)]
    Key(key::Verb),
    /// Post a partner's new callbacks to a URL of your own, until Ctrl-C
    Listen(listen::Args),
    /// Measure a running service: activations accepted and finished a second
    Load(load::Args),
    /// Print the manual of all verbs as a man page: `offers man | man -l -`
    Man,
    /// Migrate the database to the current schema
    Migrate(migrate::Args),
    /// Create an offer
    #[command(subcommand)]
    Offer(admin::offer::Verb),
    /// Create a partner, or another key or secret for a partner
    #[command(subcommand)]
    Partner(admin::partner::Verb),
    /// Rebuild the read tables and the Redis hashes from the log, compare them with it, or print a thing as it once was
    #[command(visible_alias = "rebuild")]
    Replay(replay::Args),
    /// Run the service until Ctrl-C; this help is the manual of its settings
    #[command(after_long_help = crate::config::AFTER_HELP)]
    Serve(Box<crate::config::Serve>),
    /// Run the simulated activation system until Ctrl-C
    Simulator(simulator::Args),
    /// Create a user
    #[command(subcommand)]
    User(admin::user::Verb),
    /// Verify the history, from the database or from an export, and receipts
    Verify(verify::Args),
    /// Keep the newest checkpoint in a file, if it continues the ones before
    Witness(witness::Args),
}

/// Runs the verb of the command line and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    match settings::read() {
        Ok(cli) => {
            let as_json = cli.json;
            output::tell(run(cli), as_json)
        }
        Err(error) => output::tell(Err(error), false),
    }
}

fn run(cli: Cli) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(cli.run())
}

impl Cli {
    async fn run(self) -> anyhow::Result<Outcome> {
        match self.verb {
            Verb::Account(verb) => admin::account::run(verb).await,
            Verb::Check(args) => check::run(args).await,
            Verb::Completions(args) => completions::completions(&args),
            Verb::Demo(verb) => demo::run(verb).await,
            Verb::Dev(verb) => dev::run(verb, self.json).await,
            Verb::Events(verb) => events::run(verb, self.json).await,
            Verb::Export(args) => export::run(args).await,
            Verb::Key(verb) => key::run(verb),
            Verb::Listen(args) => listen::run(args, self.json).await,
            Verb::Load(args) => load::run(args).await,
            Verb::Man => completions::man(),
            Verb::Migrate(args) => migrate::run(args).await,
            Verb::Offer(verb) => admin::offer::run(verb).await,
            Verb::Partner(verb) => admin::partner::run(verb).await,
            Verb::Replay(args) => replay::run(args).await,
            Verb::Serve(config) => serve::run(&config).await,
            Verb::Simulator(args) => simulator::run(args, self.json).await,
            Verb::User(verb) => admin::user::run(verb).await,
            Verb::Verify(args) => verify::run(args).await,
            Verb::Witness(args) => witness::run(args).await,
        }
    }
}

/// Runs `work` on one thread, for verbs that must leave the other cores to the service.
async fn on_one_thread<T, F>(work: impl FnOnce() -> F + Send + 'static) -> anyhow::Result<T>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::spawn_blocking(move || runtime.block_on(work())).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_manual_names_every_file_that_a_secret_may_be_in() {
        let mut offers = Cli::command();
        let serve = offers.find_subcommand_mut("serve").expect("it is a verb");
        let manual = serve.render_long_help().to_string();
        let variables = serve.get_arguments().filter_map(|setting| setting.get_env()?.to_str());
        let files: Vec<&str> = variables.filter(|name| name.ends_with("_FILE")).collect();
        assert!(files.contains(&"OFFERS_JWT_KEY_FILE"), "{files:?}");
        for name in files.iter().chain(&["RUST_LOG", "OTEL_EXPORTER_OTLP_ENDPOINT"]) {
            assert!(manual.contains(name), "{name} is missing in:\n{manual}");
        }
    }
}
