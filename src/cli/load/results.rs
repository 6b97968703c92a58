//! What is counted while the load runs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::durations::Durations;

/// What came of it.
#[derive(Default)]
pub(super) struct Results {
    pub(super) accepted: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// Of the followers, at the status of one transaction.
    pub(super) looks: u64,
    /// Until the last answer to a POST.
    pub(super) posting: Duration,
    /// Until the last final status was seen; the looking lags behind under load.
    pub(super) settled: Duration,
    /// From the first acceptance to the last completion, by the service's clock.
    pub(super) span: Span,
    pub(super) post: Durations,
    pub(super) status: Durations,
    pub(super) end_to_end: Durations,
    /// From acceptance to completion, by the service's clock.
    pub(super) processing: Durations,
    pub(super) not_2xx: BTreeMap<String, u64>,
}

impl Results {
    pub(super) fn completed(&self) -> u64 {
        self.succeeded + self.failed
    }

    /// Counts a transaction whose final status was seen `since` the beginning.
    pub(super) fn finished(&mut self, hash: &Hash, since: Duration) {
        if hash.status == "SUCCESS" {
            self.succeeded += 1;
        } else {
            self.failed += 1;
        }
        self.settled = since;
        if let (Some(from), Some(to)) = (hash.created_at, hash.completed_at) {
            self.processing.add((to - from).to_std().unwrap_or_default());
            self.span.cover(from, to);
        }
    }

    /// How long it took to complete everything: by the service's clock, or else until it was seen.
    pub(super) fn completing(&self) -> Duration {
        self.span.length().unwrap_or(self.settled)
    }

    pub(super) fn unfinished(&self) -> u64 {
        self.accepted - self.completed()
    }
}

/// A transaction's status, as the service tells it.
#[derive(Deserialize)]
pub(super) struct Hash {
    pub(super) status: String,
    created_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
}

/// A stretch of time.
#[derive(Default)]
pub(super) struct Span(Option<(DateTime<Utc>, DateTime<Utc>)>);

impl Span {
    fn cover(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) {
        let (first, last) = self.0.unwrap_or((from, to));
        self.0 = Some((first.min(from), last.max(to)));
    }

    fn length(&self) -> Option<Duration> {
        self.0.and_then(|(first, last)| (last - first).to_std().ok())
    }
}
