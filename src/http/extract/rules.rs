//! What a member of a request may be: each rule judges the value as the client wrote it, says what it
//! should have been, and describes itself for the document.

use super::values::{self, Expected};
use crate::identity::Roles;
use domain::Money;
use domain::text::INVISIBLE;
use secrecy::SecretString;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::str::FromStr;
use strum::VariantNames;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// Control characters, as the rules know them.
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";
/// The same without newline and tab.
const CONTROL_IN_PROSE: &str = r"\u0000-\u0008\u000b-\u001f\u007f-\u009f";

/// What a member may be.
pub(crate) trait Rule {
    /// What the value is read into.
    type Value;

    /// Reads `value`.
    ///
    /// # Errors
    /// What it should be.
    fn parse(&self, value: &RawValue) -> Result<Self::Value, Expected>;

    fn schema(&self) -> Value;
}

/// A UUID in its usual form of 36 characters.
pub(crate) struct IdOf<T>(PhantomData<T>);

/// A UUID in its usual form of 36 characters.
pub(crate) fn id<T: From<Uuid>>() -> IdOf<T> {
    IdOf(PhantomData)
}

impl<T: From<Uuid>> Rule for IdOf<T> {
    type Value = T;

    fn parse(&self, value: &RawValue) -> Result<T, Expected> {
        values::uuid(value).map(T::from)
    }

    fn schema(&self) -> Value {
        json!({"$ref": "#/components/schemas/Id"})
    }
}

/// An amount as a string or a JSON number, judged on the text as it was written.
pub(crate) struct Amount;

impl Rule for Amount {
    type Value = Money;

    fn parse(&self, value: &RawValue) -> Result<Money, Expected> {
        values::amount(value)
    }

    fn schema(&self) -> Value {
        json!({"$ref": "#/components/schemas/Amount"})
    }
}

impl PartialSchema for Amount {
    fn schema() -> RefOr<Schema> {
        let string = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(11))
            .pattern(Some(r"^[0-9]{1,8}(\.[0-9]{1,2})?$"));
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

/// An amount of more than nothing.
pub(crate) struct PositiveAmount;

impl Rule for PositiveAmount {
    type Value = Money;

    fn parse(&self, value: &RawValue) -> Result<Money, Expected> {
        values::positive_amount(value)
    }

    fn schema(&self) -> Value {
        Rule::schema(&Amount)
    }
}

/// One of the names of `T`.
pub(crate) struct NameOf<T>(PhantomData<T>);

/// One of the names of `T`.
pub(crate) fn name_of<T: FromStr + VariantNames>() -> NameOf<T> {
    NameOf(PhantomData)
}

impl<T: FromStr + VariantNames> Rule for NameOf<T> {
    type Value = T;

    fn parse(&self, value: &RawValue) -> Result<T, Expected> {
        let named = serde_json::from_str(value.get()).ok().and_then(|name: String| name.parse().ok());
        named.ok_or_else(|| format!("must be one of {}", T::VARIANTS.join(", ")))
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "enum": T::VARIANTS})
    }
}

/// `true` or `false`.
pub(crate) struct Boolean;

impl Rule for Boolean {
    type Value = bool;

    fn parse(&self, value: &RawValue) -> Result<bool, Expected> {
        values::boolean(value)
    }

    fn schema(&self) -> Value {
        json!({"type": "boolean"})
    }
}

/// A whole number in these bounds; `30.0` is one as well.
pub(crate) struct Integer(pub(crate) RangeInclusive<u32>);

impl Rule for Integer {
    type Value = u32;

    fn parse(&self, value: &RawValue) -> Result<u32, Expected> {
        values::integer(self.0.clone())(value)
    }

    fn schema(&self) -> Value {
        json!({"type": "integer", "format": "int32", "minimum": self.0.start(), "maximum": self.0.end()})
    }
}

/// A single line of so many characters (not bytes) without control characters.
pub(crate) struct Line(pub(crate) RangeInclusive<usize>);

impl Rule for Line {
    type Value = String;

    fn parse(&self, value: &RawValue) -> Result<String, Expected> {
        values::line(self.0.clone())(value)
    }

    fn schema(&self) -> Value {
        text(&self.0, "line", &pattern(&self.0, &format!(r"[^{CONTROL}\u2028\u2029]")))
    }
}

/// A name that a program gave: `^[A-Za-z0-9][A-Za-z0-9._:/#-]{0,99}$`. It is kept for ever and analysts see it,
/// so nothing can be written in it but a name.
pub(crate) struct Identifier;

impl Rule for Identifier {
    type Value = String;

    fn parse(&self, value: &RawValue) -> Result<String, Expected> {
        values::identifier(value)
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "pattern": values::IDENTIFIER, "maxLength": values::MAX_IDENTIFIER})
    }
}

/// A secret of so many characters (not bytes) without control characters; it may be blank.
pub(crate) struct Secret(pub(crate) RangeInclusive<usize>);

impl Rule for Secret {
    type Value = SecretString;

    fn parse(&self, value: &RawValue) -> Result<SecretString, Expected> {
        values::secret(self.0.clone())(value)
    }

    fn schema(&self) -> Value {
        text(&self.0, "password", &format!("^[^{CONTROL}]*$"))
    }
}

/// A text of so many characters (not bytes) in which newlines and tabs are welcome.
pub(crate) struct Prose(pub(crate) RangeInclusive<usize>);

impl Rule for Prose {
    type Value = String;

    fn parse(&self, value: &RawValue) -> Result<String, Expected> {
        values::prose(self.0.clone())(value)
    }

    fn schema(&self) -> Value {
        text(&self.0, "prose", &pattern(&self.0, &format!(r"(?:\r\n|[^{CONTROL_IN_PROSE}])")))
    }
}

/// The names of one or more roles.
pub(crate) struct RoleNames;

impl Rule for RoleNames {
    type Value = Roles;

    fn parse(&self, value: &RawValue) -> Result<Roles, Expected> {
        let names = values::list(|name| Ok(name.to_owned()))(value)?;
        let roles = Roles::parse(names.iter().map(String::as_str));
        roles.map_err(|_| "must be one or more of user, admin, auditor".to_owned())
    }

    fn schema(&self) -> Value {
        json!({"type": "array", "items": {"$ref": "#/components/schemas/Role"}, "minItems": 1})
    }
}

/// Reads by one rule and shows another schema: for values that are judged further in.
pub(crate) struct Shown<R>(pub(crate) R, pub(crate) fn() -> Value);

impl<R: Rule> Rule for Shown<R> {
    type Value = R::Value;

    fn parse(&self, value: &RawValue) -> Result<R::Value, Expected> {
        self.0.parse(value)
    }

    fn schema(&self) -> Value {
        (self.1)()
    }
}

fn text(length: &RangeInclusive<usize>, format: &str, pattern: &str) -> Value {
    let mut schema =
        json!({"type": "string", "format": format, "pattern": pattern, "maxLength": length.end()});
    if *length.start() > 0 {
        schema["minLength"] = json!(length.start());
    }
    schema
}

/// The pattern of a text of which `one` is one character. Of a text that may not be empty, something must be visible.
fn pattern(length: &RangeInclusive<usize>, one: &str) -> String {
    if *length.start() == 0 {
        return format!("^{one}*$");
    }
    let range = |&(first, last): &(char, char)| format!(r"\u{:04x}-\u{:04x}", first as u32, last as u32);
    let invisible: String = INVISIBLE.iter().map(range).collect();
    format!(r"^{one}*[^{CONTROL}{invisible}]{one}*$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A client that follows the document is not refused, and what the document excludes is not taken.
    fn agree(rule: &impl Rule, value: &Value) -> Result<(), TestCaseError> {
        let schema = jsonschema::validator_for(&rule.schema()).expect("a schema");
        let raw = serde_json::value::to_raw_value(value).expect("JSON");
        prop_assert_eq!(schema.is_valid(value), rule.parse(&raw).is_ok(), "{}", value);
        Ok(())
    }

    proptest! {
        #[test]
        fn the_schema_of_a_text_takes_exactly_what_the_rule_takes(
            text in "[a\\- \t\r\n\u{0}\u{1f}\u{7f}\u{85}\u{a0}\u{ad}\u{200b}\u{2028}\u{2029}\u{3164}\u{feff}\u{e9}\u{1d11e}]{0,6}"
        ) {
            let value = json!(text);
            agree(&Line(0..=4), &value)?;
            agree(&Line(1..=4), &value)?;
            agree(&Prose(0..=4), &value)?;
            agree(&Prose(1..=4), &value)?;
            agree(&Secret(0..=4), &value)?;
            agree(&Identifier, &value)?;
        }

        #[test]
        fn the_schema_of_a_number_takes_exactly_what_the_rule_takes(number in -2_i64..100) {
            agree(&Integer(1..=90), &json!(number))?;
        }
    }
}
