//! Pages of a list: `limit`, the opaque `cursor`, and the link to what follows.
//!
//! A cursor says after which row the next page begins, never how many rows to skip, so rows that are
//! added while somebody walks neither shift nor repeat anything.

use super::query::{self, Parameters};
use super::values::{Expected, parse_uuid};
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use domain::{CreationKey, SLICE_MAX, Slice, Timestamp};
use projections::{EndKey, NameKey};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use uuid::Uuid;

/// How many rows a page has at most.
const MAX_LIMIT: i64 = SLICE_MAX as i64;
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
    after: Option<String>,
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

    /// The key that the page begins after; `None` for the first page.
    ///
    /// # Errors
    /// `invalid_cursor` if the cursor holds no such key.
    pub(crate) fn after<K: ListKey>(&self) -> Result<Option<K>, Problem> {
        self.after.as_deref().map(|key| K::parse(key).ok_or_else(invalid_cursor)).transpose()
    }

    /// The items, and a link to what follows them.
    pub(crate) fn page<T, K: ListKey>(&self, context: &Context, slice: Slice<T, K>) -> Page<T> {
        let next = slice.next.map(|key| link(context, &encode(self.kind, &key.text())));
        Page { results: slice.items, next, previous: None }
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

/// The key of a list, as the text inside a cursor. Clients keep cursors, so each text stays as it is.
pub(crate) trait ListKey: Sized {
    fn text(&self) -> String;
    fn parse(text: &str) -> Option<Self>;
}

/// A position in the log.
impl ListKey for i64 {
    fn text(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl ListKey for Uuid {
    fn text(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        parse_uuid(text)
    }
}

impl ListKey for CreationKey {
    fn text(&self) -> String {
        format!("{}|{}", self.0.utc().timestamp_micros(), self.1)
    }

    fn parse(text: &str) -> Option<Self> {
        let (created, id) = text.split_once('|')?;
        Some((moment(created)?, id.parse().ok()?))
    }
}

impl ListKey for EndKey {
    fn text(&self) -> String {
        format!("{}|{}", self.0, self.1)
    }

    fn parse(text: &str) -> Option<Self> {
        let (end, id) = text.split_once('|')?;
        Some((end.parse().ok()?, id.parse().ok()?))
    }
}

/// The id comes first: a name may have a `|`.
impl ListKey for NameKey {
    fn text(&self) -> String {
        format!("{}|{}", self.1, self.0)
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, name) = text.split_once('|')?;
        Some((name.to_owned(), id.parse().ok()?))
    }
}

/// A moment in a key, in microseconds; `None` for one that no row can have and PostgreSQL may not know.
fn moment(text: &str) -> Option<Timestamp> {
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
    fn each_key_keeps_the_text_that_clients_have() {
        fn is_kept<K: ListKey + PartialEq>(text: &str) {
            let key = K::parse(text).expect(text);
            assert_eq!(key.text(), text);
            assert!(K::parse("x|y").is_none());
        }
        is_kept::<i64>("17");
        is_kept::<Uuid>("0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11");
        is_kept::<CreationKey>("1700000000000001|0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11");
        is_kept::<EndKey>("2026-01-01T00:00:00.000000Z|0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11");
        is_kept::<NameKey>("0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11|Gold | yearly");
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
