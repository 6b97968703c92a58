//! Handles requeued messages: reopens a parked mail, or adds a notice for a message that could not be handled.
//!
//! A message counts as handled once it is: nothing else would find the mail if this process died in between. Both
//! acts may be repeated.

use super::intake::{Intake, OLD_CONSUMERS};
use super::outbox::Outbox;
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

const PERIOD: Duration = Duration::from_secs(1);
/// Messages that are taken at a time.
const BATCH: u32 = 64;

type BoxError = Box<dyn Error + Send + Sync>;

/// Polls for requeued messages of mail.
pub(super) struct RequeuedMails {
    pub(super) log: EventLog,
    pub(super) intake: Intake,
    pub(super) outbox: Outbox,
    pub(super) parked: Parked,
    pub(super) clock: Clock,
    pub(super) due: Arc<Notify>,
}

impl RequeuedMails {
    pub(super) async fn run(self, stop: CancellationToken) {
        let [succeeded, failed, expiry_soon] = OLD_CONSUMERS;
        let consumers = [PARKED_AS, succeeded, failed, expiry_soon];
        while !stop.is_cancelled() {
            match self.parked.requeued(&consumers, BATCH).await {
                Ok(messages) => {
                    for message in messages {
                        self.handle(&message).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot read requeued messages; retrying");
                }
            }
            stop.run_until_cancelled(sleep(PERIOD)).await;
        }
    }

    async fn handle(&self, message: &ParkedMessage) {
        let reason = match self.reopen_or_add(message).await {
            Ok(None) => None,
            Ok(Some(reason)) => Some(reason.to_owned()),
            Err(error) => Some(chain(&*error)),
        };
        let noted = match &reason {
            None => self.parked.handled(message.id).await,
            Some(reason) => self.parked.park_again(message.id, reason).await,
        };
        if reason.is_none() {
            self.due.notify_one();
        }
        if let Err(error) = noted {
            tracing::error!(error = %chain(&error), parked_id = %message.id, "cannot note what became of {}; retrying", message.id);
        }
    }

    /// Returns the reason if the message cannot be handled.
    async fn reopen_or_add(&self, message: &ParkedMessage) -> Result<Option<&'static str>, BoxError> {
        let now = self.clock.now().utc();
        if let Some(event_id) = message.event_id.filter(|_| message.consumer == PARKED_AS) {
            self.outbox.reopen(event_id, now).await?;
            return Ok(None);
        }
        // The event at the message's position in the log, whatever the message says.
        let page = self.log.page(message.position - 1, 1).await?;
        let Some(recorded) = page.first() else { return Ok(Some("the log has no such position")) };
        let notices = self.intake.notices(std::slice::from_ref(recorded)).await?;
        if notices.is_empty() {
            return Ok(Some("there is no mail for the event at this position"));
        }
        self.outbox.add_late(&notices, now).await?;
        Ok(None)
    }
}
