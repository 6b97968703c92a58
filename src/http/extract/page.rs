//! Pages of a list: `limit`, the opaque `cursor`, and the link to what follows.
//!
//! A cursor says after which row the next page begins, never how many rows to skip, so rows that are
//! added while somebody walks neither shift nor repeat anything.

use super::query::{self, Parameters};
use super::values::Expected;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use domain::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// How many rows a page has at most.
const MAX_LIMIT: i64 = 200;
/// How many rows a page has when the client does not say.
const DEFAULT_LIMIT: i64 = 50;
/// The first part of every cursor; a cursor of another version is refused.
const VERSION: &str = "1";
/// The longest cursor that is looked at, in bytes.
const MAX_CURSOR: usize = 1024;

/// Which part of a list is wanted.
pub(crate) struct PageParams {
    kind: &'static str,
    /// How many rows at most, 1 to 200.
    pub(crate) limit: u32,
    /// The key of the last row of the page before; `None` for the first page.
    pub(crate) after: Option<String>,
}

impl PageParams {
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

    /// The rows, and a link to what follows when `next` names the last row's key.
    pub(crate) fn page<T>(
        &self,
        context: &Context,
        results: impl IntoIterator<Item = T>,
        next: Option<String>,
    ) -> Page<T> {
        let next = next.map(|key| link(context, &encode(self.kind, &key)));
        Page { results: results.into_iter().collect(), next, previous: None }
    }
}

impl IntoParams for PageParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = |name, what, schema: ObjectBuilder| {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
            parameter.description(Some(what)).schema(Some(Schema::from(schema))).build()
        };
        let limit = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(MAX_LIMIT));
        let cursor = ObjectBuilder::new().schema_type(Type::String).max_length(Some(MAX_CURSOR));
        vec![
            parameter("limit", "How many at most.", limit.default(Some(DEFAULT_LIMIT.into()))),
            parameter("cursor", "Where to go on: as `next` has it.", cursor),
        ]
    }
}

/// A part of a list, and the link to what follows.
#[derive(Serialize)]
pub(crate) struct Page<T> {
    results: Vec<T>,
    next: Option<String>,
    previous: Option<String>,
}

impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let results = ArrayBuilder::new()
            .items(Ref::from_schema_name(T::name()))
            .max_items(Some(usize::try_from(MAX_LIMIT).expect("a small number")));
        let next = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("Where to go on, relative to the host; null on the last page."))
            .examples([Value::Null]);
        let previous =
            ObjectBuilder::new().schema_type(Type::Null).description(Some("Lists are walked forward only."));
        let page = ObjectBuilder::new()
            .property("results", results)
            .property("next", next)
            .property("previous", previous);
        let page = ["results", "next", "previous"].into_iter().fold(page, ObjectBuilder::required);
        page.additional_properties(Some(AdditionalProperties::FreeForm(false))).into()
    }
}

/// Named after its items: `OfferPage`. An operation names it by an alias of that name, since `utoipa`
/// makes a longer name of a generic type.
impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Page", T::name()).into()
    }

    fn schemas(named: &mut Vec<(String, RefOr<Schema>)>) {
        named.push((T::name().into_owned(), T::schema()));
        T::schemas(named);
    }
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
    let fit = version == VERSION && of == kind && !key.chars().any(char::is_control);
    fit.then(|| key.to_owned())
}

/// A moment in a key, in microseconds; `None` for one that no row can have and PostgreSQL may not know.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let moment = DateTime::from_timestamp_micros(text.parse().ok()?)?;
    Some(Timestamp::new(moment)).filter(|cut| cut.utc() == moment)
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
        assert_eq!(decode("offers", &encode("offers", "17|a\0")), None, "PostgreSQL takes no NUL");
    }

    #[test]
    fn a_moment_in_a_cursor_is_one_that_a_row_can_have() {
        assert_eq!(
            moment("0").map(|moment| moment.to_string()).as_deref(),
            Some("1970-01-01T00:00:00.000000Z")
        );
        for text in ["", "x", "-8000000000000000000", "8000000000000000000", "253402300800000000"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
