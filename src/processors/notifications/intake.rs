//! Adds the events that lead to mail to the outbox, as a part of the announcer, which follows the log.
//!
//! The checkpoint moves in the SQL transaction that adds the rows. A mail never runs ahead of the read
//! tables: a user who reads it must find its content in the lists.

use super::outbox::{Kind, Notice, Outbox};
use crate::clock::Clock;
use crate::event_log::SinkError;
use domain::{Event, Recorded, TransactionId, user_offer};
use projections::Readers;
use sqlx::PgConnection;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a page waits for the read tables before it is read again.
const READ_TABLES_WAIT: Duration = Duration::from_secs(10);

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
    pub(super) readers: Readers,
    pub(super) clock: Clock,
    pub(super) due: Arc<Notify>,
}

impl Intake {
    /// For a process that sends no mail itself.
    #[must_use]
    pub fn new(readers: Readers, clock: Clock) -> Self {
        Self { readers, clock, due: Arc::default() }
    }

    /// The notices of the events in `page`, as soon as the read tables show them.
    pub(in crate::processors) async fn notices(&self, page: &[Recorded]) -> Result<Vec<Notice>, SinkError> {
        let events: Vec<_> = page.iter().filter_map(|event| Some((event, Kind::of(event)?))).collect();
        let Some((last, _)) = events.last() else { return Ok(Vec::new()) };
        self.readers.checkpoint().wait_for(last.position, Instant::now() + READ_TABLES_WAIT).await?;
        let mut transactions = Vec::new();
        for (event, kind) in &events {
            if *kind != Kind::ExpirySoon {
                transactions.push(TransactionId(id_of(event)?));
            }
        }
        let buyers = self.readers.buyers(&transactions).await?;
        let mut notices = Vec::with_capacity(events.len());
        for (event, kind) in events {
            let (position, event_id, aggregate_id) = (event.position, event.event_id, id_of(event)?);
            let user_id = match Event::decode(event)? {
                Event::UserOffer(user_offer::Event::ExpirySoon { user_id, .. }) => Some(user_id),
                _ => buyers.get(&TransactionId(aggregate_id)).copied(),
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

fn id_of(event: &Recorded) -> Result<uuid::Uuid, IntakeError> {
    event.aggregate_uuid().map_err(|_| IntakeError::NoId(event.position))
}
