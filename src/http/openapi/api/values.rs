//! What all bodies are made of: money, moments, ids, pages, problems.

use crate::http::openapi::schemas::{Named, name, reference};
use serde_json::Value;
use std::borrow::Cow;
use std::marker::PhantomData;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::{PartialSchema, ToSchema};

/// An amount of the installation's one currency: digits, a point and two digits. Never a JSON number.
#[derive(ToSchema)]
#[schema(pattern = r"^[0-9]{1,16}\.[0-9]{2}$", example = "19.99")]
pub(in crate::http::openapi) struct Money(String);

/// An amount as clients may write it: a string or a JSON number of at most 8 digits and two places,
/// judged as it is written (`1e2` is none).
pub(in crate::http::openapi) struct Amount;

impl PartialSchema for Amount {
    fn schema() -> RefOr<Schema> {
        let string = text(1, 11).pattern(Some(r"^[0-9]{1,8}(\.[0-9]{1,2})?$"));
        let number = ObjectBuilder::new()
            .schema_type(Type::Number)
            .minimum(Some(0))
            .maximum(Some(99_999_999.99))
            .multiple_of(Some(0.01));
        let what = "An amount: a string, or a JSON number, of at most 8 digits and two places, judged as it is \
                    written (`1e2` is none).";
        OneOfBuilder::new().item(string).item(number).description(Some(what)).examples(["19.99"]).into()
    }
}

impl ToSchema for Amount {}

/// A moment: RFC 3339 in UTC with `Z` and six fractional digits.
#[derive(ToSchema)]
#[schema(
    format = "date-time",
    pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
    example = "2026-11-22T08:30:00.123456Z"
)]
pub(in crate::http::openapi) struct Time(String);

/// A UUID in its usual form; version 7, or 5 where it is derived.
#[derive(ToSchema)]
#[schema(
    format = "uuid",
    pattern = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
    example = "0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11"
)]
pub(in crate::http::openapi) struct Id(String);

/// The currency of the installation, ISO 4217.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Z]{3}$", example = "EUR")]
pub(in crate::http::openapi) struct Currency(String);

/// A place in the log: 1 for the first event, no gaps.
#[derive(ToSchema)]
#[schema(minimum = 1, example = 42)]
pub(in crate::http::openapi) struct Position(u64);

/// How a purchase is going; only ever forward. SUCCESS and FAILED are final.
#[derive(ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::http::openapi) enum Status {
    Pending,
    Processing,
    Success,
    Failed,
}

/// Which way a purchase came about.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http::openapi) enum Kind {
    Activation,
    Renewal,
    Partner,
}

/// A part of a list of `T`.
pub(in crate::http::openapi) struct Page<T>(PhantomData<T>);

impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let next = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("Where to go on, relative to the host; null on the last page."))
            .examples([Value::Null]);
        let previous =
            ObjectBuilder::new().schema_type(Type::Null).description(Some("Lists are walked forward only."));
        let page = ObjectBuilder::new()
            .property("results", ArrayBuilder::new().items(reference::<T>()).max_items(Some(200)))
            .property("next", next)
            .property("previous", previous);
        let page = ["results", "next", "previous"].into_iter().fold(page, ObjectBuilder::required);
        page.additional_properties(Some(AdditionalProperties::FreeForm(false))).into()
    }
}

impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Page", T::name()).into()
    }

    fn schemas(named: &mut Vec<Named>) {
        name::<T>(named);
    }
}

/// A string of so many characters.
pub(in crate::http::openapi) fn text(at_least: usize, at_most: usize) -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).max_length(Some(at_most));
    if at_least > 0 { text.min_length(Some(at_least)) } else { text }
}

/// A single line of at most so many characters, none of them a control character.
pub(in crate::http::openapi) fn line(at_least: usize, at_most: usize) -> ObjectBuilder {
    text(at_least, at_most).format(Some(SchemaFormat::Custom("line".to_owned())))
}

/// A whole number in these bounds.
pub(in crate::http::openapi) fn integer(at_least: i64, at_most: i64) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(at_least)).maximum(Some(at_most))
}

/// `true` or `false`.
pub(in crate::http::openapi) fn boolean() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}
