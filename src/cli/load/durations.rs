//! Many durations in little memory, and what they come to.

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
