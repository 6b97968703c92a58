//! Receives the events that lead to mail, and adds each once to the outbox.

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

/// Events of one kind that this process handles at the same time; they share statements.
const IN_FLIGHT: u32 = 128;
/// The limit for handling one event.
const ACK_WAIT: Duration = Duration::from_secs(60);
/// How long an event waits for the read tables before its message is delayed.
const READ_TABLES_WAIT: Duration = Duration::from_secs(10);
/// The delay of an event that the read tables do not show yet.
const BEHIND_RETRY: Duration = Duration::from_secs(1);
/// The delay while PostgreSQL does not answer.
const DATABASE_RETRY: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Handles events of one kind.
pub(super) struct Intake {
    pub(super) kind: Kind,
    pub(super) log: EventLog,
    pub(super) readers: Readers,
    pub(super) collector: Collector,
    pub(super) outbox: Outbox,
    pub(super) parked: Parked,
}

impl Intake {
    /// Handles every event of its kind until the bus stops.
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

/// The user of an event of `kind`; `None` if the log has no such aggregate.
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
        // A user who reads the mail must find its content in the lists.
        let deadline = Instant::now() + READ_TABLES_WAIT;
        if self.readers.checkpoint().wait_for(delivery.position, deadline).await.is_err() {
            return Verdict::RetryAfter(BEHIND_RETRY);
        }
        let user_id = match user_of(&self.log, self.kind, delivery.aggregate_id).await {
            Ok(Some(user)) => user,
            Ok(None) => return Verdict::Park { reason: "the log has no such aggregate".to_owned() },
            Err(cause) => {
                tracing::warn!(position = delivery.position, error = %chain(&cause), "cannot read an event for mail; its message will be delivered again");
                return Verdict::RetryAfter(DATABASE_RETRY);
            }
        };
        let Delivery { event_id, position, aggregate_id, .. } = delivery;
        match self.collector.add(Notice { event_id, user_id, position, kind: self.kind, aggregate_id }).await
        {
            true => Verdict::Done,
            false => Verdict::RetryAfter(DATABASE_RETRY),
        }
    }

    async fn park(&self, letter: Letter) -> Result<(), BoxError> {
        Ok(self.parked.keep(consumer(self.kind), &letter).await?)
    }

    /// Events before mail was switched on lead to no mail.
    async fn finished_before(&self) -> Result<i64, BoxError> {
        let head = self.log.head().await?;
        Ok(self.outbox.start(head).await? + 1)
    }
}
