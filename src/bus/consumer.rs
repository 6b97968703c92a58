//! Hands a processor the events that it subscribes to.
//!
//! A durable pull consumer: it requests only as many messages as it may handle at once, so no message
//! waits in a buffer while its ack wait runs. A message is acknowledged after the handler has committed
//! the result; a lost acknowledgement only leads to another delivery.
//!
//! The pull protocol is written out because the client's own streams do not fit (async-nats 0.51):
//! `Consumer::messages` fetches ahead, so messages age in a buffer; `Consumer::batch` loses its waker on
//! a heartbeat, and notices a dead server only 5 s after the pull has expired.
//!
//! Nothing here is set up or repaired by hand. A missing consumer is recreated, and starts with the oldest
//! event that may be unfinished, not with the first event of the log.

use super::api::{ask, find};
use super::connection::Link;
use super::delivery::{Delivery, UndeliverableMessage, Verdict};
use super::error::Error;
use super::health::HealthReporter;
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

/// Pulls that are open at once: while one fills up, the others go on.
const LANES: u32 = 4;
/// How long the server keeps a pull open.
const PULL_EXPIRES: Duration = Duration::from_secs(20);
/// Interval of the server's signs of life in an open pull.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A pull without a message or a sign of life for this long is dead.
const SILENCE: Duration = Duration::from_secs(5);
/// Messages that may be handled or wait for their next delivery, over all processes. Those that wait
/// count too: with a small number, an outage of the activation system would stop new work.
const MAX_ACK_PENDING: i64 = 20_000;
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
/// The limit for handling the remaining messages after a stop.
const DRAIN: Duration = Duration::from_secs(15);
/// Delay of a message that could not be parked.
const PARK_RETRY: Duration = Duration::from_secs(5);

/// The events to receive, and how.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The consumer's name; the same in every process.
    pub durable: String,
    /// The aggregate and the event, such as `Transaction` and `ActivationRequested`.
    pub event: (&'static str, &'static str),
    /// Messages that this process handles at once.
    pub in_flight: u32,
    /// The limit for handling one message: after it the message is delivered again, to any process.
    pub ack_wait: Duration,
}

/// Handles the events of a subscription.
pub trait Handler: Send + Sync + 'static {
    /// Handles one event, and commits the result before it returns.
    fn handle(&self, delivery: Delivery) -> impl Future<Output = Verdict> + Send;

    /// Stores a message that cannot be handled, for a person to look at. After an error the message is
    /// delivered again.
    fn park(
        &self,
        message: UndeliverableMessage,
    ) -> impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send;

    /// A position before which everything is finished for good.
    fn finished_before(
        &self,
    ) -> impl Future<Output = Result<i64, Box<dyn std::error::Error + Send + Sync>>> + Send;
}

impl Bus {
    /// Hands every event of `subscription` to `handler` until the bus stops, then waits for the events
    /// that are being handled.
    pub async fn consume(&self, subscription: Subscription, handler: impl Handler) {
        let Subscription { durable, event, in_flight, ack_wait } = subscription;
        let options = &self.0.options;
        let consumer = Consumer {
            link: self.0.link.clone(),
            context: context(self.0.link.client.clone()),
            stream: options.stream.clone(),
            config: Config {
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
            was_open: false,
        };
        consumer.run(&self.0.health.reporter(Part::Consumer), &self.0.stop).await;
    }
}

struct Consumer<H> {
    link: Link,
    context: Context,
    stream: String,
    config: Config,
    permits: Arc<Semaphore>,
    lane_share: u32,
    handler: Arc<H>,
    tasks: TaskTracker,
    /// Whether events were ever received.
    was_open: bool,
}

impl<H: Handler> Consumer<H> {
    async fn run(mut self, health: &HealthReporter, stop: &tokio_util::sync::CancellationToken) {
        let mut delays = RECONNECT.delays();
        while let Some(Err(error)) = stop.run_until_cancelled(self.session(health, &mut delays)).await {
            match error {
                // As at every first start. The relay reports it if it cannot create the stream.
                Error::Gone if !self.was_open => health.connecting("the stream does not exist yet"),
                error => health.degraded(format_args!("cannot receive events: {error}")),
            }
            stop.run_until_cancelled(sleep(delays.next_delay())).await;
        }
        self.tasks.close();
        if timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("stopped before all messages were handled; they will be delivered again");
        }
        let _unsent_come_again = timeout(SILENCE, self.link.client.flush()).await;
    }

    async fn session(&mut self, health: &HealthReporter, delays: &mut Delays) -> Result<(), Error> {
        self.link.forget_losses();
        let finished_before = self.handler.finished_before().await.map_err(Error::Log)?;
        self.open(finished_before).await?;
        self.was_open = true;
        health.healthy();
        delays.reset();
        let mut link = self.link.clone();
        let this = &*self;
        tokio::select! {
            ended = try_join_all((0..LANES).map(|_| this.lane(finished_before))) => ended.map(|_| ()),
            () = link.lost() => Err(Error::unreachable("the connection was lost")),
        }
    }

    /// Finds the consumer, or creates it with its start at `start`.
    async fn open(&self, start: i64) -> Result<(), Error> {
        let name = self.config.durable_name.as_deref().unwrap_or_default();
        let found: Option<Info> =
            find(&self.context, format!("CONSUMER.INFO.{}.{name}", self.stream), &json!({})).await?;
        let deliver_policy = match found {
            Some(info) if self.is_up_to_date(&info) => return Ok(()),
            Some(info) => info.config.deliver_policy, // cannot be changed
            None => {
                DeliverPolicy::ByStartSequence { start_sequence: u64::try_from(start).unwrap_or(1).max(1) }
            }
        };
        let config = Config { deliver_policy, ..self.config.clone() };
        let subject = format!("CONSUMER.DURABLE.CREATE.{}.{name}", self.stream);
        let _: Info =
            ask(&self.context, subject, &json!({ "stream_name": self.stream, "config": config })).await?;
        Ok(())
    }

    fn is_up_to_date(&self, info: &Info) -> bool {
        let wanted = &self.config;
        info.config.filter_subject == wanted.filter_subject
            && info.config.ack_wait == wanted.ack_wait
            && info.config.max_ack_pending == wanted.max_ack_pending
    }

    /// Pulls, again and again, as many messages as may be handled at once.
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
            let name = self.config.durable_name.as_deref().unwrap_or_default();
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", self.stream);
            let pull = client.publish_with_reply(subject, inbox.clone(), request.to_string().into());
            timeout(SILENCE, pull).await.map_err(Error::unreachable)?.map_err(Error::unreachable)?;
            while let Some(permit) = permits.split(1) {
                let Some(message) = next_message(&mut messages).await? else { break };
                self.spawn(message, permit, finished_before);
            }
        }
    }

    /// Waits for one permit; takes up to a lane's share if more are free.
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
                tracing::debug!(error = %chain(&*cause), "cannot acknowledge a message; it will be delivered again");
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

/// Handles one message and returns the answer to the server.
async fn answer(handler: &impl Handler, message: &jetstream::Message, finished_before: i64) -> AckKind {
    let delivery = match Delivery::read(message) {
        Ok(delivery) if delivery.position < finished_before => return AckKind::Ack,
        Ok(delivery) => delivery,
        Err(message) => return park(handler, message).await,
    };
    let undeliverable = |reason| UndeliverableMessage { reason, ..UndeliverableMessage::about(&delivery) };
    // A panic is a defect: another delivery would panic again.
    let handled = AssertUnwindSafe(handler.handle(delivery.clone())).catch_unwind().await;
    match handled {
        Ok(Verdict::Done) => AckKind::Ack,
        Ok(Verdict::RetryAfter(delay)) => AckKind::Nak(Some(delay)),
        Ok(Verdict::Park { reason }) => park(handler, undeliverable(reason)).await,
        Err(_) => park(handler, undeliverable("handling it panicked".to_owned())).await,
    }
}

async fn park(handler: &impl Handler, message: UndeliverableMessage) -> AckKind {
    tracing::error!(
        position = message.position,
        subject = message.subject,
        reason = message.reason,
        "parking a message that cannot be handled"
    );
    match handler.park(message).await {
        Ok(()) => AckKind::Term,
        Err(cause) => {
            tracing::error!(error = %chain(&*cause), "cannot park a message; it will be delivered again");
            AckKind::Nak(Some(PARK_RETRY))
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
