//! Delays between retries.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A delay that doubles with every failure, up to `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// However many failures there were.
    pub longest: Duration,
}

impl Backoff {
    /// From `first` up to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The delay after this many failures in a row; there was at least one.
    #[must_use]
    pub fn delay(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(u32::BITS - 1);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// The delays of one retry loop.
    #[must_use]
    pub fn delays(self) -> Delays {
        Delays { backoff: self, failures: 0 }
    }
}

/// Counts the failures in a row of one retry loop.
#[derive(Debug)]
pub struct Delays {
    backoff: Backoff,
    failures: u32,
}

impl Delays {
    /// Counts a failure and returns the delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.backoff.delay(self.failures)
    }

    /// Starts again with the first delay, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `delay` times a random factor, so that what failed together is not retried together.
#[must_use]
pub fn jittered(delay: Duration, factors: RangeInclusive<f64>) -> Duration {
    delay.mul_f64(rand::random_range(factors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut delays = Backoff::new(Duration::from_secs(1), Duration::from_secs(5)).delays();
        let seconds: Vec<_> = (0..5).map(|_| delays.next_delay().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 5, 5]);
        delays.reset();
        assert_eq!(delays.next_delay(), Duration::from_secs(1));
        assert_eq!(delays.backoff.delay(u32::MAX), Duration::from_secs(5));
    }

    #[test]
    fn jitter_stays_within_its_factors() {
        for _ in 0..100 {
            let seconds = jittered(Duration::from_secs(10), 0.8..=1.2).as_secs_f64();
            assert!((8.0..=12.0).contains(&seconds), "{seconds}");
        }
    }
}
