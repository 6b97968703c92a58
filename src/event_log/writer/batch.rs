//! The commits that go into one SQL transaction, each with the caller that waits for its verdict.

use crate::event_log::commit::{Commit, Committed};
use crate::event_log::error::{AppendError, LogError};
use crate::event_log::recent::Recent;
use crate::telemetry::chain;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A commit in the queue, and the caller that waits for its verdict.
pub(super) struct Waiting {
    pub(super) commit: Commit,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Result<Committed, AppendError>>,
}

/// The commits of one SQL transaction with those who wait for them.
pub(super) struct Batch {
    waiting: Vec<Waiting>,
}

impl Batch {
    /// A batch of those whose deadline has not passed. The others are answered here: nothing of theirs was
    /// written.
    pub(super) fn of(waiting: Vec<Waiting>) -> Self {
        let now = Instant::now();
        let (waiting, expired): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|waiting| waiting.deadline > now);
        for expired in expired {
            let _ = expired.answer.send(Err(LogError::Timeout.into())); // a caller that left wants no answer
        }
        Self { waiting }
    }

    pub(super) fn commits(&self) -> impl Iterator<Item = &Commit> {
        self.waiting.iter().map(|waiting| &waiting.commit)
    }

    /// Moves those commits behind the others; both keep their order.
    pub(super) fn put_last(&mut self, last: &[bool]) {
        let (last, mut first): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).zip(last).partition(|(_, is_last)| **is_last);
        first.extend(last);
        self.waiting.extend(first.into_iter().map(|(waiting, _)| waiting));
    }

    /// Answers every caller. The events are put into `recent` first: a caller that hears of its commit and
    /// then follows the log finds them there.
    pub(super) fn answer(self, verdicts: Vec<Result<Committed, AppendError>>, recent: &Recent) {
        let mut recorded = Vec::with_capacity(self.waiting.len() * 2);
        let mut answers = Vec::with_capacity(self.waiting.len());
        for (waiting, verdict) in self.waiting.into_iter().zip(verdicts) {
            if let Ok(committed) = &verdict {
                recorded.extend(waiting.commit.recorded(committed));
            }
            answers.push((waiting.answer, verdict));
        }
        recent.add(recorded);
        for (answer, verdict) in answers {
            let _ = answer.send(verdict); // a caller that left wants no answer
        }
    }

    pub(super) fn refuse(self, cause: &LogError) {
        refuse_all(self.waiting, cause);
    }
}

/// Gives every caller the same error.
pub(super) fn refuse_all(waiting: Vec<Waiting>, cause: &LogError) {
    tracing::warn!(commits = waiting.len(), error = %chain(cause), "cannot write commits; their callers are told to repeat");
    for waiting in waiting {
        let _ = waiting.answer.send(Err(cause.again().into()));
    }
}
