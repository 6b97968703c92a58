//! Adds the events that lead to mail to the outbox, as a part of the announcer, which follows the log.
//!
//! The checkpoint moves in the SQL transaction that adds the rows. A mail never runs ahead of the read
//! tables: a user who reads it must find its content in the lists.

use super::outbox::{Kind, Notice, Outbox};
use crate::clock::Clock;
use crate::event_log::SinkError;
use crate::processors::ended::Ended;
use domain::{Event, Recorded, TransactionId, user_offer};
use sqlx::PgConnection;
use std::sync::Arc;
use tokio::sync::Notify;

/// Durable consumers that received these events before mail followed the log. Messages may still be parked
/// under these names.
pub const OLD_CONSUMERS: [&str; 3] = ["mail-succeeded", "mail-failed", "mail-expiry-soon"];

#[derive(Debug, thiserror::Error)]
enum IntakeError {
    #[error("the event at position {0} has no aggregate id")]
    NoId(i64),
    #[error("the read tables do not show the transaction of position {0}")]
    NoTransaction(i64),
}

/// Adds a notice for every event that leads to mail. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    pub(super) clock: Clock,
    pub(super) due: Arc<Notify>,
}

impl Intake {
    /// For a process that sends no mail itself.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, due: Arc::default() }
    }

    /// The notices of the events in `page`.
    pub(in crate::processors) fn notices(page: &[Recorded], ended: &Ended) -> Result<Vec<Notice>, SinkError> {
        let mut notices = Vec::new();
        for event in page {
            let Some(kind) = Kind::of(event) else { continue };
            let (position, event_id) = (event.position, event.event_id);
            let aggregate_id = event.aggregate_uuid().map_err(|_| IntakeError::NoId(position))?;
            let user_id = match event.event()? {
                Event::UserOffer(user_offer::Event::ExpirySoon { user_id, .. }) => Some(*user_id),
                _ => ended.get(&TransactionId(aggregate_id)).map(|view| view.request.user_id),
            };
            let user_id = user_id.ok_or(IntakeError::NoTransaction(position))?;
            notices.push(Notice { event_id, user_id, position, kind, aggregate_id });
        }
        Ok(notices)
    }

    /// Adds `notices` and moves the checkpoint. False, and nothing is written, if it was not at `from`.
    pub(in crate::processors) async fn write(
        &self,
        connection: &mut PgConnection,
        from: i64,
        to: i64,
        notices: &[Notice],
    ) -> Result<bool, sqlx::Error> {
        if !Outbox::advance(&mut *connection, from, to).await? {
            return Ok(false);
        }
        if !notices.is_empty() {
            Outbox::add(connection, notices, self.clock.now().utc()).await?;
        }
        Ok(true)
    }

    pub(in crate::processors) fn wake_sender(&self) {
        self.due.notify_one();
    }
}

/// Whether users are told of `event`.
pub(in crate::processors) fn leads_to_mail(event: &Recorded) -> bool {
    Kind::of(event).is_some()
}
