//! The verbs that do an administrator's work without HTTP: the same use cases, as `system:cli`, on the
//! database that `OFFERS_DATABASE_URL` names.

pub(super) mod account;
pub(super) mod offer;
pub(super) mod partner;
pub(super) mod user;

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use domain::{Metadata, Money};
use projections::Readers;
use secrecy::SecretString;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::{self, Accounts, Catalogue, Registration};
use crate::clock::Clock;
use crate::config::{Secret, Servers};
use crate::event_log::EventLog;
use crate::identity::{self, Actor, Identity, Keyring};

/// The actor's name.
const NAME: &str = "cli";

#[derive(Args, Clone, Debug)]
pub(super) struct Common {
    #[command(flatten)]
    servers: Servers,
    /// Print one JSON object instead of lines
    #[arg(long, global = true)]
    json: bool,
}

/// The use cases that such a verb calls.
pub(super) struct AdminContext {
    pub(super) accounts: Arc<Accounts>,
    pub(super) catalogue: Catalogue,
    pub(super) registration: Registration,
    pub(super) identity: Arc<Identity>,
    pub(super) clock: Clock,
    json: bool,
    _stops_the_log: DropGuard,
}

impl AdminContext {
    /// `webhook_keys` are the service's, for verbs that make secrets of partners.
    pub(super) fn open(common: &Common, webhook_keys: Option<&Secret>) -> anyhow::Result<Self> {
        let url = common.servers.database_url()?;
        let stop = CancellationToken::new();
        let log = EventLog::at(url.expose(), &stop).context("OFFERS_DATABASE_URL cannot be used")?;
        let keys = webhook_keys.map(|keys| Keyring::parse(keys.inner())).transpose();
        let keys = keys.context("OFFERS_WEBHOOK_KEY cannot be used")?;
        let identity = Arc::new(Identity::at(url.expose(), keys)?);
        let (readers, clock) = (Readers::at(url.expose())?, Clock::system());
        let accounts = Arc::new(Accounts::new(log.clone(), readers.clone(), identity.clone()));
        Ok(Self {
            registration: Registration::new(accounts.clone(), identity.clone(), clock.clone()),
            accounts,
            catalogue: Catalogue::new(log, readers),
            identity,
            clock,
            json: common.json,
            _stops_the_log: stop.drop_guard(),
        })
    }

    /// Prints the result, for a person or for a program.
    pub(super) fn print(&self, result: &Value) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        let Some(members) = result.as_object().filter(|_| !self.json) else {
            return Ok(writeln!(stdout, "{result}")?);
        };
        for (name, value) in members {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            writeln!(stdout, "{name:<15} {text}")?;
        }
        Ok(())
    }
}

/// Who does it, and why.
pub(super) fn actor(reason: Option<&str>) -> Actor {
    Actor::system(NAME).because(reason.map(str::to_owned))
}

/// The same, for events.
pub(super) fn metadata(reason: Option<&str>) -> Metadata {
    Metadata { reason: reason.map(str::to_owned), ..Metadata::system(NAME) }
}

/// An amount as the command line gives it.
pub(super) fn amount(text: &str) -> Result<Money, String> {
    Money::parse_amount(text).map_err(|cause| cause.to_string())
}

/// The error with the fields that it is about.
pub(super) fn explain(error: app::Error) -> anyhow::Error {
    match error {
        app::Error::Identity(identity::Error::Invalid(errors)) => {
            let fields: Vec<_> =
                errors.iter().map(|error| format!("{} {}", error.field, error.message)).collect();
            anyhow::anyhow!("{}", fields.join("; "))
        }
        other => other.into(),
    }
}

/// A secret from the person at the terminal, who does not see it, or the first line of stdin.
pub(super) fn secret(prompt: &str) -> anyhow::Result<SecretString> {
    if !io::stdin().is_terminal() {
        return first_line();
    }
    let first = rpassword::prompt_password(format!("{prompt}: "))?;
    let second = rpassword::prompt_password("The same again: ")?;
    anyhow::ensure!(first == second, "the two are not the same");
    Ok(first.into())
}

fn first_line() -> anyhow::Result<SecretString> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("cannot read stdin")?;
    let text = line.strip_suffix('\n').unwrap_or(&line);
    Ok(text.strip_suffix('\r').unwrap_or(text).into())
}
