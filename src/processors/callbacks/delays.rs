//! The delays between attempts of a callback.

use chrono::TimeDelta;
use std::time::Duration;

/// After the first failed attempt, the second, and so on; after the last the delivery is parked.
const DELAYS: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(5 * 60 * 60),
    Duration::from_secs(10 * 60 * 60),
];

/// The most that is added to a delay, as a part of it, so that what failed together is not retried together.
const JITTER: f64 = 0.1;

/// A receiver may ask for more time by `Retry-After`, but for no more than this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// The delay after the failed attempt number `attempts` (from 1); `None`: park it. `chance` is from 0 to 1.
pub(super) fn delay(attempts: u32, asked: Option<Duration>, chance: f64) -> Option<TimeDelta> {
    let index = usize::try_from(attempts.checked_sub(1)?).ok()?;
    let planned = DELAYS.get(index)?.mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0));
    let asked = asked.unwrap_or_default().min(RETRY_AFTER_MAX);
    Some(TimeDelta::from_std(planned.max(asked)).expect("hours fit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_delays_and_then_no_more() {
        let seconds = |attempts| delay(attempts, None, 0.0).map(|delay| delay.num_seconds());
        let all: Vec<_> = (1..=8).map(seconds).collect();
        let planned = [5, 300, 1_800, 7_200, 18_000, 36_000].map(Some);
        assert_eq!(all[..6], planned);
        assert_eq!(all[6..], [None, None]);
    }

    #[test]
    fn chance_adds_at_most_a_tenth() {
        let seconds = |chance| delay(2, None, chance).map(|delay| delay.num_seconds());
        assert_eq!([0.0, 0.5, 1.0].map(seconds), [300, 315, 330].map(Some));
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_within_bounds_and_never_for_less() {
        let asked = |seconds| delay(1, Some(Duration::from_secs(seconds)), 0.0);
        assert_eq!(asked(1), Some(TimeDelta::seconds(5)));
        assert_eq!(asked(60), Some(TimeDelta::seconds(60)));
        assert_eq!(asked(u64::MAX), Some(TimeDelta::hours(1)));
        assert_eq!(delay(7, Some(Duration::from_secs(60)), 0.0), None);
    }
}
