//! Tells partners and users what happened, and queues what is to be looked up once more: a follower of the log, one active instance at a time.
//!
//! What is told is taken from the log page by page. One transaction adds the callbacks and the mails of a
//! page and moves their checkpoints, so nothing is told twice and nothing is forgotten, whatever NATS
//! remembers. Callbacks and mail have a checkpoint each: mail may have been switched on later. Whether this
//! process sends mail does not matter: another one may.
//!
//! A checkpoint that is not in the log, because the log was restored from an older copy, is moved to where the two
//! histories part: nothing is told again, and nothing that is new is skipped.

use super::activation::rechecks;
use super::callbacks::Enqueuer;
use super::ended::ended;
use super::notifications::Intake;
use crate::event_log::{EventLog, Sink, SinkError};
use crate::failpoint::{Step, failpoint};
use crate::postgres::Answered;
use chrono::{DateTime, Utc};
use domain::Recorded;
use projections::Readers;
use sqlx::PgPool;
use std::time::Duration;
use uuid::Uuid;

/// How long a page waits for more events: each page costs a commit, and nobody waits for a callback or a mail in
/// milliseconds.
const PAGE_DELAY: Duration = Duration::from_millis(25);

/// The tables of the checkpoints, and how one that was lost is set again: at the other's position, since both move in the
/// same transaction; else at the newest delivery or the head, $1. Without a row and without a mail, mail was never
/// switched on.
const CHECKPOINTS: [(&str, &str); 2] = [
    (
        "callback_checkpoint",
        "insert into callback_checkpoint (position) \
         select coalesce((select position from mail_checkpoint), (select max(position) from callback_deliveries), $1) \
         where not exists (select from callback_checkpoint) \
         on conflict do nothing",
    ),
    (
        "mail_checkpoint",
        "insert into mail_checkpoint (position) \
         select least(position, $1) from callback_checkpoint \
         where not exists (select from mail_checkpoint) and exists (select from sent_mail) \
         on conflict do nothing",
    ),
];

/// A checkpoint has moved.
#[derive(Debug, thiserror::Error)]
#[error("a checkpoint is no longer {0}: another announcer was here, or it was not in the log")]
struct Overtaken(i64);

/// Adds a callback for every final event of a partner's transaction, and a mail for every event that leads
/// to one.
#[derive(Clone)]
pub struct Announcer {
    log: EventLog,
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
    pub fn new(log: EventLog, pool: PgPool, readers: Readers, callbacks: Enqueuer, mail: Intake) -> Self {
        Self { log, pool, readers, callbacks, mail }
    }

    async fn checkpoints(&self) -> Result<Checkpoints, sqlx::Error> {
        let query = "select position, (select position from mail_checkpoint) from callback_checkpoint";
        let (callbacks, mail) = sqlx::query_as(query).fetch_one(&self.pool).answered().await?;
        Ok(Checkpoints { callbacks, mail })
    }

    /// Sets checkpoints that were lost again, and moves those that are not in the log. True if one has changed.
    async fn mend_checkpoints(&self) -> Result<bool, SinkError> {
        let head = self.log.head().await?;
        let mut mended = false;
        for (table, set_again) in CHECKPOINTS {
            let set = sqlx::query(set_again).bind(head).execute(&self.pool).answered().await?;
            if set.rows_affected() > 0 {
                tracing::error!(table, "the checkpoint was lost; continuing after what was announced last");
            }
            mended |= self.mend(table, head).await? || set.rows_affected() > 0;
        }
        Ok(mended)
    }

    /// Moves the checkpoint in `table` to where the histories part if it is not in the log.
    async fn mend(&self, table: &str, head: i64) -> Result<bool, SinkError> {
        let query = format!("select position, event_id, recorded_at from {table} where position <> 0");
        let stored: Option<(i64, Option<Uuid>, Option<DateTime<Utc>>)> =
            sqlx::query_as(&query).fetch_optional(&self.pool).answered().await?;
        let Some((position, event_id, recorded_at)) = stored else { return Ok(false) };
        if event_id.is_some() && self.log.event_id_at(position).await? == event_id {
            return Ok(false);
        }
        // Times never decrease: what is new was recorded after the event that was announced last.
        let to = match recorded_at {
            Some(at) => self.log.position_at(at.into()).await?.min(position),
            None => head.min(position),
        };
        tracing::error!(table, position, to, "the log was replaced; continuing after position {to}");
        let update = format!("update {table} set position = $2 where position = $1");
        sqlx::query(&update).bind(position).bind(to).execute(&self.pool).answered().await?;
        Ok(true)
    }
}

impl Sink for Announcer {
    const PAGE_DELAY: Duration = PAGE_DELAY;

    fn name(&self) -> &'static str {
        "callbacks"
    }

    async fn checkpoint(&mut self) -> Result<i64, SinkError> {
        self.mend_checkpoints().await?;
        Ok(self.checkpoints().await?.oldest())
    }

    async fn idle(&mut self, checkpoint: i64) -> Result<(), SinkError> {
        match self.mend_checkpoints().await? {
            true => Err(Overtaken(checkpoint).into()),
            false => Ok(()),
        }
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
        rechecks::queue(&mut transaction, after(page, at.callbacks)).await?;
        if let Some(from) = mail_from
            && !self.mail.write(&mut transaction, from, to, &mails).await?
        {
            return Err(Overtaken(from).into());
        }
        failpoint(Step::AnnouncementWritten);
        transaction.commit().await?;
        failpoint(Step::AnnouncementCommitted);
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
