//! The parameters of a query, read one by one like the members of a body: wrong ones are told all at once.
//! Unknown ones are ignored here; `known` refuses them where that matters.

use super::values::{Expected, parse_uuid};
use crate::http::problem::{FieldError, Problem};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use domain::Timestamp;
use std::ops::RangeInclusive;
use std::str::FromStr;
use strum::VariantNames;
use uuid::Uuid;

/// The longest free text in a query, in characters.
const MAX_TEXT: usize = 200;

/// The parameters of a query.
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::try_from_uri(&parts.uri)
            .map_err(|_| Problem::invalid_field("query", "must be name=value pairs"))?;
        Ok(Self { pairs, errors: Vec::new() })
    }
}

impl Parameters {
    /// Reads the parameters.
    ///
    /// # Errors
    /// `invalid_request` with every parameter that is wrong.
    pub(crate) fn read<T>(mut self, reader: impl FnOnce(&mut Self) -> T) -> Result<T, Problem> {
        let value = reader(&mut self);
        if self.errors.is_empty() { Ok(value) } else { Err(Problem::invalid(self.errors)) }
    }

    /// A parameter that may be missing; an empty one counts as missing.
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Option<T> {
        let mut values = self.pairs.iter().filter(|(known, text)| known == name && !text.is_empty());
        let (_, text) = values.next()?;
        let parsed = match values.next() {
            None => parse(text),
            Some(_) => Err("is duplicated".to_owned()),
        };
        parsed.map_err(|message| self.errors.push(FieldError { field: name.to_owned(), message })).ok()
    }
}

/// `true` or `false`.
///
/// # Errors
/// What it should be.
pub(crate) fn boolean(text: &str) -> Result<bool, Expected> {
    match text {
        "true" | "True" | "1" => Ok(true),
        "false" | "False" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A whole number of `range`.
pub(crate) fn integer(range: RangeInclusive<i64>) -> impl Fn(&str) -> Result<i64, Expected> {
    move |text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A UUID in its usual form.
///
/// # Errors
/// What it should be.
pub(crate) fn id<T: From<Uuid>>(text: &str) -> Result<T, Expected> {
    parse_uuid(text).map(T::from).ok_or_else(|| "must be a UUID".to_owned())
}

/// A moment in RFC 3339.
///
/// # Errors
/// What it should be.
pub(crate) fn time(text: &str) -> Result<Timestamp, Expected> {
    text.parse().map_err(|_| match text.contains(' ') {
        true => "must be a time in RFC 3339; write + as %2B".to_owned(),
        false => "must be a time like 2026-11-22T08:30:00Z".to_owned(),
    })
}

/// A short text without control characters.
///
/// # Errors
/// What it should be.
pub(crate) fn text(text: &str) -> Result<String, Expected> {
    text_of(MAX_TEXT)(text)
}

/// A text of at most so many characters, none of them a control character.
pub(crate) fn text_of(longest: usize) -> impl Fn(&str) -> Result<String, Expected> {
    move |text| {
        if text.chars().any(char::is_control) {
            return Err("must not contain control characters".to_owned());
        }
        if text.chars().count() > longest {
            return Err(format!("must have at most {longest} characters"));
        }
        Ok(text.to_owned())
    }
}

/// One of these names, as it is written.
pub(crate) fn one_of(names: &[String]) -> impl Fn(&str) -> Result<String, Expected> {
    move |text| {
        let known = names.iter().find(|name| *name == text);
        known.cloned().ok_or_else(|| format!("must be one of {}", names.join(", ")))
    }
}

/// A variant of `T`, found by the name that clients write.
///
/// # Errors
/// What it should be.
pub(crate) fn variant<T: FromStr + VariantNames>(text: &str) -> Result<T, Expected> {
    text.parse().map_err(|_| format!("must be one of {}", T::VARIANTS.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Parameters { pairs: pairs.iter().map(owned).collect(), errors: Vec::new() }
    }

    #[test]
    fn unknown_parameters_are_ignored_and_wrong_ones_told() {
        let read = |pairs: &[(&str, &str)]| {
            parameters(pairs).read(|parameters| parameters.optional("days", integer(1..=90)))
        };
        assert_eq!(read(&[("other", "x")]).ok(), Some(None));
        assert_eq!(read(&[("days", "3"), ("other", "x")]).ok(), Some(Some(3)));
        assert_eq!(read(&[("days", "")]).ok(), Some(None));
        for text in ["0", "91", "+3", "-1", "3.0", "x", "99999999999999999999"] {
            assert!(read(&[("days", text)]).is_err(), "{text}");
        }
        assert!(read(&[("days", "3"), ("days", "3")]).is_err());
    }
}
