//! Receives the events that users are told of, and notes each once.

use super::collector::Collector;
use super::outbox::{Kind, Notice, Outbox};
use crate::bus::{Bus, Delivery, Handler, Letter, Subscription, Verdict};
use crate::event_log::{EventLog, LogError};
use crate::processors::Parked;
use crate::telemetry::chain;
use domain::UserId;
use domain::transaction::Transaction;
use domain::user_offer::UserOffer;
use projections::Readers;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Events of one kind that this process handles at once; each waits a moment for its neighbours.
const IN_FLIGHT: u32 = 128;
/// How long one event may take to be noted, all in all.
const ACK_WAIT: Duration = Duration::from_secs(60);
/// How long it may wait for the read tables before its message is put off.
const READ_TABLES_WAIT: Duration = Duration::from_secs(10);
/// Then it comes again after this.
const BEHIND_PAUSE: Duration = Duration::from_secs(1);
/// PostgreSQL does not answer: again after this.
const DATABASE_PAUSE: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Notes events of one kind.
pub(super) struct Intake {
    pub(super) kind: Kind,
    pub(super) log: EventLog,
    pub(super) readers: Readers,
    pub(super) collector: Collector,
    pub(super) outbox: Outbox,
    pub(super) parked: Parked,
}

impl Intake {
    /// Notes every event of its kind until the bus stops.
    pub(super) async fn run(self, bus: Bus) {
        let subscription = Subscription {
            durable: consumer(self.kind).to_owned(),
            event: self.kind.event(),
            in_flight: IN_FLIGHT,
            ack_wait: ACK_WAIT,
        };
        bus.consume(subscription, self).await;
    }
}

/// The name of the consumer of `kind`, in NATS and in the table of parked messages.
pub(super) fn consumer(kind: Kind) -> &'static str {
    match kind {
        Kind::Succeeded => "mail-succeeded",
        Kind::Failed => "mail-failed",
        Kind::ExpirySoon => "mail-expiry-soon",
    }
}

/// Whom an event of `kind` concerns; `None`: the log has no such aggregate.
pub(super) async fn user_of(log: &EventLog, kind: Kind, id: Uuid) -> Result<Option<UserId>, LogError> {
    match kind {
        Kind::Succeeded | Kind::Failed => {
            let user = |state: Transaction| state.request().map(|request| request.user_id);
            match user(log.load(id).await?.state) {
                None => Ok(user(log.reload(id).await?.state)),
                known => Ok(known),
            }
        }
        Kind::ExpirySoon => {
            let user = |state: UserOffer| match state {
                UserOffer::Subscribed(subscribed) => Some(subscribed.user_id),
                UserOffer::None => None,
            };
            match user(log.load(id).await?.state) {
                None => Ok(user(log.reload(id).await?.state)),
                known => Ok(known),
            }
        }
    }
}

impl Handler for Intake {
    async fn handle(&self, delivery: Delivery) -> Verdict {
        // Whoever is told must find it in the lists.
        let deadline = Instant::now() + READ_TABLES_WAIT;
        if self.readers.checkpoint().wait_for(delivery.position, deadline).await.is_err() {
            return Verdict::RetryAfter(BEHIND_PAUSE);
        }
        let user_id = match user_of(&self.log, self.kind, delivery.aggregate_id).await {
            Ok(Some(user)) => user,
            Ok(None) => return Verdict::Park { reason: "the log has nothing of it".to_owned() },
            Err(cause) => {
                tracing::warn!(position = delivery.position, error = %chain(&cause), "an event could not be read for mail");
                return Verdict::RetryAfter(DATABASE_PAUSE);
            }
        };
        let Delivery { event_id, position, aggregate_id, .. } = delivery;
        match self.collector.add(Notice { event_id, user_id, position, kind: self.kind, aggregate_id }).await
        {
            true => Verdict::Done,
            false => Verdict::RetryAfter(DATABASE_PAUSE),
        }
    }

    async fn park(&self, letter: Letter) -> Result<(), BoxError> {
        Ok(self.parked.keep(consumer(self.kind), &letter).await?)
    }

    /// What came before mail was switched on is nobody's; what came after it is noted or will be.
    async fn finished_before(&self) -> Result<i64, BoxError> {
        let head = self.log.head().await?;
        Ok(self.outbox.start(head).await? + 1)
    }
}
