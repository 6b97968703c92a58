//! The only user of NATS.
//!
//! JetStream has a copy of the log, one message for each event, **stream sequence = position**. It wakes
//! processors and feeds analysts. It is never the truth: what it lost or never had is published again from
//! the log.
//! - `relay` follows the log and publishes it; `stream` and `mirror` are where it is published;
//! - `checkpoints` publishes signed checkpoints of the log;
//! - `consumer` hands events to processors, and acknowledges after their commit;
//! - `cloud_event` and `subjects` define the messages.
//!
//! **Architecture Invariant:** nothing here decides anything about money or status. With NATS gone the
//! service starts, accepts and finishes work; it only says `degraded`.

mod ack;
mod analyst_consumers;
mod api;
mod checkpoints;
mod cloud_event;
mod connection;
mod consumer;
mod delivery;
mod error;
mod health;
mod integrity;
mod mirror;
mod old_consumers;
mod pipeline;
mod relay;
mod stream;
mod subjects;

pub use checkpoints::Checkpoints;
pub use cloud_event::{Envelope, NotAnEvent};
pub use connection::check_urls;
pub use consumer::{Handler, Subscription};
pub use delivery::{Delivery, UndeliverableMessage, Verdict};
pub use error::Error;
pub use health::{Part, State};
pub use relay::Relay;

use async_nats::Client;
use async_nats::jetstream::context::{Context, ContextBuilder};
use connection::Link;
use health::Health;
use mirror::Mirror;
use std::sync::Arc;
use std::time::Duration;
use stream::Stream;
use tokio_util::sync::CancellationToken;

/// The default limit of the stream on disk, in bytes. The mirror takes as much again.
pub const DEFAULT_STREAM_BYTES: u64 = 1_500_000_000;
/// How long the server remembers message ids. Duplicates are kept out by the expected sequence, not by
/// this, and each id costs the server memory: at 20,000 events/s there are 200,000 of them.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(10);
/// The limit for one request to the server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach NATS, and the stream there.
#[derive(Clone)]
pub struct Options {
    /// `nats://user:password@host:port`, several separated by commas: the account of the service.
    pub url: String,
    /// The same for the analysts' account, with the right to create streams there; `None`: no mirror.
    pub analytics_url: Option<String>,
    /// The stream's name, and the mirror's in the analysts' account.
    pub stream: String,
    /// The prefix of every subject.
    pub subjects: String,
    /// The limit of the stream, in bytes: then it drops the oldest messages. Twice this
    /// must fit into the server's `max_file` if there is a mirror, or the server refuses to create them.
    pub stream_bytes: u64,
    /// Servers of a cluster that keep each stream; `None`: one, and what an operator has changed stays.
    pub replicas: Option<usize>,
}

impl Options {
    /// The stream that the contract names, on the server at `url`, without a mirror.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            analytics_url: None,
            stream: "OFFERS_EVENTS".to_owned(),
            subjects: "offers.events".to_owned(),
            stream_bytes: DEFAULT_STREAM_BYTES,
            replicas: None,
        }
    }
}

/// What a server says of itself.
pub struct Server {
    pub version: String,
    pub has_jetstream: bool,
}

/// The connection to NATS. Cheap to clone.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    options: Options,
    link: Link,
    health: Health,
    stop: CancellationToken,
}

impl Bus {
    /// Starts to connect and returns at once: without NATS the bus is degraded, but the service starts.
    /// Ends with `stop`.
    ///
    /// # Errors
    /// Only `Address`.
    pub async fn open(options: Options, stop: &CancellationToken) -> Result<Self, Error> {
        let health = Health::default();
        let link = connection::connect(&options.url, "offers", health.reporter(Part::Connection)).await?;
        Ok(Self(Arc::new(Inner { options, link, health, stop: stop.clone() })))
    }

    #[must_use]
    pub fn state(&self) -> State {
        self.0.health.state()
    }

    /// The server; `None` before the first connection.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        let info = self.0.link.client.try_server_info()?;
        Some(Server { version: info.version, has_jetstream: info.jetstream })
    }

    /// Why analysts must not be let onto the server, if so: one older than 2.9.15 ends at a single message
    /// whose reply subject has a wildcard.
    #[must_use]
    pub fn unfit_for_analysts(&self) -> Option<String> {
        self.0.options.analytics_url.as_ref()?;
        connection::too_old(&self.0.link.client)
    }

    /// Whether events come from the log to processors, as far as this process knows.
    #[must_use]
    pub fn delivers(&self) -> bool {
        self.0.health.delivers()
    }

    /// The sink that publishes the log. Only one may run at a time, over all processes.
    ///
    /// # Errors
    /// Only `Address`.
    pub async fn relay<H: domain::History + 'static>(&self, history: H) -> Result<Relay<H>, Error> {
        let Inner { options, link, health, .. } = &*self.0;
        let mirror = match &options.analytics_url {
            Some(url) => {
                // Failures of this connection show when the mirror is inspected.
                let unused = Health::default().reporter(Part::Connection);
                let link = connection::connect(url, "offers mirror", unused).await?;
                Some(Mirror::new(context(link.client), options))
            }
            None => None,
        };
        let stream = Stream::new(context(link.client.clone()), options);
        Ok(Relay::new(stream, link.clone(), options.subjects.clone(), mirror, history, health))
    }
}

fn context(client: Client) -> Context {
    ContextBuilder::new().timeout(REQUEST_TIMEOUT).build(client)
}
