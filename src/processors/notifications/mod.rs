//! Mail: users are told what became of their purchases, and that a subscription ends soon.
//!
//! - `intake` hears of the events through the bus and notes each once in the `outbox` (`collector` makes
//!   one statement of many notices);
//! - `sender` claims what is due and tries it; any number of them. `compose` and `text` write a mail,
//!   `smtp` and `directory` take it away, `retries` says when it is tried again, and `breaker` whether the
//!   server is worth a try; `pace` keeps it from hurrying.
//!
//! A mail server that does not work delays mail and nothing else. An event that is delivered again, by
//! whatever failure, is found in the outbox and nobody is told twice; where SMTP itself can double a mail
//! is said in `sender`.
//!
//! **Architecture Invariant:** no personal data leaves identity for the outbox, a log line or an event: an
//! address is looked up for each try, and forgotten.

mod breaker;
mod collector;
mod compose;
mod destination;
mod directory;
mod intake;
mod outbox;
mod pace;
mod resumption;
mod retries;
mod sender;
mod smtp;
mod text;

pub use destination::UrlError;
pub use sender::{Error, Sender};

use super::Parked;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::{Mail, SecretError};
use crate::event_log::{EventLog, LogError};
use crate::identity::Identity;
use breaker::Breaker;
use collector::Collector;
use compose::Composer;
use destination::Destination;
use futures::future::join_all;
use intake::Intake;
use lettre::message::Mailbox;
use outbox::{Kind, Outbox};
use pace::Pace;
use projections::Readers;
use resumption::Resumption;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Who mail is from when it only goes into files.
const FROM_NOBODY: &str = "Offers <offers@localhost>";

/// What an installation decides about mail.
#[derive(Clone, Debug)]
pub struct Settings {
    destination: Destination,
    from: Mailbox,
    connections: u8,
    per_second: u32,
}

/// Why mail cannot be sent as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The file of the URL cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The URL.
    #[error("OFFERS_SMTP_URL cannot be used")]
    Url(#[from] UrlError),
    /// A server wants to know who sends.
    #[error("OFFERS_MAIL_FROM is not set: mail to a server needs a sender")]
    NoSender,
    /// The sender.
    #[error("OFFERS_MAIL_FROM is no mail address: write it as `Offers <offers@example.com>`")]
    Sender,
}

impl Settings {
    /// Reads `config`; `None`: nothing is mailed.
    ///
    /// # Errors
    /// `SettingError`.
    pub fn read(config: &Mail) -> Result<Option<Self>, SettingError> {
        let Some(url) = config.smtp_url()? else { return Ok(None) };
        let given = config.from.as_deref().filter(|from| !from.trim().is_empty());
        let from: Mailbox = given.unwrap_or(FROM_NOBODY).parse().map_err(|_| SettingError::Sender)?;
        let destination = Destination::parse(&url, from.email.domain())?;
        if given.is_none() && matches!(destination, Destination::Server(_)) {
            return Err(SettingError::NoSender);
        }
        let (connections, per_second) = (config.connections, config.rate);
        Ok(Some(Self { destination, from, connections, per_second }))
    }
}

/// What mail is made of and kept in.
#[derive(Clone)]
pub struct Sources {
    /// The facts.
    pub log: EventLog,
    /// What people see: nobody is told before it shows there.
    pub readers: Readers,
    /// The addresses.
    pub identity: Arc<Identity>,
    /// The tables of mails and of parked messages.
    pub pool: PgPool,
    /// The time.
    pub clock: Clock,
    /// The currency of all amounts, such as `EUR`.
    pub currency: String,
}

/// The room's door. Cheap to clone; one for each process.
#[derive(Clone)]
pub struct Notifications {
    sources: Sources,
    settings: Settings,
    outbox: Outbox,
    due: Arc<Notify>,
}

/// Mail could not be switched on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The table.
    #[error("where mail begins cannot be recorded")]
    Outbox(#[from] sqlx::Error),
}

impl Notifications {
    /// Switches mail on. The first time ever, this is where it begins: nobody is told of what came
    /// before.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn open(sources: Sources, settings: Settings) -> Result<Self, StartError> {
        let outbox = Outbox::new(sources.pool.clone());
        outbox.start(sources.log.head().await?).await?;
        if let Destination::Directory(directory) = &settings.destination {
            directory::prepare(directory).await;
        }
        Ok(Self { sources, settings, outbox, due: Arc::default() })
    }

    /// Hears of events, sends mail and takes up what was requeued, until `stop` and the end of `bus`.
    pub async fn run(self, bus: Bus, stop: CancellationToken) {
        let resumption = self.resumption().run(stop.clone());
        tokio::join!(self.hear(bus), self.sender().run(stop), resumption);
    }

    /// Notes whom to tell of what, until the bus stops.
    pub async fn hear(&self, bus: Bus) {
        let Sources { log, readers, pool, clock, .. } = &self.sources;
        let collector = Collector::start(self.outbox.clone(), clock.clone(), self.due.clone());
        let intakes = Kind::ALL.map(|kind| Intake {
            kind,
            log: log.clone(),
            readers: readers.clone(),
            collector: collector.clone(),
            outbox: self.outbox.clone(),
            parked: Parked::new(pool.clone()),
        });
        join_all(intakes.map(|intake| intake.run(bus.clone()))).await;
    }

    /// A sender; one for each process that sends.
    #[must_use]
    pub fn sender(&self) -> Sender {
        let Sources { log, readers, identity, pool, clock, currency } = self.sources.clone();
        let Settings { destination, from, connections, per_second } = self.settings.clone();
        Sender::new(sender::Inner {
            outbox: self.outbox.clone(),
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

    fn resumption(&self) -> Resumption {
        let Sources { log, pool, clock, .. } = self.sources.clone();
        let (outbox, due) = (self.outbox.clone(), self.due.clone());
        Resumption { log, outbox, parked: Parked::new(pool), clock, due }
    }
}
