//! How long a purchase rests after an attempt that brought no answer.

use projections::transaction::Backoff;
use std::time::Duration;

/// The rest after the first attempt, doubled with each further one, up to a bound.
pub(super) const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(60) };
/// The rest is drawn from this part of it to as much more, so that what failed together does not come
/// back together.
const JITTER: f64 = 0.2;

/// The rest after the `attempt`th attempt.
pub(super) fn after(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(u32::BITS - 1);
    let rest = BACKOFF.first.saturating_mul(1 << doublings).min(BACKOFF.most);
    rest.mul_f64(rand::random_range(1.0 - JITTER..=1.0 + JITTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_doubles_up_to_its_bound() {
        let within = |attempt, seconds: f64| {
            let rest = after(attempt).as_secs_f64();
            assert!((seconds * 0.8..=seconds * 1.2).contains(&rest), "{attempt}: {rest}");
        };
        within(1, 1.0);
        within(2, 2.0);
        within(5, 16.0);
        within(7, 60.0);
        within(u32::MAX, 60.0);
    }
}
