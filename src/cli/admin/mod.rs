//! What the verbs share that do an administrator's work without HTTP: by the same use cases, as
//! `system:cli`, on the database that `OFFERS_DATABASE_URL` names.

pub(super) mod account;
pub(super) mod offer;
pub(super) mod partner;
pub(super) mod user;

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;
use clap::Args;
use domain::{Metadata, Money};
use secrecy::SecretString;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::registration;
use crate::clock::Clock;
use crate::config::{Secret, Servers};
use crate::event_log::EventLog;
use crate::identity::{self, Actor, Identity, Keyring};

/// Who does it.
const NAME: &str = "cli";

#[derive(Args, Clone, Debug)]
pub(super) struct Common {
    #[command(flatten)]
    servers: Servers,
    /// Print one JSON object instead of lines
    #[arg(long, global = true)]
    json: bool,
}

/// The log and everything else that such a verb needs.
pub(super) struct Desk {
    pub(super) log: EventLog,
    pub(super) clock: Clock,
    url: Secret,
    json: bool,
    _ends_the_log: DropGuard,
}

impl Desk {
    pub(super) fn open(common: &Common) -> anyhow::Result<Desk> {
        let url = common.servers.database_url()?;
        let stop = CancellationToken::new();
        let log = EventLog::at(url.expose(), &stop).context("OFFERS_DATABASE_URL cannot be used")?;
        Ok(Desk { log, clock: Clock::system(), url, json: common.json, _ends_the_log: stop.drop_guard() })
    }

    pub(super) fn database_url(&self) -> &str {
        self.url.expose()
    }

    /// With the service's webhook keys, where secrets of partners are made.
    pub(super) fn identity(&self, webhook_keys: Option<&Secret>) -> anyhow::Result<Identity> {
        let keys = webhook_keys.map(|keys| Keyring::parse(keys.inner())).transpose();
        let keys = keys.context("OFFERS_WEBHOOK_KEY cannot be used")?;
        Ok(Identity::at(self.url.expose(), keys)?)
    }

    /// Prints what was done, for a person or for a program.
    pub(super) fn tell(&self, told: &Value) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        let Some(members) = told.as_object().filter(|_| !self.json) else {
            return Ok(writeln!(stdout, "{told}")?);
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

/// A refusal with the fields that it is about.
pub(super) fn refusal(error: registration::Error) -> anyhow::Error {
    match error {
        registration::Error::Identity(identity::Error::Invalid(errors)) => {
            let told: Vec<_> =
                errors.iter().map(|error| format!("{} {}", error.field, error.message)).collect();
            anyhow::anyhow!("{}", told.join("; "))
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
