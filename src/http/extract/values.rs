//! What a member's value may be: each parser judges the text as the client wrote it and says what it
//! should have been.

use domain::Money;
use domain::text::{fits_a_line, is_visible};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// What a member or a parameter should have been.
pub(crate) type Expected = String;

/// A UUID in its usual form of 36 characters.
///
/// # Errors
/// What it should be.
pub(crate) fn uuid(value: &RawValue) -> Result<Uuid, Expected> {
    let text: String = string(value, "must be a UUID")?;
    parse_uuid(&text).ok_or_else(|| "must be a UUID".to_owned())
}

/// A UUID in its usual form: no braces, no `urn:`, hyphens where they belong.
pub(crate) fn parse_uuid(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

/// An amount as a string or a JSON number, judged on the text as it was written.
///
/// # Errors
/// What it should be.
pub(crate) fn amount(value: &RawValue) -> Result<Money, Expected> {
    let expected = "must be an amount with at most 8 digits and two places, like \"19.99\"";
    let raw = value.get();
    let text = match raw.as_bytes().first() {
        Some(b'"') => string(value, expected)?,
        Some(b'-' | b'0'..=b'9') => raw.to_owned(),
        _ => return Err(expected.to_owned()),
    };
    Money::parse_amount(&text).map_err(|_| expected.to_owned())
}

/// An amount of more than nothing.
///
/// # Errors
/// What it should be.
pub(crate) fn positive_amount(value: &RawValue) -> Result<Money, Expected> {
    let amount = amount(value)?;
    if amount.is_positive() { Ok(amount) } else { Err("must be more than 0.00".to_owned()) }
}

/// `true` or `false`.
///
/// # Errors
/// What it should be.
pub(crate) fn boolean(value: &RawValue) -> Result<bool, Expected> {
    serde_json::from_str(value.get()).map_err(|_| "must be true or false".to_owned())
}

/// A whole number of `range`, written as a JSON number without exponent; `30.0` is one as well.
pub(crate) fn integer(range: RangeInclusive<u32>) -> impl Fn(&RawValue) -> Result<u32, Expected> {
    move |value| {
        let text = value.get();
        let whole = text.split_once('.').map_or(text, |(whole, fraction)| {
            if fraction.bytes().all(|digit| digit == b'0') { whole } else { text }
        });
        let number = whole.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A single line of `length` characters (not bytes) without control characters.
pub(crate) fn line(length: RangeInclusive<usize>) -> impl Fn(&RawValue) -> Result<String, Expected> {
    move |value| text_of(value, &length, fits_a_line)
}

/// The form of a name that a program gave.
pub(crate) const IDENTIFIER: &str = "^[A-Za-z0-9][A-Za-z0-9._:/#-]{0,99}$";
/// Its longest, in characters.
pub(crate) const MAX_IDENTIFIER: usize = 100;

/// A name that a program gave, of the form [`IDENTIFIER`].
pub(crate) fn identifier(value: &RawValue) -> Result<String, Expected> {
    let text = string(value, "must be a string")?;
    let sound = (1..=MAX_IDENTIFIER).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/#-".contains(&byte));
    if sound {
        Ok(text)
    } else {
        Err("must be 1 to 100 letters, digits and ._:/#-, beginning with a letter or digit".to_owned())
    }
}

/// A secret of `length` characters (not bytes) without control characters; it may be blank.
pub(crate) fn secret(length: RangeInclusive<usize>) -> impl Fn(&RawValue) -> Result<SecretString, Expected> {
    move |value| {
        let secret = SecretString::from(string(value, "must be a string")?);
        judge_text(secret.expose_secret(), &length, |c| !c.is_control())?;
        Ok(secret)
    }
}

/// A text of `length` characters (not bytes) in which newlines and tabs are welcome; CR LF is a newline.
pub(crate) fn prose(length: RangeInclusive<usize>) -> impl Fn(&RawValue) -> Result<String, Expected> {
    move |value| {
        let sent = string(value, "must be a string")?;
        let text =
            judged(sent.replace("\r\n", "\n"), &length, |c| !c.is_control() || matches!(c, '\n' | '\t'))?;
        // The document can only count what was sent.
        judge_text(&sent, &length, |_| true).map(|()| text)
    }
}

/// A list of strings, each of which `one` knows.
pub(crate) fn list<T>(
    one: impl Fn(&str) -> Result<T, Expected>,
) -> impl Fn(&RawValue) -> Result<Vec<T>, Expected> {
    move |value| {
        let texts: Vec<String> =
            serde_json::from_str(value.get()).map_err(|_| "must be a list of strings".to_owned())?;
        texts.iter().map(|text| one(text)).collect()
    }
}

fn text_of(
    value: &RawValue,
    length: &RangeInclusive<usize>,
    welcome: fn(char) -> bool,
) -> Result<String, Expected> {
    judged(string(value, "must be a string")?, length, welcome)
}

/// A line of `length` characters of a query.
///
/// # Errors
/// What it should be.
pub(crate) fn line_of(text: &str, length: RangeInclusive<usize>) -> Result<String, Expected> {
    judged(text.to_owned(), &length, fits_a_line)
}

fn judged(
    text: String,
    length: &RangeInclusive<usize>,
    welcome: fn(char) -> bool,
) -> Result<String, Expected> {
    judge_text(&text, length, welcome)?;
    if *length.start() > 0 && !text.chars().any(is_visible) {
        return Err("must not be blank".to_owned());
    }
    Ok(text)
}

fn judge_text(text: &str, length: &RangeInclusive<usize>, welcome: fn(char) -> bool) -> Result<(), Expected> {
    if !text.chars().all(welcome) {
        return Err("must not contain control characters".to_owned());
    }
    if !length.contains(&text.chars().count()) {
        return Err(format!("must have {} to {} characters", length.start(), length.end()));
    }
    Ok(())
}

fn string(value: &RawValue, expected: &str) -> Result<String, Expected> {
    serde_json::from_str(value.get()).map_err(|_| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).expect("JSON")
    }

    #[test]
    fn an_amount_is_judged_as_it_was_written() {
        for (text, read) in [
            ("\"19.99\"", "19.99"),
            ("19.99", "19.99"),
            ("19.9", "19.90"),
            ("\"19\"", "19.00"),
            ("0", "0.00"),
            ("99999999.99", "99999999.99"),
            ("\"007\"", "7.00"),
        ] {
            assert_eq!(amount(&raw(text)).expect(text).to_string(), read, "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_amount() {
        for text in [
            "1e18",
            "1E2",
            "\"1e2\"",
            "\"+1\"",
            "\"1.\"",
            "\".5\"",
            "\"NaN\"",
            "\"Infinity\"",
            "\"\"",
            "\" 1\"",
            "\"1 \"",
            "19.999",
            "\"19.999\"",
            "-1",
            "\"-1\"",
            "-0",
            "123456789",
            "\"123456789012345678901234567890\"",
            "123456789012345678901234567890",
            "null",
            "true",
            "false",
            "[]",
            "{}",
            "[1]",
            "\"1,00\"",
            "\"١\"",
            "\"0x10\"",
        ] {
            assert!(amount(&raw(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn control_characters_are_refused_except_newline_and_tab_in_prose() {
        for text in ["\"\\u0000\"", "\"a\\rb\"", "\"\\u007f\"", "\"\\u0085\"", "\"\\u001b\""] {
            assert!(line(0..=10)(&raw(text)).is_err(), "{text}");
            assert!(prose(0..=10)(&raw(text)).is_err(), "{text}");
        }
        assert!(line(0..=10)(&raw("\"a\\nb\"")).is_err());
        assert_eq!(prose(0..=10)(&raw("\"a\\nb\\tc\"")).ok().as_deref(), Some("a\nb\tc"));
        assert!(line(0..=10)(&raw("\"\\ud800\"")).is_err(), "half a surrogate pair");
    }

    #[test]
    fn a_newline_of_windows_is_a_newline_in_prose() {
        assert_eq!(prose(0..=4)(&raw("\"a\\r\\nb\"")).ok().as_deref(), Some("a\nb"));
        assert!(prose(0..=3)(&raw("\"a\\r\\nb\"")).is_err(), "it is counted as it was sent");
        assert!(prose(0..=10)(&raw("\"a\\r\\r\\nb\"")).is_err());
        assert!(line(0..=10)(&raw("\"a\\r\\nb\"")).is_err());
    }

    #[test]
    fn a_whole_number_may_have_zeros_behind_its_point() {
        for text in ["30", "30.0", "30.000"] {
            assert_eq!(integer(1..=90)(&raw(text)), Ok(30), "{text}");
        }
        for text in ["30.5", "30.05", "3e1", "-30", "0", "91", "\"30\"", "null"] {
            assert!(integer(1..=90)(&raw(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_uuid_has_one_form() {
        let id = "0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11";
        assert!(uuid(&raw(&format!("\"{id}\""))).is_ok());
        for text in [
            "1",
            "\"\"",
            "\"0190b0c56f7a7cc29d5e0c2c5f3f4a11\"",
            &format!("\"{{{id}}}\""),
            &format!("\"urn:uuid:{id}\""),
        ] {
            assert!(uuid(&raw(text)).is_err(), "{text}");
        }
    }
}
