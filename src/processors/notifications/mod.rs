//! Mail to users: the outcome of their transactions, and subscriptions that end soon.
//!
//! - `intake` finds the events in the log, as a part of the announcer, and adds each once to the `outbox`;
//! - `sender` claims mails that are due and sends them; any number of senders may run. `compose` and `text`
//!   write a mail, `smtp` and `directory` deliver it, `retries` has the delays between attempts, `breaker`
//!   stops attempts while the server is unavailable, and `pace` limits the rate; `recorder` records the
//!   results of many with one statement.
//!
//! A mail server that does not work delays mail and nothing else. An event that is delivered again is found in
//! the outbox, so no mail is sent twice for it; how SMTP itself can duplicate a mail is described in `sender`.
//!
//! **Architecture Invariant:** no personal data goes from identity into the outbox, a log line or an event: an
//! address is read for each attempt, and not stored.

mod breaker;
mod compose;
mod delays;
mod destination;
mod directory;
mod intake;
mod mails;
mod outbox;
mod pace;
mod recorder;
mod requeued;
mod sender;
mod smtp;
mod text;

pub use destination::UrlError;
pub(super) use intake::leads_to_mail;
pub use intake::{Intake, OLD_CONSUMERS};
pub use mails::{MailError, MailFilter, MailStatus, MailView, Mails};
pub use outbox::pending;
pub use sender::{Error, Sender};

use super::Parked;
use super::requeued::Requeued;
use crate::clock::Clock;
use crate::config::{Mail, SecretError};
use crate::event_log::{EventLog, LogError};
use crate::identity::{Identity, mail_address};
use breaker::Breaker;
use compose::Composer;
use destination::Destination;
use lettre::message::Mailbox;
use outbox::Outbox;
use pace::Pace;
use projections::Readers;
use recorder::Recorder;
use requeued::{Reopening, RequeuedMails};
use sqlx::PgPool;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The sender of mail that is only written to files.
const FILE_SENDER: &str = "Offers <offers@localhost>";

/// The mail settings of an installation.
#[derive(Clone, Debug)]
pub struct Settings {
    destination: Destination,
    from: Mailbox,
    connections: u8,
    per_second: u32,
}

/// Why the settings are invalid.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("OFFERS_SMTP_URL cannot be used")]
    Url(#[from] UrlError),
    #[error("OFFERS_MAIL_FROM is not set: mail to a server needs a sender")]
    NoSender,
    #[error("OFFERS_MAIL_FROM is not a mail address: write it like `Offers <offers@example.com>`")]
    Sender,
}

impl Settings {
    /// Reads `config`; `None` if mail is off.
    pub fn read(config: &Mail) -> Result<Option<Self>, SettingError> {
        let Some(url) = config.smtp_url()? else { return Ok(None) };
        let given = config.from.as_deref().filter(|from| !from.trim().is_empty());
        let from = sender(given.unwrap_or(FILE_SENDER)).ok_or(SettingError::Sender)?;
        let destination = Destination::parse(&url, from.email.domain())?;
        if given.is_none() && matches!(destination, Destination::Server(_)) {
            return Err(SettingError::NoSender);
        }
        let (connections, per_second) = (config.connections, config.rate);
        Ok(Some(Self { destination, from, connections, per_second }))
    }
}

impl Settings {
    /// Says where mail goes when something answers there; sends nothing.
    ///
    /// # Errors
    /// Why it cannot go there.
    pub async fn reach(&self) -> Result<String, String> {
        match &self.destination {
            Destination::Server(server) => {
                let connection = smtp::Connection::open(server).await.map_err(|cause| cause.to_string())?;
                connection.quit().await;
                Ok(format!("the mail server {} answers", server.host))
            }
            Destination::Directory(directory) => match directory.parent() {
                Some(parent) if directory.is_dir() || parent.is_dir() => {
                    Ok(format!("written to {}", directory.display()))
                }
                _ => Err(format!("there is no directory {}", directory.display())),
            },
        }
    }
}

fn sender(text: &str) -> Option<Mailbox> {
    let Mailbox { name, email } = text.parse().ok()?;
    Some(Mailbox::new(name, mail_address(email.as_ref())?))
}

#[derive(Clone)]
pub struct Sources {
    pub log: EventLog,
    /// No mail is sent before users can see its content here.
    pub readers: Readers,
    pub identity: Arc<Identity>,
    /// Has the outbox and the parked messages.
    pub pool: PgPool,
    pub clock: Clock,
    /// The currency of all amounts, such as `EUR`.
    pub currency: String,
}

/// Mail of one process. Cheap to clone.
#[derive(Clone)]
pub struct Notifications {
    sources: Sources,
    settings: Settings,
    outbox: Outbox,
    due: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot record the position where mail starts")]
    Outbox(#[from] sqlx::Error),
}

impl Notifications {
    /// Switches mail on. The first call ever records the position after which events lead to mail.
    pub async fn open(sources: Sources, settings: Settings) -> Result<Self, StartError> {
        let outbox = Outbox::new(sources.pool.clone());
        outbox.start(sources.log.head().await?).await?;
        if let Destination::Directory(directory) = &settings.destination {
            directory::prepare(directory).await;
        }
        Ok(Self { sources, settings, outbox, due: Arc::default() })
    }

    /// Sends mail and reopens requeued mails, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.requeued().run(stop.clone()), self.sender().run(stop));
    }

    /// A part of the announcer.
    #[must_use]
    pub fn intake(&self) -> Intake {
        Intake { clock: self.sources.clock.clone(), due: self.due.clone() }
    }

    #[must_use]
    pub fn sender(&self) -> Sender {
        let Sources { log, readers, identity, pool, clock, currency } = self.sources.clone();
        let Settings { destination, from, connections, per_second } = self.settings.clone();
        Sender::new(sender::Inner {
            outbox: self.outbox.clone(),
            recorder: Recorder::start(self.outbox.clone(), clock.clone()),
            composer: Composer { log, readers, identity, currency, from },
            destination,
            parked: Parked::new(pool),
            clock,
            breaker: Breaker::default(),
            pace: Pace::new(per_second),
            connections,
            due: self.due.clone(),
        })
    }

    fn requeued(&self) -> RequeuedMails {
        let Sources { log, readers, pool, clock, .. } = self.sources.clone();
        let (outbox, due) = (self.outbox.clone(), self.due.clone());
        let messages = Requeued { parked: Parked::new(pool), log, consumers: requeued::consumers() };
        RequeuedMails { messages, mails: Reopening { readers, outbox, clock, due } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_of_the_sender_becomes_a_labels() {
        let from = sender("Bücher <offers@bücher.example>").expect("a sender");
        assert_eq!(from.email.to_string(), "offers@xn--bcher-kva.example");
        assert_eq!(from.name.as_deref(), Some("Bücher"));
        assert!(sender("offers@[127.0.0.1]").is_none());
    }
}
