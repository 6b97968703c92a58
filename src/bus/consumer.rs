//! Wakes a processor with the events it waits for.
//!
//! A durable pull consumer: it asks for as many messages as it may handle at once, so none waits in a
//! buffer while its time runs. A message is acknowledged after the handler has committed what came of
//! it; a lost acknowledgement only brings it again.
//!
//! The pull protocol is written out because the client's own streams do not fit (async-nats 0.51):
//! `Consumer::messages` fetches ahead, so messages age in a buffer; `Consumer::batch` loses its waker on
//! a heartbeat, and notices a dead server only 5 s after the pull has expired.
//!
//! Nothing here must be set up or mended by hand. A missing consumer is made again, and begins with the
//! oldest event that may be unfinished, not with the beginning of history.

use super::api::{ask, find};
use super::connection::Link;
use super::delivery::{Delivery, Letter, Verdict};
use super::error::Error;
use super::health::Place;
use super::{Bus, Part, context, subjects};
use crate::backoff::{Backoff, Delays};
use crate::telemetry::chain;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, Info};
use async_nats::jetstream::{AckKind, Context};
use async_nats::{Message, StatusCode, Subscriber, jetstream};
use futures::future::try_join_all;
use futures::{FutureExt, StreamExt};
use serde_json::json;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

/// How many pulls are open at once: as one fills up, the others go on.
const LANES: u32 = 4;
/// How long the server keeps a pull open.
const PULL_EXPIRES: Duration = Duration::from_secs(20);
/// How often the server says that an open pull is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A pull this silent is dead.
const SILENCE: Duration = Duration::from_secs(5);
/// How many messages may be handled or waiting for their next try, over all processes. Those that wait
/// count too, so a small number would let an outage of the outside world stop new work.
const MAX_ACK_PENDING: i64 = 20_000;
/// Between sessions.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
/// How long messages under way may take to end after a stop.
const DRAIN: Duration = Duration::from_secs(15);
/// A message whose parking failed comes back after this.
const PARK_AGAIN: Duration = Duration::from_secs(5);

/// Which events to receive, and how.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The consumer's name; the same in every process.
    pub durable: String,
    /// The aggregate and the event, such as `Transaction` and `ActivationRequested`.
    pub event: (&'static str, &'static str),
    /// How many messages this process handles at once.
    pub in_flight: u32,
    /// How long handling one may take, all in all: then it comes again, to anybody.
    pub ack_wait: Duration,
}

/// What is done with the events.
pub trait Handler: Send + Sync + 'static {
    /// Handles one event. It has committed what came of it when it returns.
    fn handle(&self, delivery: Delivery) -> impl Future<Output = Verdict> + Send;

    /// Keeps a message that cannot be handled for a person to look at.
    ///
    /// # Errors
    /// It could not be kept; the message will come again.
    fn park(
        &self,
        letter: Letter,
    ) -> impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send;

    /// A position before which nothing is unfinished any more, and never will be.
    ///
    /// # Errors
    /// Nobody knows now; it is asked again.
    fn finished_before(
        &self,
    ) -> impl Future<Output = Result<i64, Box<dyn std::error::Error + Send + Sync>>> + Send;
}

impl Bus {
    /// Hands every event of `subscription` to `handler`, until the bus stops; then waits for those
    /// that are being handled.
    pub async fn consume(&self, subscription: Subscription, handler: impl Handler) {
        let Subscription { durable, event, in_flight, ack_wait } = subscription;
        let options = &self.0.options;
        let consumer = Consumer {
            link: self.0.link.clone(),
            context: context(self.0.link.client.clone()),
            stream: options.stream.clone(),
            form: Config {
                durable_name: Some(durable),
                filter_subject: subjects::subject(&options.subjects, event.0, event.1),
                ack_policy: AckPolicy::Explicit,
                ack_wait,
                max_ack_pending: MAX_ACK_PENDING,
                max_deliver: -1,
                ..Config::default()
            },
            permits: Arc::new(Semaphore::new(in_flight.max(LANES) as usize)),
            lane_share: (in_flight / LANES).max(1),
            handler: Arc::new(handler),
            tasks: TaskTracker::new(),
        };
        consumer.run(&self.0.health.at(Part::Consumer), &self.0.stop).await;
    }
}

struct Consumer<H> {
    link: Link,
    context: Context,
    stream: String,
    form: Config,
    permits: Arc<Semaphore>,
    lane_share: u32,
    handler: Arc<H>,
    tasks: TaskTracker,
}

impl<H: Handler> Consumer<H> {
    async fn run(mut self, place: &Place, stop: &tokio_util::sync::CancellationToken) {
        let mut delays = RECONNECT.delays();
        while let Some(Err(error)) = stop.run_until_cancelled(self.session(place, &mut delays)).await {
            place.degraded(format_args!("events are not received: {error}"));
            stop.run_until_cancelled(sleep(delays.next_delay())).await;
        }
        self.tasks.close();
        if timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("stopped while messages were being handled; they come again");
        }
        let _unsent_come_again = timeout(SILENCE, self.link.client.flush()).await;
    }

    /// Receives until something goes wrong.
    async fn session(&mut self, place: &Place, delays: &mut Delays) -> Result<(), Error> {
        self.link.forget_losses();
        let finished_before = self.handler.finished_before().await.map_err(Error::Log)?;
        self.open(finished_before).await?;
        place.well();
        delays.reset();
        let mut link = self.link.clone();
        let this = &*self;
        tokio::select! {
            ended = try_join_all((0..LANES).map(|_| this.lane(finished_before))) => ended.map(|_| ()),
            () = link.lost() => Err(Error::unreachable("the connection was lost")),
        }
    }

    /// Finds the consumer, or makes it begin at `start`.
    async fn open(&self, start: i64) -> Result<(), Error> {
        let name = self.form.durable_name.as_deref().unwrap_or_default();
        let found: Option<Info> =
            find(&self.context, format!("CONSUMER.INFO.{}.{name}", self.stream), &json!({})).await?;
        let deliver_policy = match found {
            Some(info) if self.is_formed(&info) => return Ok(()),
            Some(info) => info.config.deliver_policy, // cannot be changed
            None => {
                DeliverPolicy::ByStartSequence { start_sequence: u64::try_from(start).unwrap_or(1).max(1) }
            }
        };
        let form = Config { deliver_policy, ..self.form.clone() };
        let subject = format!("CONSUMER.DURABLE.CREATE.{}.{name}", self.stream);
        let _: Info =
            ask(&self.context, subject, &json!({ "stream_name": self.stream, "config": form })).await?;
        Ok(())
    }

    fn is_formed(&self, info: &Info) -> bool {
        let wanted = &self.form;
        info.config.filter_subject == wanted.filter_subject
            && info.config.ack_wait == wanted.ack_wait
            && info.config.max_ack_pending == wanted.max_ack_pending
    }

    /// Pulls, again and again, as much as may be handled at once.
    async fn lane(&self, finished_before: i64) -> Result<(), Error> {
        let client = &self.link.client;
        let inbox = client.new_inbox();
        let mut messages = client.subscribe(inbox.clone()).await.map_err(Error::unreachable)?;
        loop {
            let mut permits = self.take_permits().await;
            let request = json!({
                "batch": permits.num_permits(),
                "expires": nanoseconds(PULL_EXPIRES),
                "idle_heartbeat": nanoseconds(HEARTBEAT),
            });
            let name = self.form.durable_name.as_deref().unwrap_or_default();
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", self.stream);
            let pull = client.publish_with_reply(subject, inbox.clone(), request.to_string().into());
            timeout(SILENCE, pull).await.map_err(Error::unreachable)?.map_err(Error::unreachable)?;
            while let Some(permit) = permits.split(1) {
                let Some(message) = next_message(&mut messages).await? else { break };
                self.spawn(message, permit, finished_before);
            }
        }
    }

    /// At least one permit, at most a lane's share.
    async fn take_permits(&self) -> OwnedSemaphorePermit {
        let acquired = self.permits.clone().acquire_owned().await;
        let mut permits = acquired.expect("nobody closes this semaphore");
        for _ in 1..self.lane_share {
            match self.permits.clone().try_acquire_owned() {
                Ok(permit) => permits.merge(permit),
                Err(_) => break,
            }
        }
        permits
    }

    fn spawn(&self, message: Message, permit: OwnedSemaphorePermit, finished_before: i64) {
        let handler = self.handler.clone();
        let message = jetstream::Message { message, context: self.context.clone() };
        self.tasks.spawn(async move {
            let answer = answer(&*handler, &message, finished_before).await;
            if let Err(cause) = message.ack_with(answer).await {
                tracing::debug!(error = %chain(&*cause), "an acknowledgement was lost; the message comes again");
            }
            drop(permit);
        });
    }
}

/// The next message of an open pull; `None` when the pull has ended.
async fn next_message(messages: &mut Subscriber) -> Result<Option<Message>, Error> {
    loop {
        let message = timeout(SILENCE, messages.next()).await.map_err(Error::unreachable)?;
        let message = message.ok_or_else(|| Error::unreachable("the subscription ended"))?;
        match message.status {
            None | Some(StatusCode::OK) => return Ok(Some(message)),
            Some(StatusCode::IDLE_HEARTBEAT) => {}
            Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => return Ok(None),
            Some(StatusCode::NO_RESPONDERS) => return Err(Error::Gone),
            Some(status) => {
                let description = message.description.unwrap_or_default();
                return Err(Error::Refused(format!("{status} {description}")));
            }
        }
    }
}

/// Handles one message and says what the server is told.
async fn answer(handler: &impl Handler, message: &jetstream::Message, finished_before: i64) -> AckKind {
    let delivery = match Delivery::read(message) {
        Ok(delivery) if delivery.position < finished_before => return AckKind::Ack,
        Ok(delivery) => delivery,
        Err(letter) => return park(handler, letter).await,
    };
    let letter = |reason| Letter { reason, ..Letter::about(&delivery) };
    // A panic is a defect that a repeat would meet again.
    let handled = AssertUnwindSafe(handler.handle(delivery.clone())).catch_unwind().await;
    match handled {
        Ok(Verdict::Done) => AckKind::Ack,
        Ok(Verdict::RetryAfter(delay)) => AckKind::Nak(Some(delay)),
        Ok(Verdict::Park { reason }) => park(handler, letter(reason)).await,
        Err(_) => park(handler, letter("handling it panicked".to_owned())).await,
    }
}

async fn park(handler: &impl Handler, letter: Letter) -> AckKind {
    tracing::error!(
        position = letter.position,
        subject = letter.subject,
        reason = letter.reason,
        "a message is parked"
    );
    metrics::counter!("offers_parked_total").increment(1);
    match handler.park(letter).await {
        Ok(()) => AckKind::Term,
        Err(cause) => {
            tracing::error!(error = %chain(&*cause), "a message could not be parked; it comes again");
            AckKind::Nak(Some(PARK_AGAIN))
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
