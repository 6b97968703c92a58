//! What was measured.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::durations::Summary;

/// The whole result, printed for people or as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) connections: usize,
    pub(super) users: usize,
    /// How long activations were posted.
    pub(super) posting_s: f64,
    /// From the first acceptance to the last completion, by the service's clock.
    pub(super) completing_s: f64,
    /// From the first POST until the last accepted one was seen to be final: the looking lags behind,
    /// on purpose, so that it does not take the machine from what is measured.
    pub(super) settled_s: f64,
    pub(super) accepted: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// Accepted, and not final when the generator stopped waiting.
    pub(super) unfinished: u64,
    pub(super) accepted_per_s: f64,
    /// Completed in `completing_s`.
    pub(super) completed_per_s: f64,
    pub(super) post_ms: Summary,
    pub(super) status_ms: Summary,
    /// From the start of the POST to the answer with the final status, of a sample that waited for it.
    pub(super) end_to_end_ms: Summary,
    /// From acceptance to completion, of all, by the service's clock.
    pub(super) processing_ms: Summary,
    /// Status looks for each completed transaction.
    pub(super) looks_per_completed: f64,
    /// Answers that were not a success, by status and code; `none` for calls without an answer.
    pub(super) not_2xx: BTreeMap<String, u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { connections, users, posting_s, completing_s, .. } = self;
        writeln!(f, "{connections} connections, {users} users, {posting_s:.1} s of posting")?;
        writeln!(f, "accepted    {:>9.0}/s   {} in all", self.accepted_per_s, self.accepted)?;
        let (succeeded, failed) = (self.succeeded, self.failed);
        writeln!(
            f,
            "completed   {:>9.0}/s   {succeeded} SUCCESS, {failed} FAILED, {} unfinished, in {completing_s:.1} s",
            self.completed_per_s, self.unfinished
        )?;
        writeln!(f, "POST        {}", self.post_ms)?;
        writeln!(f, "status      {}, {:.2} looks each", self.status_ms, self.looks_per_completed)?;
        writeln!(f, "processing  {}", self.processing_ms)?;
        writeln!(f, "end to end  {}", self.end_to_end_ms)?;
        for (what, count) in &self.not_2xx {
            writeln!(f, "not 2xx     {count} × {what}")?;
        }
        Ok(())
    }
}
