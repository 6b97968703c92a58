//! What a run orders: one command a subscription, page by page, a bounded number at a time.
//!
//! The read tables only propose; whether an end is announced or recorded is the subscription's own
//! decision, so a run that is repeated, or two at once, write nothing twice.

use super::runs::Tally;
use crate::clock::Clock;
use crate::event_log::{AggregateCommand, EventLog, ExecuteError, LogError, Outcome, Plan};
use crate::telemetry::chain;
use domain::user_offer::Command;
use domain::{Metadata, Timestamp};
use futures::{StreamExt, stream};
use projections::{EndKey, Readers, Slice, SubscriptionView};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Subscriptions that are read at a time.
const PAGE: u32 = 1_000;
/// Commands under way at a time: enough for the log to commit them together, little beside its queue.
const CONCURRENCY: usize = 64;
/// How many days before its end a subscription is announced.
const ANNOUNCED_DAYS: u32 = 3;
/// How long a run waits for the read tables to show everything that was in the log when it began.
const CATCH_UP: Duration = Duration::from_secs(10);

/// Why a run is not complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum Incomplete {
    /// The scheduler is being stopped.
    #[error("it was stopped")]
    Stopped,
    /// Somebody may be missing from what they showed.
    #[error("the read tables were behind the log")]
    Behind,
    /// They could not be read.
    #[error("the read tables do not answer")]
    Readers(#[source] projections::Error),
    /// It could not be read or written.
    #[error("the log does not take orders")]
    Log(#[source] LogError),
    /// Each is in the service's log; this is one of them.
    #[error("some orders were not followed")]
    Orders(#[source] ExecuteError),
}

/// What a schedule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Tells that ends are near.
    Announce,
    /// Records that ends have come.
    Expire,
}

impl Task {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Announce => "announce_expiry",
            Self::Expire => "expire",
        }
    }
}

/// One run of a task.
pub(super) struct Orders<'a> {
    pub(super) log: &'a EventLog,
    pub(super) readers: &'a Readers,
    pub(super) clock: &'a Clock,
    pub(super) task: Task,
    pub(super) now: Timestamp,
    /// The chain that the events belong to.
    pub(super) metadata: Metadata,
    pub(super) stop: &'a CancellationToken,
    pub(super) tally: Tally,
    /// Why one of them was not followed, when not all were.
    pub(super) refused: Option<ExecuteError>,
}

impl Orders<'_> {
    /// Gives all orders that are due. What was done is in the tally whatever is returned.
    pub(super) async fn give(&mut self) -> Result<(), Incomplete> {
        let is_current = self.readers_are_current().await?;
        let mut after = None;
        loop {
            let page = self.page(after).await.map_err(Incomplete::Readers)?;
            self.give_page(page.items).await?;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        match self.refused.take() {
            Some(cause) => Err(Incomplete::Orders(cause)),
            None if is_current => Ok(()),
            None => Err(Incomplete::Behind),
        }
    }

    /// Whether the read tables show everything that the log holds now. Of those that have ended, what
    /// they do not show yet is found a minute later; an announcement could come too late by a day.
    async fn readers_are_current(&self) -> Result<bool, Incomplete> {
        if self.task == Task::Expire {
            return Ok(true);
        }
        let head = self.log.head().await.map_err(Incomplete::Log)?;
        let checkpoint = self.readers.checkpoint();
        if checkpoint.read().await.map_err(Incomplete::Readers)? >= head {
            return Ok(true);
        }
        Ok(checkpoint.wait_for(head, Instant::now() + CATCH_UP).await.is_ok())
    }

    async fn page(
        &self,
        after: Option<EndKey>,
    ) -> Result<Slice<SubscriptionView, EndKey>, projections::Error> {
        match self.task {
            Task::Announce => {
                let until = self.now.plus_days(ANNOUNCED_DAYS);
                self.readers.to_announce(self.now, until, after, PAGE).await
            }
            Task::Expire => self.readers.to_expire(self.now, after, PAGE).await,
        }
    }

    async fn give_page(&mut self, page: Vec<SubscriptionView>) -> Result<(), Incomplete> {
        let mut answers = stream::iter(page).map(|found| self.give_one(found)).buffer_unordered(CONCURRENCY);
        let (mut tally, mut refused, mut broken) = (Tally::default(), None, Ok(()));
        while let Some(answer) = answers.next().await {
            tally.found += 1;
            match answer {
                Ok(true) => tally.changed += 1,
                Ok(false) => tally.unchanged += 1,
                Err(why) => {
                    tally.failed += 1;
                    match why {
                        Incomplete::Orders(cause) => refused = Some(cause), // about this one only
                        why => broken = Err(why),
                    }
                }
            }
        }
        drop(answers);
        self.tally.add(tally);
        self.refused = refused.or(self.refused.take());
        broken
    }

    /// Whether an event was written.
    async fn give_one(&self, found: SubscriptionView) -> Result<bool, Incomplete> {
        if self.stop.is_cancelled() {
            return Err(Incomplete::Stopped);
        }
        let Some(command) = self.command(&found) else { return Ok(false) };
        let plan = Plan::new().command(AggregateCommand::UserOffer(found.subscription_id, command));
        match self.log.commit(&self.metadata, plan).await {
            Ok(Outcome::Committed(_)) => Ok(true),
            Ok(Outcome::Unchanged) => Ok(false),
            Err(ExecuteError::Log(cause)) => Err(Incomplete::Log(cause)),
            Err(cause) => {
                let (id, task) = (found.subscription_id, self.task.name());
                tracing::error!(subscription_id = %id, task, error = %chain(&cause), "{task} of {id} was refused");
                Err(Incomplete::Orders(cause))
            }
        }
    }

    /// None for an end that has come while others had their turn: it is not near any more.
    fn command(&self, found: &SubscriptionView) -> Option<Command> {
        let expires_at = found.expiration_date;
        match self.task {
            Task::Announce if expires_at <= self.clock.now() => None,
            Task::Announce => Some(Command::AnnounceExpiry { expires_at }),
            Task::Expire => Some(Command::Expire { at: self.now }),
        }
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.found += other.found;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.failed += other.failed;
    }
}
