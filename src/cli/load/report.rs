//! What was measured.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time told apart; longer ones count as this.
const LONGEST_US: u64 = 120_000_000;

/// Durations, to two significant digits: a few KiB however many they are.
pub(super) struct Durations(Histogram<u64>);

impl Default for Durations {
    fn default() -> Durations {
        Durations(Histogram::new_with_bounds(1, LONGEST_US, 2).expect("these bounds are valid"))
    }
}

impl Durations {
    pub(super) fn add(&mut self, duration: Duration) {
        self.0.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(LONGEST_US));
    }

    pub(super) fn summary(&self) -> Summary {
        let quantile_ms = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Summary { count: self.0.len(), p50: quantile_ms(0.5), p99: quantile_ms(0.99), max: quantile_ms(1.0) }
    }
}

/// Some durations in short, in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { count, p50, p99, max } = self;
        write!(f, "p50 {p50:.1} ms   p99 {p99:.1} ms   max {max:.1} ms   ({count})")
    }
}

/// The whole result, printed for people or as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) connections: usize,
    pub(super) users: usize,
    /// How long activations were posted.
    pub(super) posting_s: f64,
    /// From the first POST until the last accepted one was seen to be final.
    pub(super) settled_s: f64,
    pub(super) accepted: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// Accepted, and not final when the generator stopped waiting.
    pub(super) unfinished: u64,
    pub(super) accepted_per_s: f64,
    pub(super) completed_per_s: f64,
    pub(super) post_ms: Summary,
    pub(super) status_ms: Summary,
    /// From the start of the POST to the answer with the final status, of a sample that waited for it.
    pub(super) end_to_end_ms: Summary,
    /// Status looks for each completed transaction.
    pub(super) looks_per_completed: f64,
    /// Answers that were not a success, by status and code; `none` for calls without an answer.
    pub(super) not_2xx: BTreeMap<String, u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { connections, users, posting_s, settled_s, .. } = self;
        writeln!(f, "{connections} connections, {users} users, {posting_s:.1} s of posting")?;
        writeln!(f, "accepted    {:>9.0}/s   {} in all", self.accepted_per_s, self.accepted)?;
        let (succeeded, failed) = (self.succeeded, self.failed);
        writeln!(
            f,
            "completed   {:>9.0}/s   {succeeded} SUCCESS, {failed} FAILED, {} unfinished, after {settled_s:.1} s",
            self.completed_per_s, self.unfinished
        )?;
        writeln!(f, "POST        {}", self.post_ms)?;
        writeln!(f, "status      {}, {:.2} looks each", self.status_ms, self.looks_per_completed)?;
        writeln!(f, "end to end  {}", self.end_to_end_ms)?;
        for (what, count) in &self.not_2xx {
            writeln!(f, "not 2xx     {count} × {what}")?;
        }
        Ok(())
    }
}
