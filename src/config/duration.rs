//! Durations: a number with a unit, such as `250ms`, `45s`, `15m`, `12h` or `7d`.

use std::time::Duration;

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Ten years. A lifetime much longer than this has no date on which it ends.
const LIFETIME_MAX: Duration = DAY.saturating_mul(3_650);

/// Parses a duration. A bare number is refused, because its unit would be a guess.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let example = "write a number and a unit, like 250ms, 45s, 15m, 12h or 7d";
    humantime::parse_duration(text)
        .map_err(|cause| format!("{text:?} is not a duration ({cause}): {example}"))
}

/// Parses how long something lives: more than 0, and at most ten years.
pub fn parse_lifetime(text: &str) -> Result<Duration, String> {
    lifetime_up_to(LIFETIME_MAX)(text)
}

/// A parser of how long something lives: more than 0, and at most `longest`, which is whole days.
pub(super) fn lifetime_up_to(longest: Duration) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let duration = parse_duration(text)?;
        let is_sane = !duration.is_zero() && duration <= longest;
        if is_sane {
            Ok(duration)
        } else {
            let days = longest.as_secs() / DAY.as_secs();
            Err(format!("{text:?} is out of bounds: more than 0s, at most {days}d"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, seconds) in
            [("250ms", 0.25), ("45s", 45.0), ("15m", 900.0), ("12h", 43_200.0), ("7d", 604_800.0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "45", "s", "-1s", "1S", "99999999999999999999d", &format!("{}d", u64::MAX)] {
            assert!(parse_duration(text).is_err(), "{text:?} was read as a duration");
        }
    }

    #[test]
    fn a_lifetime_has_bounds() {
        assert_eq!(parse_lifetime("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_lifetime("3650d"), Ok(LIFETIME_MAX));
        for text in ["5", "0s", "0d", "3651d", "9999999d"] {
            assert!(parse_lifetime(text).is_err(), "{text:?}");
        }
    }
}
