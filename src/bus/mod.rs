//! The only user of NATS.
//!
//! JetStream holds a copy of the log, message for event, **stream sequence = position**. It is a
//! doorbell and a feed for others, never the truth: what it lost, shifted or never had comes again
//! from the log.
//! - `relay` follows the log and publishes it; `stream` and `mirror` keep what it publishes into;
//! - `consumer` wakes processors with the events they wait for, and acknowledges after their commit;
//! - `cloud_event` and `subjects` are the form of a message.
//!
//! **Architecture Invariant:** nothing here decides anything about money or status. With NATS gone the
//! service starts, accepts and finishes work; it only says `degraded`.

mod ack;
mod api;
mod cloud_event;
mod connection;
mod consumer;
mod delivery;
mod error;
mod health;
mod integrity;
mod mirror;
mod pipeline;
mod relay;
mod stream;
mod subjects;

pub use cloud_event::{Envelope, NotAnEvent};
pub use connection::check_urls;
pub use consumer::{Handler, Subscription};
pub use delivery::{Delivery, Letter, Verdict};
pub use error::Error;
pub use health::{Part, State};
pub use relay::{History, Relay};

use async_nats::Client;
use async_nats::jetstream::context::{Context, ContextBuilder};
use connection::Link;
use health::Health;
use mirror::Mirror;
use std::sync::Arc;
use std::time::Duration;
use stream::Stream;
use tokio_util::sync::CancellationToken;

/// The most bytes the stream may hold on disk unless configured otherwise; the mirror takes as much again.
pub const DEFAULT_STREAM_BYTES: u64 = 1_500_000_000;
/// How long the server remembers message ids. The fence keeps doubles out, not this, and each id that
/// is remembered costs the server memory: at 20,000 events/s this is 200,000 of them.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(10);
/// How long a request to the server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Where NATS is and what is kept there.
#[derive(Clone)]
pub struct Options {
    /// `nats://user:password@host:port`, several separated by commas: the account of the service.
    pub url: String,
    /// The same for the analysts' account, with the right to make streams there; `None`: no mirror.
    pub analytics_url: Option<String>,
    /// The stream's name, and the mirror's in the analysts' account.
    pub stream: String,
    /// What every subject begins with.
    pub subjects: String,
    /// The most the stream may hold, in bytes. Too little: the relay stops and waits when it is full.
    /// With the mirror, twice this must fit into the server's `max_file`, or it refuses to make them.
    pub stream_bytes: u64,
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
        }
    }
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
    /// Begins to connect and returns at once: an absent NATS is `degraded`, never a reason not to
    /// start. Ends with `stop`.
    ///
    /// # Errors
    /// `Address`: the URL cannot be read.
    pub async fn open(options: Options, stop: &CancellationToken) -> Result<Self, Error> {
        let health = Health::default();
        let link = connection::connect(&options.url, "offers", health.at(Part::Connection)).await?;
        Ok(Self(Arc::new(Inner { options, link, health, stop: stop.clone() })))
    }

    /// Whether everything here works, else what does not.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.health.state()
    }

    /// Whether events come from the log to processors, as far as this process knows.
    #[must_use]
    pub fn delivers(&self) -> bool {
        self.0.health.delivers()
    }

    /// The sink that publishes the log. Only one may run at a time, over all processes.
    ///
    /// # Errors
    /// `Address`: the URL of the analysts' account cannot be read.
    pub async fn relay<H: History>(&self, history: H) -> Result<Relay<H>, Error> {
        let Inner { options, link, health, .. } = &*self.0;
        let mirror = match &options.analytics_url {
            Some(url) => {
                // Its failures show when the mirror is looked at.
                let place = Health::default().at(Part::Connection);
                let link = connection::connect(url, "offers mirror", place).await?;
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
