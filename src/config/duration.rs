//! Durations, in the one form they have everywhere in this product.

use std::time::Duration;

/// The longest that something may last: ten years. Much longer, and there is no date it ends on.
const LONGEST: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

/// Reads a duration as this product writes it everywhere: `250ms`, `45s`, `15m`, `12h`, `7d`.
///
/// One whole number and one unit, nothing else: `1.5s`, `1m30s` and a bare `45` are refused, because
/// a bare number is a guess about its unit.
///
/// # Errors
/// [`DurationError`], whose text names the accepted forms.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let refused = || DurationError::Unreadable { text: text.to_owned() };
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| refused())?;
    let seconds_per_unit = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(refused()),
    };
    number.checked_mul(seconds_per_unit).map(Duration::from_secs).ok_or_else(refused)
}

/// Reads how long something lasts: a duration, more than nothing and at most ten years.
///
/// # Errors
/// [`DurationError`], whose text names the accepted forms or the bounds.
pub fn parse_lasting(text: &str) -> Result<Duration, DurationError> {
    let duration = parse_duration(text)?;
    if duration.is_zero() || duration > LONGEST {
        return Err(DurationError::OutOfBounds { text: text.to_owned() });
    }
    Ok(duration)
}

/// A text that is not a duration, or not one that will do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number and a unit.
    #[error("{text:?} is not a duration: write a whole number and a unit, like 250ms, 45s, 15m, 12h or 7d")]
    Unreadable {
        /// What was given.
        text: String,
    },
    /// Nothing, or longer than anybody means.
    #[error("{text:?} is out of bounds: it lasts more than nothing and at most 3650d")]
    OutOfBounds {
        /// What was given.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        let read = |text| parse_duration(text).expect(text);
        assert_eq!(read("250ms"), Duration::from_millis(250));
        assert_eq!(read("45s"), Duration::from_secs(45));
        assert_eq!(read("15m"), Duration::from_secs(900));
        assert_eq!(read("12h"), Duration::from_secs(43_200));
        assert_eq!(read("7d"), Duration::from_secs(604_800));
        assert_eq!(read("0s"), Duration::ZERO);
    }

    #[test]
    fn what_lasts_has_bounds() {
        assert_eq!(parse_lasting("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_lasting("3650d"), Ok(LONGEST));
        for text in ["0s", "0d", "3651d", "9999999d"] {
            assert_eq!(parse_lasting(text), Err(DurationError::OutOfBounds { text: text.to_owned() }));
        }
        assert!(parse_lasting("5").is_err());
    }

    #[test]
    fn anything_else_is_refused() {
        let too_long = "99999999999999999999d";
        for text in ["", "45", "s", "1.5s", "1m30s", "-1s", "+1s", " 1s", "1 s", "1S", "1w", "1µs", too_long]
        {
            assert!(parse_duration(text).is_err(), "{text:?} was read as a duration");
        }
        assert!(parse_duration(&format!("{}d", u64::MAX)).is_err(), "overflow");
    }
}
