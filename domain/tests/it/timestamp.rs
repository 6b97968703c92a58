//! Time: one text for one moment, cut and never rounded, readable back in every year there is.

use chrono::{DateTime, Utc};
use domain::Timestamp;
use proptest::prelude::*;

const US_OF_A_DAY: i64 = 86_400_000_000;
/// `0000-01-01` and `9999-12-31`, in days from 1970.
const DAYS: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;

fn moment(text: &str) -> Timestamp {
    text.parse().expect("RFC 3339")
}

fn from_micros(micros: i64) -> Timestamp {
    Timestamp::new(DateTime::from_timestamp_micros(micros).expect("in the years of chrono"))
}

fn any_micros() -> impl Strategy<Value = i64> {
    (DAYS, 0..US_OF_A_DAY).prop_map(|(day, micros)| day * US_OF_A_DAY + micros)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// The text by counting years and months, without a calendar library.
fn written(micros: i64) -> String {
    let (mut day, of_day) = (micros.div_euclid(US_OF_A_DAY) - *DAYS.start(), micros.rem_euclid(US_OF_A_DAY));
    let mut year = day / 146_097 * 400; // 400 years always have as many days
    day %= 146_097;
    while day >= 365 + i64::from(is_leap(year)) {
        day -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z", day + 1)
}

#[test]
fn a_moment_is_written_with_six_digits_and_a_z() {
    for (read, expected) in [
        ("2026-11-22T08:30:00Z", "2026-11-22T08:30:00.000000Z"),
        ("2026-11-22T08:30:00.1Z", "2026-11-22T08:30:00.100000Z"),
        ("2026-11-22T08:30:00.123456999Z", "2026-11-22T08:30:00.123456Z"), // cut, not rounded
        ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z"),   // before 1970 as well
        ("2026-11-22T01:30:00+02:00", "2026-11-21T23:30:00.000000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"), // a leap second, as in PostgreSQL
        ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ] {
        assert_eq!(moment(read).to_string(), expected, "{read}");
    }
}

#[test]
fn a_leap_day_is_there_every_fourth_year_but_not_every_hundredth() {
    for year in ["2024", "2000", "2400", "9996"] {
        let day = moment(&format!("{year}-02-28T12:00:00Z")).plus_days(1);
        assert_eq!(day.to_string(), format!("{year}-02-29T12:00:00.000000Z"));
    }
    for year in ["2023", "2100", "9999"] {
        assert!(format!("{year}-02-29T12:00:00Z").parse::<Timestamp>().is_err());
        let day = moment(&format!("{year}-02-28T12:00:00Z")).plus_days(1);
        assert_eq!(day.to_string(), format!("{year}-03-01T12:00:00.000000Z"));
    }
}

#[test]
fn what_is_no_moment_is_refused() {
    for text in ["", "2026-11-22", "2026-11-22T08:30:00", "2026-13-01T00:00:00Z", "1763800200", "now"] {
        assert!(text.parse::<Timestamp>().is_err(), "{text:?}");
        assert!(serde_json::from_value::<Timestamp>(text.into()).is_err(), "{text:?}");
    }
}

#[test]
fn time_ends_with_what_can_be_written() {
    let last = "9999-12-31T23:59:59.999999Z";
    assert_eq!(Timestamp::new(DateTime::<Utc>::MAX_UTC).to_string(), last);
    assert_eq!(Timestamp::new(DateTime::<Utc>::MIN_UTC).to_string(), "0000-01-01T00:00:00.000000Z");
    assert_eq!(moment(last).plus_days(1), moment(last));
    assert_eq!(moment("2026-01-01T00:00:00Z").plus_days(u32::MAX), moment(last));
    assert_eq!(moment("0000-01-01T00:00:00+23:59").to_string(), "0000-01-01T00:00:00.000000Z");
}

proptest! {
    #[test]
    fn a_moment_is_written_as_the_calendar_says(micros in any_micros()) {
        prop_assert_eq!(from_micros(micros).to_string(), written(micros));
    }

    #[test]
    fn what_was_written_reads_back(micros in any_micros()) {
        let moment = from_micros(micros);
        prop_assert_eq!(moment.to_string().parse(), Ok(moment));
        let stored = serde_json::to_string(&moment).expect("a moment is JSON");
        prop_assert_eq!(&stored, &format!("\"{moment}\""));
        prop_assert_eq!(serde_json::from_str::<Timestamp>(&stored).expect("as written"), moment);
        prop_assert_eq!(moment.utc().timestamp_micros(), micros);
    }

    #[test]
    fn whatever_a_clock_says_can_be_written_and_read_back(seconds in any::<i64>(), nanos in any::<u32>()) {
        if let Some(said) = DateTime::from_timestamp(seconds % 8_000_000_000_000, nanos % 2_000_000_000) {
            let moment = Timestamp::new(said);
            prop_assert_eq!(moment.to_string().len(), 27);
            prop_assert_eq!(moment.to_string().parse(), Ok(moment));
        }
    }

    #[test]
    fn texts_are_ordered_as_their_moments(left in any_micros(), right in any_micros()) {
        let (one, other) = (from_micros(left), from_micros(right));
        prop_assert_eq!(one.cmp(&other), left.cmp(&right));
        prop_assert_eq!(one.to_string().cmp(&other.to_string()), left.cmp(&right));
    }

    #[test]
    fn a_day_later_is_24_hours_later(micros in any_micros(), days in 0..=3650_u32) {
        let later = from_micros(micros).plus_days(days);
        let expected = micros + i64::from(days) * US_OF_A_DAY;
        prop_assert_eq!(later, from_micros(expected));
        prop_assert!(later >= from_micros(micros));
    }
}
