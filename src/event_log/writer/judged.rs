//! What became of a batch, and what its callers are told.

use crate::event_log::commit::Committed;
use crate::event_log::error::{AppendError, LogError};
use crate::event_log::judge::Verdict;
use domain::Timestamp;
use std::collections::HashSet;
use uuid::Uuid;

/// A judged batch, written but not committed.
pub(super) struct Judged {
    pub(super) verdicts: Vec<Verdict>,
    /// Of each commit.
    pub(super) first_ids: Vec<Option<Uuid>>,
    /// Of all that was accepted; `None` if nothing was.
    pub(super) last_event_id: Option<Uuid>,
    pub(super) recorded_at: Timestamp,
}

impl Judged {
    pub(super) fn written(&self) -> usize {
        self.verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted { .. })).count()
    }

    /// The position and the id of the first event of each accepted commit.
    pub(super) fn accepted(&self) -> impl Iterator<Item = (i64, Uuid)> {
        let accepted = |(verdict, id): (&Verdict, &Option<Uuid>)| match verdict {
            Verdict::Accepted { first, .. } => id.map(|id| (*first, id)),
            _ => None,
        };
        self.verdicts.iter().zip(&self.first_ids).filter_map(accepted)
    }

    pub(super) fn answers(self) -> Vec<Result<Committed, AppendError>> {
        let recorded_at = self.recorded_at;
        self.verdicts.into_iter().map(|verdict| answer(verdict, recorded_at)).collect()
    }

    /// Accepted ones that are in the log stand; those that are not were rolled back; refusals were
    /// judged on a state that may not have come about, so they count as not reached.
    pub(super) fn answers_after_look_up(
        self,
        found: Option<&HashSet<Uuid>>,
    ) -> Vec<Result<Committed, AppendError>> {
        let recorded_at = self.recorded_at;
        let judged = self.verdicts.into_iter().zip(self.first_ids);
        judged
            .map(|(verdict, id)| match (found, id) {
                (None, _) => Err(LogError::OutcomeUnknown.into()),
                (Some(found), Some(id)) if found.contains(&id) => answer(verdict, recorded_at),
                (Some(_), _) => Err(LogError::unavailable("the commit was rolled back").into()),
            })
            .collect()
    }
}

fn answer(verdict: Verdict, recorded_at: Timestamp) -> Result<Committed, AppendError> {
    match verdict {
        Verdict::Accepted { first, last, balances } => Ok(Committed { first, last, recorded_at, balances }),
        Verdict::Repeated(event_id) => Err(AppendError::Repeated(event_id)),
        Verdict::Conflict(stream) => Err(AppendError::Conflict(stream)),
        Verdict::InsufficientFunds(account) => Err(AppendError::InsufficientFunds(account)),
        Verdict::BalanceTooLarge(account) => Err(AppendError::BalanceTooLarge(account)),
    }
}
