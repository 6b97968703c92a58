//! When something runs: a cron expression, in UTC.

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use std::fmt;
use std::str::FromStr;

/// The five fields, in order.
const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];

/// Moments that repeat, as cron writes them: minute, hour, day of the month, month, day of the week,
/// always in UTC. No seconds and no years.
#[derive(Clone, Debug)]
pub struct CronExpression(Cron);

/// Why a text is no cron expression, and where it is not.
#[derive(Debug, thiserror::Error)]
pub enum CronExpressionError {
    /// Too few or too many fields.
    #[error("{found} fields instead of 5: minute, hour, day of the month, month, day of the week")]
    Fields {
        /// How many there are.
        found: usize,
    },
    /// One field is wrong.
    #[error("field {number} ({name}) is wrong: {text:?}")]
    Field {
        /// 1 to 5.
        number: usize,
        /// What it means.
        name: &'static str,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        #[source]
        cause: CronError,
    },
    /// The fields do not go together.
    #[error("it is no cron expression")]
    Whole(#[source] CronError),
    /// Such as the 31st of February.
    #[error("it names a moment that never comes")]
    Never,
}

impl CronExpression {
    /// The last moment at or before `now`.
    #[must_use]
    pub fn latest(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.find_previous_occurrence(&now, true).ok()
    }

    /// The first moment after `now`.
    #[must_use]
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.find_next_occurrence(&now, false).ok()
    }
}

impl FromStr for CronExpression {
    type Err = CronExpressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.trim_start().starts_with('@') {
            check_fields(text)?;
        }
        let expression = Self(parse(text).map_err(CronExpressionError::Whole)?);
        let comes = expression.next(DateTime::UNIX_EPOCH).is_some();
        if comes { Ok(expression) } else { Err(CronExpressionError::Never) }
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

fn parse(text: &str) -> Result<Cron, CronError> {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(text)
}

/// Reads each field alone, so that the wrong one can be named: croner does not say which it is.
fn check_fields(text: &str) -> Result<(), CronExpressionError> {
    let given: Vec<&str> = text.split_whitespace().collect();
    if given.len() != FIELDS.len() {
        return Err(CronExpressionError::Fields { found: given.len() });
    }
    for (index, (field, name)) in given.iter().zip(FIELDS).enumerate() {
        let mut alone = ["*"; FIELDS.len()];
        alone[index] = field;
        parse(&alone.join(" ")).map_err(|cause| CronExpressionError::Field {
            number: index + 1,
            name,
            text: (*field).to_owned(),
            cause,
        })?;
    }
    Ok(())
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
    fn a_wrong_expression_is_refused_with_the_place() {
        for (text, place) in [
            ("0 25 * * *", "field 2 (hour) is wrong: \"25\""),
            ("60 8 * * *", "field 1 (minute) is wrong: \"60\""),
            ("0 8 * * FOO", "field 5 (day of the week) is wrong: \"FOO\""),
            ("0 8 1-x * *", "field 3 (day of the month) is wrong: \"1-x\""),
            ("0 8 * 13 *", "field 4 (month) is wrong: \"13\""),
            ("0 8 * *", "4 fields instead of 5"),
            ("0 0 8 * * *", "6 fields instead of 5"),
            ("", "0 fields instead of 5"),
            ("@sometimes", "it is no cron expression"),
            ("0 8 31 2 *", "it names a moment that never comes"),
        ] {
            let refused = text.parse::<CronExpression>().expect_err(text).to_string();
            assert!(refused.contains(place), "{text:?}: {refused}");
        }
    }
}
