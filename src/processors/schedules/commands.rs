//! One run of a task: a command for each subscription that is due, page by page, a bounded number at a time.
//!
//! The read tables only propose. The subscription decides whether its end is announced or recorded, so a
//! repeated run, or two at the same time, write nothing twice.

use super::runs::Tally;
use crate::clock::Clock;
use crate::event_log::{AggregateCommand, EventLog, ExecuteError, LogError, Outcome, Plan};
use crate::telemetry::chain;
use domain::user_offer::Command;
use domain::{Metadata, Slice, Timestamp};
use futures::{StreamExt, stream};
use projections::{EndKey, Readers, SubscriptionView};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Subscriptions that are read at a time.
const PAGE: u32 = 1_000;
/// Commands at the same time: enough for the log to commit them together, few compared with its queue.
const CONCURRENCY: usize = 64;
/// Days before its end when a subscription is announced.
const ANNOUNCED_DAYS: u32 = 3;
/// The limit for the read tables to reach the position of the log at the start of the run.
const CATCH_UP: Duration = Duration::from_secs(10);

/// Why a run is not complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum Incomplete {
    #[error("the scheduler was stopped")]
    Stopped,
    /// Subscriptions may have been missed.
    #[error("the read tables were behind the log")]
    Behind,
    #[error("cannot read the read tables")]
    Readers(#[source] projections::Error),
    #[error("cannot read or write the log")]
    Log(#[source] LogError),
    /// One of them; each is in the service's log.
    #[error("some commands were refused")]
    Commands(#[source] ExecuteError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Announces ends that are near.
    Announce,
    /// Records ends that have come.
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

pub(super) struct TaskRun<'a> {
    pub(super) log: &'a EventLog,
    pub(super) readers: &'a Readers,
    pub(super) clock: &'a Clock,
    pub(super) task: Task,
    pub(super) now: Timestamp,
    pub(super) metadata: Metadata,
    pub(super) stop: &'a CancellationToken,
    pub(super) tally: Tally,
    /// The refusal of a command, if there was one.
    pub(super) refused: Option<ExecuteError>,
}

impl TaskRun<'_> {
    /// Executes all commands that are due. The tally is right after an error too.
    pub(super) async fn run(&mut self) -> Result<(), Incomplete> {
        let is_current = self.readers_are_current().await?;
        let mut after = None;
        loop {
            let page = self.page(after).await.map_err(Incomplete::Readers)?;
            self.run_page(page.items).await?;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        match self.refused.take() {
            Some(cause) => Err(Incomplete::Commands(cause)),
            None if is_current => Ok(()),
            None => Err(Incomplete::Behind),
        }
    }

    /// Whether the read tables have reached the head of the log. An end that they do not show yet is recorded
    /// a minute later, but an announcement could be late by a day.
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

    async fn run_page(&mut self, page: Vec<SubscriptionView>) -> Result<(), Incomplete> {
        let mut answers = stream::iter(page).map(|found| self.execute(found)).buffer_unordered(CONCURRENCY);
        let (mut tally, mut refused, mut broken) = (Tally::default(), None, Ok(()));
        while let Some(answer) = answers.next().await {
            tally.found += 1;
            match answer {
                Ok(true) => tally.changed += 1,
                Ok(false) => tally.unchanged += 1,
                Err(why) => {
                    tally.failed += 1;
                    match why {
                        Incomplete::Commands(cause) => refused = Some(cause), // about this subscription only
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

    /// True if an event was written.
    async fn execute(&self, found: SubscriptionView) -> Result<bool, Incomplete> {
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
                Err(Incomplete::Commands(cause))
            }
        }
    }

    /// `None` for an end that has come during this run: it is not near any more.
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
