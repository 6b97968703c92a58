//! When something runs: a cron expression, in UTC.

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use std::fmt;
use std::str::FromStr;

/// Repeating times, in UTC, without seconds and years: minute, hour, day of the month, month, day of the week.
#[derive(Clone, Debug)]
pub struct CronExpression(Cron);

impl CronExpression {
    /// The last time at or before `now`.
    #[must_use]
    pub fn latest(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.find_previous_occurrence(&now, true).ok()
    }

    /// The first time after `now`.
    #[must_use]
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.find_next_occurrence(&now, false).ok()
    }
}

impl FromStr for CronExpression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|cause| {
            format!("{text:?} is not a cron expression (minute, hour, day of the month, month, day of the week): {cause}")
        })?;
        let expression = Self(cron);
        // Such as the 31st of February.
        let never = || format!("{text:?} names a time that never comes");
        expression.next(DateTime::UNIX_EPOCH).ok_or_else(never)?;
        Ok(expression)
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn expression(text: &str) -> CronExpression {
        text.parse().unwrap()
    }

    #[test]
    fn the_latest_moment_is_at_or_before_now_and_the_next_after_it() {
        let daily = expression("0 8 * * *");
        for (now, latest, next) in [
            ("2026-03-01T08:00:00Z", "2026-03-01T08:00:00Z", "2026-03-02T08:00:00Z"),
            ("2026-03-01T08:00:00.000001Z", "2026-03-01T08:00:00Z", "2026-03-02T08:00:00Z"),
            ("2026-03-01T07:59:59.999999Z", "2026-02-28T08:00:00Z", "2026-03-01T08:00:00Z"),
            ("2024-03-01T00:00:00Z", "2024-02-29T08:00:00Z", "2024-03-01T08:00:00Z"),
            ("2027-01-01T00:00:00Z", "2026-12-31T08:00:00Z", "2027-01-01T08:00:00Z"),
        ] {
            assert_eq!(daily.latest(at(now)), Some(at(latest)), "{now}");
            assert_eq!(daily.next(at(now)), Some(at(next)), "{now}");
        }
        assert_eq!(
            expression("* * * * *").latest(at("2026-03-01T08:15:59.9Z")),
            Some(at("2026-03-01T08:15:00Z"))
        );
        assert_eq!(expression("@daily").next(at("2026-03-01T08:15:00Z")), Some(at("2026-03-02T00:00:00Z")));
    }

    #[test]
    fn two_years_are_walked_in_both_directions() {
        let weekdays = expression("30 6,18 * * MON-FRI");
        let end = at("2028-01-01T00:00:00Z");
        let mut moment = at("2026-01-01T06:30:00Z");
        let mut passed = 1;
        while let Some(next) = weekdays.next(moment).filter(|next| *next < end) {
            assert_eq!(weekdays.latest(next), Some(next));
            assert_eq!(weekdays.latest(next - chrono::Duration::microseconds(1)), Some(moment));
            (moment, passed) = (next, passed + 1);
        }
        assert_eq!(passed, 2 * (261 + 261), "weekdays of 2026 and 2027, twice a day");
    }

    #[test]
    fn a_wrong_expression_is_refused() {
        for text in [
            "0 25 * * *",
            "60 8 * * *",
            "0 8 * * FOO",
            "0 8 1-x * *",
            "0 8 * 13 *",
            "0 8 * *",
            "0 0 8 * * *",
            "",
            "@sometimes",
            "0 8 31 2 *",
        ] {
            assert!(text.parse::<CronExpression>().is_err(), "{text:?}");
        }
    }
}
