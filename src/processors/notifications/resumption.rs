//! Takes up again what a person has sent back to work: a mail that was parked, or a message that could not
//! be noted.

use super::intake::{consumer, user_of};
use super::outbox::{Kind, Notice, Outbox};
use super::sender::PARKED_AS;
use crate::clock::Clock;
use crate::event_log::EventLog;
use crate::processors::{Parked, ParkedMessage};
use crate::telemetry::chain;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);
/// How many are taken at a time.
const BATCH: u32 = 64;

type BoxError = Box<dyn Error + Send + Sync>;

/// Takes up mail's part of the parked messages.
pub(super) struct Resumption {
    pub(super) log: EventLog,
    pub(super) outbox: Outbox,
    pub(super) parked: Parked,
    pub(super) clock: Clock,
    pub(super) due: Arc<Notify>,
}

impl Resumption {
    pub(super) async fn run(self, stop: CancellationToken) {
        let [succeeded, failed, expiry_soon] = Kind::ALL.map(consumer);
        let consumers = [PARKED_AS, succeeded, failed, expiry_soon];
        while !stop.is_cancelled() {
            match self.parked.resume(&consumers, BATCH).await {
                Ok(messages) => {
                    for message in messages {
                        self.take_up(&message).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "no mail can be taken up again");
                }
            }
            stop.run_until_cancelled(sleep(PERIOD)).await;
        }
    }

    async fn take_up(&self, message: &ParkedMessage) {
        let reason = match self.reopen_or_note(message).await {
            Ok(None) => return self.due.notify_one(),
            Ok(Some(reason)) => reason.to_owned(),
            Err(error) => chain(&*error),
        };
        if let Err(error) = self.parked.keep_again(message.id, &reason).await {
            tracing::error!(error = %chain(&error), parked_id = %message.id, reason, "{} is not parked again", message.id);
        }
    }

    /// Why it cannot be, else nothing.
    async fn reopen_or_note(&self, message: &ParkedMessage) -> Result<Option<&'static str>, BoxError> {
        let now = self.clock.now().utc();
        if let Some(event_id) = message.event_id.filter(|_| message.consumer == PARKED_AS) {
            self.outbox.reopen(event_id, now).await?;
            return Ok(None);
        }
        // What the log has at its position, whatever the message says.
        let page = self.log.page(message.position - 1, 1).await?;
        let Some(recorded) = page.first() else { return Ok(Some("the log has no such position")) };
        let Some(kind) = Kind::of(recorded) else { return Ok(Some("nobody is told of the event there")) };
        let aggregate_id = recorded.aggregate_uuid()?;
        let Some(user_id) = user_of(&self.log, kind, aggregate_id).await? else {
            return Ok(Some("the log has nothing of it"));
        };
        let (event_id, position) = (recorded.event_id, recorded.position);
        self.outbox.add(&[Notice { event_id, user_id, position, kind, aggregate_id }], now).await?;
        Ok(None)
    }
}
