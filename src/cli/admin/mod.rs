//! An administrator's verbs. What is needed before there is an administrator, or makes secrets, works without HTTP: the
//! same use cases, as `system:cli`, on the database that `OFFERS_DATABASE_URL` names. The others go through the API.

pub(super) mod account;
pub(super) mod callback;
pub(super) mod mail;
pub(super) mod offer;
pub(super) mod parked;
pub(super) mod partner;
pub(super) mod transaction;
pub(super) mod user;

use std::io::{self, BufRead, IsTerminal};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use domain::{Metadata, Money};
use projections::Readers;
use secrecy::SecretString;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::app::{self, Accounts, Catalogue, Registration};
use crate::cli::output::Refused;
use crate::clock::Clock;
use crate::config::{Database, Secret};
use crate::event_log::EventLog;
use crate::identity::{self, Actor, Identity, Keyring};
use crate::postgres::connect_options;
use crate::runtime::check_database;

/// The actor's name.
const NAME: &str = "cli";

#[derive(Args, Clone, Debug)]
pub(super) struct Common {
    #[command(flatten)]
    database: Database,
}

/// The use cases that such a verb calls.
pub(super) struct AdminContext {
    pub(super) catalogue: Catalogue,
    pub(super) registration: Registration,
    pub(super) identity: Arc<Identity>,
    pub(super) clock: Clock,
    _stops_the_log: DropGuard,
}

impl AdminContext {
    /// `webhook_keys` are the service's, for verbs that make secrets of partners.
    pub(super) async fn open(common: &Common, webhook_keys: Option<&Secret>) -> anyhow::Result<Self> {
        let url = common.database.url()?;
        check_database("OFFERS_DATABASE_URL", url.expose()).await?;
        let stop = CancellationToken::new();
        let log = EventLog::at(url.expose(), &stop).context("OFFERS_DATABASE_URL cannot be used")?;
        let keys = webhook_keys.map(|keys| Keyring::parse(keys.inner())).transpose();
        let keys = keys.context("OFFERS_WEBHOOK_KEY cannot be used")?;
        let identity = Arc::new(Identity::at(url.expose(), keys)?);
        let (readers, clock) = (Readers::at(connect_options(url.expose())?), Clock::system());
        let accounts = Arc::new(Accounts::new(log.clone(), readers.clone(), identity.clone()));
        Ok(Self {
            registration: Registration::new(accounts, identity.clone(), clock.clone()),
            catalogue: Catalogue::new(log, readers),
            identity,
            clock,
            _stops_the_log: stop.drop_guard(),
        })
    }
}

/// Who does it, and why.
pub(super) fn actor(reason: Option<&str>) -> Actor {
    Actor::system(NAME).because(reason.map(str::to_owned))
}

/// The same, for events.
pub(super) fn metadata(reason: Option<&str>) -> Metadata {
    Metadata { reason: reason.map(str::to_owned), ..Metadata::system(NAME, Uuid::now_v7()) }
}

/// An amount as the command line gives it.
pub(super) fn amount(text: &str) -> Result<Money, String> {
    Money::parse_amount(text).map_err(|cause| cause.to_string())
}

/// The error with the fields that it is about. It is a refusal, unless something of ours has failed.
pub(super) fn explain(error: impl Into<app::Error>) -> anyhow::Error {
    use identity::Error::{Invalid, Overloaded, Unavailable};
    match error.into() {
        app::Error::Identity(Invalid(errors)) => {
            let fields: Vec<_> =
                errors.iter().map(|error| format!("{} {}", error.field, error.message)).collect();
            Refused(anyhow::anyhow!("{}", fields.join("; "))).into()
        }
        failed @ (app::Error::Identity(Unavailable(_) | Overloaded)
        | app::Error::Projection(_)
        | app::Error::Log(_)) => failed.into(),
        refused => Refused(refused.into()).into(),
    }
}

/// A password that exists: asked for once.
pub(super) fn password(prompt: &str) -> anyhow::Result<SecretString> {
    match io::stdin().is_terminal() {
        true => Ok(rpassword::prompt_password(format!("{prompt}: "))?.into()),
        false => first_line(),
    }
}

/// A new secret from the person at the terminal, who does not see it, or the first line of stdin.
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
