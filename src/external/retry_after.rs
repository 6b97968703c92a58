//! `Retry-After` (RFC 9110, 10.2.3): seconds or an HTTP date.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The delay if `Retry-After` is missing or cannot be read.
const DEFAULT: Duration = Duration::from_secs(1);

/// The longest delay that is obeyed: a paying customer waits.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// How long to stay away, at most five minutes.
#[expect(clippy::disallowed_methods, reason = "a date in an answer is of the world's time")]
pub(super) fn from_now(value: Option<&str>) -> Duration {
    parse(value, Utc::now())
}

fn parse(value: Option<&str>, now: DateTime<Utc>) -> Duration {
    let value = value.unwrap_or_default().trim();
    let wait = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else if let Ok(date) = DateTime::parse_from_rfc2822(value) {
        (date.to_utc() - now).to_std().unwrap_or_default() // a date gone by: at once
    } else {
        DEFAULT
    };
    wait.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_bounded() {
        let now = DateTime::parse_from_rfc3339("2026-11-22T08:30:00Z").expect("a time").to_utc();
        let wait_s = |value| parse(value, now).as_secs();
        assert_eq!(wait_s(Some("7")), 7);
        assert_eq!(wait_s(Some(" 0 ")), 0);
        assert_eq!(wait_s(Some("86400")), 300);
        assert_eq!(wait_s(Some("Sun, 22 Nov 2026 08:31:30 GMT")), 90);
        assert_eq!(wait_s(Some("Sun, 22 Nov 2026 09:30:00 GMT")), 300);
        assert_eq!(wait_s(Some("Sun, 22 Nov 2026 08:00:00 GMT")), 0);
        for nonsense in [None, Some(""), Some("soon"), Some("-3"), Some("99999999999999999999999")] {
            assert_eq!(wait_s(nonsense), 1, "{nonsense:?}");
        }
    }
}
