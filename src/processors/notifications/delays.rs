//! The delays between attempts to send a mail.

use crate::backoff::jittered;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// After each failed attempt. After the last one the mail is parked, nearly four days after the first.
const DELAYS: [Duration; 9] = [
    MINUTE,
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    HOUR,
    Duration::from_secs(3 * 60 * 60),
    Duration::from_secs(6 * 60 * 60),
    Duration::from_secs(12 * 60 * 60),
    Duration::from_secs(24 * 60 * 60),
    Duration::from_secs(36 * 60 * 60),
];
/// The most that is added to a delay, as a part of it, so that what failed together does not come back together.
const JITTER: f64 = 0.2;

/// The delay after the failed attempt number `attempts` (from 1); `None` after the last.
pub(super) fn delay_after(attempts: u32) -> Option<Duration> {
    let delay = DELAYS.get(usize::try_from(attempts).ok()?.checked_sub(1)?)?;
    Some(jittered(*delay, 1.0..=1.0 + JITTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_over_days_and_end() {
        let mut whole = Duration::ZERO;
        for (attempts, least) in (1..).zip(DELAYS) {
            let delay = delay_after(attempts).unwrap();
            assert!(least <= delay && delay <= least.mul_f64(1.0 + JITTER), "{attempts}: {delay:?}");
            whole += least;
        }
        assert!(3 * 24 * HOUR < whole && whole < 4 * 24 * HOUR, "{whole:?}");
        assert_eq!(delay_after(10), None);
        assert_eq!(delay_after(u32::MAX), None);
    }
}
