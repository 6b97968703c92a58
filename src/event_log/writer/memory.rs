//! What the writer knows of the log from its own commits, so that most batches need not ask.
//!
//! It holds as long as the log's last event, seen under the log's lock, is the one that the writer knows as the last:
//! then nobody else has written. A stream or a derived event id that it does not know then counts as new; the unique
//! indexes of `events` refuse one that is not, and the batch is judged again on what the tables say.

use super::batch::Batch;
use super::state::Unknown;
use crate::event_log::commit::Commit;
use crate::event_log::error::LogError;
use crate::event_log::judge::{State, Verdict};
use domain::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

/// The most streams, accounts and event ids that are known, some 50 bytes each; one more, and all are forgotten.
const REMEMBERED: usize = 50_000;

/// The log's last event.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) position: i64,
    pub(super) event_id: Uuid,
    pub(super) recorded_at: Timestamp,
}

/// What is known over one connection; it goes with it.
#[derive(Default)]
pub(super) struct Memory {
    state: State,
    /// The position and the id of the log's last event, as of `state`.
    head: Option<(i64, Uuid)>,
    /// The log has gone on from `state`, so what is not in it counts as new.
    is_continued: bool,
}

impl Memory {
    /// Takes notice of the log's last event, read under the lock.
    pub(super) fn continue_from(&mut self, head: Option<Head>) {
        let head = head.map(|head| (head.position, head.event_id));
        self.is_continued = self.head == head && self.state.len() <= REMEMBERED;
        if !self.is_continued {
            self.state = State::default();
        }
        self.state.head = head.map_or(0, |(position, _)| position);
        self.head = head;
    }

    /// Judges the commits of `batch`. One that is refused although not all of it was known comes last, and is judged
    /// again, knowing all.
    pub(super) async fn judge(
        &mut self,
        batch: &mut Batch,
        connection: &mut PgConnection,
    ) -> Result<Vec<Verdict>, LogError> {
        let unknown = Unknown::of(batch.commits(), &self.state, self.is_continued);
        unknown.read_into(&mut self.state, connection).await?;
        let mut verdicts: Vec<Verdict> = batch.commits().map(|commit| self.state.judge(commit)).collect();
        let doubtful: Vec<bool> =
            batch.commits().zip(&verdicts).map(|(commit, verdict)| self.doubts(commit, verdict)).collect();
        if doubtful.contains(&true) {
            let mut doubted = doubtful.iter();
            verdicts.retain(|_| doubted.next() == Some(&false));
            batch.put_last(&doubtful);
            let unknown = Unknown::of(batch.commits().skip(verdicts.len()), &self.state, false);
            unknown.read_into(&mut self.state, connection).await?;
            let again = batch.commits().skip(verdicts.len()).map(|commit| self.state.judge(commit));
            verdicts.extend(again.collect::<Vec<_>>());
        }
        Ok(verdicts)
    }

    fn doubts(&self, commit: &Commit, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Accepted { .. } | Verdict::Repeated(_) => false,
            _ => !Unknown::of([commit].into_iter(), &self.state, false).is_empty(),
        }
    }

    /// Whether something counted as new that was not looked up.
    pub(super) fn has_assumed(&self) -> bool {
        self.is_continued
    }

    /// Takes notice that what was judged is committed; `last` is the id of its last event.
    pub(super) fn committed(&mut self, last: Uuid) {
        self.head = Some((self.state.head, last));
    }
}
