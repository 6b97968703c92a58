//! Handles requeued messages: reopens a parked mail, or adds a notice for a message that could not be handled.

use super::intake::{Intake, OLD_CONSUMERS};
use super::outbox::Outbox;
use super::sender::PARKED_AS;
use crate::clock::Clock;
use crate::processors::ParkedMessage;
use crate::processors::ended::ended;
use crate::processors::requeued::{Handled, Requeued};
use crate::telemetry::chain;
use domain::Recorded;
use projections::Readers;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The consumers whose messages are about mail.
pub(super) fn consumers() -> Vec<&'static str> {
    [PARKED_AS].into_iter().chain(OLD_CONSUMERS).collect()
}

/// Polls for requeued messages of mail.
pub(super) struct RequeuedMails {
    pub(super) messages: Requeued,
    pub(super) mails: Reopening,
}

pub(super) struct Reopening {
    pub(super) readers: Readers,
    pub(super) outbox: Outbox,
    pub(super) clock: Clock,
    pub(super) due: Arc<Notify>,
}

impl RequeuedMails {
    pub(super) async fn run(self, stop: CancellationToken) {
        let Self { messages, mails } = self;
        messages.run(stop, |message, event| mails.reopen_or_add(message, event)).await;
    }
}

impl Reopening {
    async fn reopen_or_add(&self, message: ParkedMessage, event: Option<Recorded>) -> Handled {
        let now = self.clock.now().utc();
        if let Some(event_id) = message.event_id.filter(|_| message.consumer == PARKED_AS) {
            self.outbox.reopen_unsent(event_id, now).await.map_err(|error| chain(&error))?;
        } else {
            let page = [event.ok_or("the log has no such position")?];
            let ended = ended(&self.readers, &page).await.map_err(|error| chain(&*error))?;
            let notices = Intake::notices(&page, &ended).map_err(|error| chain(&*error))?;
            if notices.is_empty() {
                return Err("there is no mail for the event at this position".to_owned());
            }
            self.outbox.add_late(&notices, now).await.map_err(|error| chain(&error))?;
        }
        self.due.notify_one();
        Ok(())
    }
}
