//! Pages of a list: `limit`, the opaque `cursor`, and the link to what follows.
//!
//! A cursor says after which row the next page begins, never how many rows to skip, so rows that are
//! added while somebody walks neither shift nor repeat anything.

use super::query::{self, Parameters};
use super::values::Expected;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use axum::Json;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

/// How many rows a page has at most.
const MAX_LIMIT: i64 = 200;
/// How many rows a page has when the client does not say.
const DEFAULT_LIMIT: i64 = 50;
/// The first part of every cursor; a cursor of another version is refused.
const VERSION: &str = "1";
/// The longest cursor that is looked at, in bytes.
const MAX_CURSOR: usize = 1024;

/// Which part of a list is wanted.
pub(crate) struct Wanted {
    kind: &'static str,
    /// How many rows at most, 1 to 200.
    pub(crate) limit: u32,
    /// The key of the last row of the page before; `None` for the first page.
    pub(crate) after: Option<String>,
}

impl Wanted {
    /// Reads `limit` and `cursor`; a cursor of a list of another `kind` is refused.
    ///
    /// # Errors
    /// `invalid_request` for the limit and whatever `filters` refuses, `invalid_cursor`.
    pub(crate) fn read<T>(
        parameters: Parameters,
        kind: &'static str,
        filters: impl FnOnce(&mut Parameters) -> T,
    ) -> Result<(Self, T), Problem> {
        let (limit, cursor, filters) = parameters.read(|parameters| {
            let limit = parameters.optional("limit", query::integer(1..=MAX_LIMIT));
            let cursor = parameters.optional("cursor", any);
            (limit.unwrap_or(DEFAULT_LIMIT), cursor, filters(parameters))
        })?;
        let after = cursor.map(|cursor| decode(kind, &cursor).ok_or_else(invalid_cursor)).transpose()?;
        let limit = u32::try_from(limit).expect("1 to 200");
        Ok((Self { kind, limit, after }, filters))
    }

    /// The key of the page before, in the type that the list counts by.
    ///
    /// # Errors
    /// `invalid_cursor` when it is none.
    pub(crate) fn key<K>(&self, parse: impl FnOnce(&str) -> Option<K>) -> Result<Option<K>, Problem> {
        self.after.as_deref().map(|key| parse(key).ok_or_else(invalid_cursor)).transpose()
    }

    /// The answer: the rows, and a link to what follows when `next` names the last row's key.
    pub(crate) fn answer<T: Serialize>(
        &self,
        context: &Context,
        results: Vec<T>,
        next: Option<String>,
    ) -> Response {
        let next = next.map(|key| link(context, &encode(self.kind, &key)));
        Json(Page { results, next, previous: None }).into_response()
    }
}

#[derive(Serialize)]
struct Page<T> {
    results: Vec<T>,
    next: Option<String>,
    previous: Option<String>,
}

fn any(text: &str) -> Result<String, Expected> {
    Ok(text.to_owned())
}

/// The same path and filters with another cursor.
fn link(context: &Context, cursor: &str) -> String {
    let pairs = context.query().unwrap_or_default().split('&');
    let kept = pairs.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("cursor"));
    let query: Vec<_> = kept.map(str::to_owned).chain([format!("cursor={cursor}")]).collect();
    format!("{}?{}", context.path(), query.join("&"))
}

fn encode(kind: &str, key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{VERSION}|{kind}|{key}"))
}

fn decode(kind: &str, cursor: &str) -> Option<String> {
    if cursor.len() > MAX_CURSOR {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (version, rest) = text.split_once('|')?;
    let (of, key) = rest.split_once('|')?;
    (version == VERSION && of == kind).then(|| key.to_owned())
}

fn invalid_cursor() -> Problem {
    Problem::new(Code::InvalidCursor, "This cursor was not given by this list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_by_its_own_list_only() {
        let cursor = encode("transactions", "17|a");
        assert_eq!(decode("transactions", &cursor).as_deref(), Some("17|a"));
        assert_eq!(decode("subscriptions", &cursor), None);
        for text in ["", "x", "!!!", &URL_SAFE_NO_PAD.encode("2|transactions|17"), &"A".repeat(2000)] {
            assert_eq!(decode("transactions", text), None, "{text}");
        }
    }
}
