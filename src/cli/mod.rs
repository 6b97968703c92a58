//! The verbs of the binary: one file each, all of them on this screen.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod admin;
mod api;
mod check;
mod completions;
mod demo;
mod dev;
mod doctor;
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
mod table;
mod verify;
mod witness;

use output::Outcome;

/// Who does what.
const AFTER_HELP: &str = "\
Through the API of a running service, as whom `offers login` or --token says:
  account, callback, login, logout, mail, parked, search, transaction, and list, show, change, enable and disable
  of user, partner and offer
On the database (OFFERS_DATABASE_URL), without a running service:
  check, doctor, events (else through the API), export, migrate, replay, verify, and user create, partner create and
  rotate, offer create

Exit codes: 0 done, 1 the answer is no, 2 it could not be done.";

/// Sells prepaid offers; every cent and every step is an event in one verifiable log.
#[derive(Debug, Parser)]
#[command(name = "offers", version, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// See an account, pay in and out
    #[command(subcommand)]
    Account(admin::account::Verb),
    /// List callbacks to partners and send them again
    #[command(subcommand)]
    Callback(admin::callback::Verb),
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
    /// Say whether the service could run well here, and what to do if not
    Doctor(Box<doctor::Args>),
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
    /// Log in at a service, for the verbs that work through its API
    Login(api::Login),
    /// End the login at a service
    Logout(api::Logout),
    /// List mails to users and send them again
    #[command(subcommand)]
    Mail(admin::mail::Verb),
    /// Print the manual of all verbs as a man page: `offers man | man -l -`
    Man,
    /// Migrate the database to the current schema
    Migrate(migrate::Args),
    /// Create, list and change offers
    #[command(subcommand)]
    Offer(admin::offer::Verb),
    /// List messages that nothing could handle, and try them again
    #[command(subcommand)]
    Parked(admin::parked::Verb),
    /// Create, list and disable partners; another key or secret
    #[command(subcommand)]
    Partner(admin::partner::Verb),
    /// Rebuild the read tables and the Redis hashes from the log, compare them with it, or print a thing as it once was
    #[command(visible_alias = "rebuild")]
    Replay(replay::Args),
    /// Find by any id, username, mail address, reference or #position
    Search(api::Search),
    /// Run the service until Ctrl-C; this help is the manual of its settings
    #[command(after_long_help = crate::config::AFTER_HELP)]
    Serve(Box<crate::config::Serve>),
    /// Run the simulated activation system until Ctrl-C
    Simulator(simulator::Args),
    /// List transactions, try one again, or end one by hand
    #[command(subcommand)]
    Transaction(admin::transaction::Verb),
    /// Create, list and disable users
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
            Verb::Callback(verb) => admin::callback::run(verb).await,
            Verb::Check(args) => check::run(args).await,
            Verb::Completions(args) => completions::completions(&args),
            Verb::Demo(verb) => demo::run(verb).await,
            Verb::Dev(verb) => dev::run(verb, self.json).await,
            Verb::Doctor(args) => {
                let command = Self::command();
                let doctor = command.find_subcommand("doctor").expect("it is a verb");
                doctor::run(*args, doctor).await
            }
            Verb::Events(verb) => events::run(verb, self.json).await,
            Verb::Export(args) => export::run(args).await,
            Verb::Key(verb) => key::run(verb),
            Verb::Listen(args) => listen::run(args, self.json).await,
            Verb::Load(args) => load::run(args).await,
            Verb::Login(args) => api::login(args).await,
            Verb::Logout(args) => api::logout(args).await,
            Verb::Mail(verb) => admin::mail::run(verb).await,
            Verb::Man => completions::man(),
            Verb::Migrate(args) => migrate::run(args).await,
            Verb::Offer(verb) => admin::offer::run(verb).await,
            Verb::Parked(verb) => admin::parked::run(verb).await,
            Verb::Partner(verb) => admin::partner::run(verb).await,
            Verb::Replay(args) => replay::run(args).await,
            Verb::Search(args) => api::search(args).await,
            Verb::Serve(config) => serve::run(&config).await,
            Verb::Simulator(args) => simulator::run(args, self.json).await,
            Verb::Transaction(verb) => admin::transaction::run(verb).await,
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

    #[test]
    fn the_manual_names_every_file_that_a_secret_may_be_in() {
        let mut offers = Cli::command();
        let serve = offers.find_subcommand_mut("serve").expect("it is a verb");
        let manual = serve.render_long_help().to_string();
        let variables = serve.get_arguments().filter_map(|setting| setting.get_env()?.to_str());
        let variables: Vec<&str> = variables.collect();
        let is_secret =
            |name: &&str| name.strip_suffix("_FILE").is_some_and(|name| variables.contains(&name));
        let files: Vec<&str> = variables.iter().copied().filter(is_secret).collect();
        assert!(files.contains(&"OFFERS_JWT_KEY_FILE"), "{files:?}");
        for name in files.iter().chain(&["RUST_LOG", "OTEL_EXPORTER_OTLP_ENDPOINT"]) {
            assert!(manual.contains(name), "{name} is missing in:\n{manual}");
        }
    }
}
