//! A moment, as it stands in events, records and answers: RFC 3339 in UTC with `Z` and exactly six
//! fractional digits.
//!
//! RFC 3339 has no year before 0 or after 9999, so there is no such moment here: one that could be
//! written into an event and not read back would stop every reader of the log for ever.

use chrono::{DateTime, Datelike, Duration, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// `0000-01-01T00:00:00.000000Z`, in microseconds from 1970.
const FIRST_US: i64 = -62_167_219_200_000_000;
/// `9999-12-31T23:59:59.999999Z`, in microseconds from 1970.
const LAST_US: i64 = 253_402_300_799_999_999;

/// A moment in UTC, cut to microseconds (what PostgreSQL keeps).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Cuts `moment` to microseconds, and to the years 0 to 9999. A leap second counts as the second
    /// after it, as in PostgreSQL.
    #[must_use]
    pub fn new(moment: DateTime<Utc>) -> Self {
        let micros = moment.timestamp_micros().clamp(FIRST_US, LAST_US);
        Self(DateTime::from_timestamp_micros(micros).expect("chrono knows the years 0 to 9999"))
    }

    /// The same moment for libraries that speak chrono.
    #[must_use]
    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }

    /// `days` times 24 hours later, but never beyond the year 9999: a free offer of ten years can be
    /// renewed often enough to come there.
    #[must_use]
    pub fn plus_days(self, days: u32) -> Self {
        let later = self.0.checked_add_signed(Duration::days(i64::from(days)));
        Self::new(later.unwrap_or(DateTime::<Utc>::MAX_UTC))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(moment: DateTime<Utc>) -> Self {
        Self::new(moment)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = self.0.naive_utc();
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        write_digits(&mut text[..4], moment.year().unsigned_abs()); // 0 to 9999
        write_digits(&mut text[5..7], moment.month());
        write_digits(&mut text[8..10], moment.day());
        write_digits(&mut text[11..13], moment.hour());
        write_digits(&mut text[14..16], moment.minute());
        write_digits(&mut text[17..19], moment.second());
        write_digits(&mut text[20..26], moment.nanosecond() / 1_000);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Writes `number` into all of `digits`, with zeros in front.
fn write_digits(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl FromStr for Timestamp {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DateTime::parse_from_rfc3339(text).map(|moment| Self::new(moment.with_timezone(&Utc)))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::SecondsFormat;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_moment_is_written_as_rfc_3339_and_read_back(us in FIRST_US..=LAST_US) {
            let moment = Timestamp::new(DateTime::from_timestamp_micros(us).expect("a year from 0 to 9999"));
            let written = moment.to_string();
            prop_assert_eq!(&written, &moment.utc().to_rfc3339_opts(SecondsFormat::Micros, true));
            prop_assert_eq!(written.parse(), Ok(moment));
        }
    }
}
