//! Tells partners and users what happened: a follower of the log, one active instance at a time.
//!
//! What is told is taken from the log page by page. One transaction adds the callbacks and the mails of a
//! page and moves their checkpoints, so nothing is told twice and nothing is forgotten, whatever NATS
//! remembers. Callbacks and mail have a checkpoint each: mail may have been switched on later. Whether this
//! process sends mail does not matter: another one may.

use super::callbacks::Enqueuer;
use super::ended::ended;
use super::notifications::Intake;
use crate::event_log::{Sink, SinkError};
use domain::Recorded;
use projections::Readers;
use sqlx::PgPool;
use std::time::Duration;

/// The pause between two pages: each costs a commit, and nobody waits for a callback or a mail in
/// milliseconds.
const PAGE_DELAY: Duration = Duration::from_millis(25);

/// Another announcer was at work.
#[derive(Debug, thiserror::Error)]
#[error("another announcer was here: a checkpoint is no longer {0}")]
struct Overtaken(i64);

/// Adds a callback for every final event of a partner's transaction, and a mail for every event that leads
/// to one.
#[derive(Clone)]
pub struct Announcer {
    pool: PgPool,
    readers: Readers,
    callbacks: Enqueuer,
    mail: Intake,
}

/// How far the log has been read.
struct Checkpoints {
    callbacks: i64,
    /// `None`: mail was never switched on.
    mail: Option<i64>,
}

impl Checkpoints {
    fn oldest(&self) -> i64 {
        self.mail.map_or(self.callbacks, |mail| mail.min(self.callbacks))
    }
}

impl Announcer {
    /// To be fed on one instance at a time (`event_log::Role::Callbacks`); two would refuse each other's
    /// pages.
    #[must_use]
    pub fn new(pool: PgPool, readers: Readers, callbacks: Enqueuer, mail: Intake) -> Self {
        Self { pool, readers, callbacks, mail }
    }

    async fn checkpoints(&self) -> Result<Checkpoints, sqlx::Error> {
        let query = "select position, (select position from mail_checkpoint) from callback_checkpoint";
        let (callbacks, mail) = sqlx::query_as(query).fetch_one(&self.pool).await?;
        Ok(Checkpoints { callbacks, mail })
    }
}

impl Sink for Announcer {
    const PAGE_DELAY: Duration = PAGE_DELAY;

    fn name(&self) -> &'static str {
        "callbacks"
    }

    async fn checkpoint(&mut self) -> Result<i64, SinkError> {
        Ok(self.checkpoints().await?.oldest())
    }

    async fn apply(&mut self, page: &[Recorded]) -> Result<(), SinkError> {
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(()) };
        let at = self.checkpoints().await?;
        if at.oldest() != first.position - 1 {
            return Err(Overtaken(first.position - 1).into());
        }
        let to = last.position;
        let ended = ended(&self.readers, page).await?;
        let deliveries = self.callbacks.deliveries(after(page, at.callbacks), &ended).await?;
        let mail_from = at.mail.filter(|from| *from < to);
        let mails = match mail_from {
            Some(from) => Intake::notices(after(page, from), &ended)?,
            None => Vec::new(),
        };
        let mut transaction = self.pool.begin().await?;
        if at.callbacks < to && !self.callbacks.write(&mut transaction, at.callbacks, to, &deliveries).await?
        {
            return Err(Overtaken(at.callbacks).into());
        }
        if let Some(from) = mail_from
            && !self.mail.write(&mut transaction, from, to, &mails).await?
        {
            return Err(Overtaken(from).into());
        }
        transaction.commit().await?;
        if !deliveries.is_empty() {
            self.callbacks.wake_sender();
        }
        if !mails.is_empty() {
            self.mail.wake_sender();
        }
        Ok(())
    }
}

/// The events of `page` that come after `position`.
fn after(page: &[Recorded], position: i64) -> &[Recorded] {
    &page[page.partition_point(|event| event.position <= position)..]
}
