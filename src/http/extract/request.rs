//! Typed requests: the members of a body, written once.
//!
//! [`request!`](crate::http::extract::request::request) makes the struct that a handler gets, what reads
//! it, and its schema. Derived `Deserialize` cannot carry our requests: it stops at the first error,
//! where a client is told all of them at once; it judges an amount as a number, not as the text that the
//! client wrote; and it keeps one of two members of the same name, where we refuse both.

use super::fields::Fields;
use super::rules::Rule;
use crate::http::problem::Problem;
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

/// What can be read from a body.
pub(crate) trait Request: Sized {
    /// Reads the members; `None` when one of them is wrong, which `fields` knows.
    fn read(fields: &mut Fields) -> Option<Self>;

    /// Reads the whole body.
    ///
    /// # Errors
    /// `invalid_request` with every member that is wrong.
    fn of(fields: Fields) -> Result<Self, Problem> {
        fields.read(Self::read)
    }
}

/// The schema of a body, being written. Its methods are named like those of [`Fields`].
pub(crate) struct ObjectSchema(Value);

/// The words about a member.
pub(crate) struct Words<'a> {
    pub(crate) docs: &'a [&'a str],
    pub(crate) example: Option<Value>,
}

impl ObjectSchema {
    pub(crate) fn new(docs: &[&str], strict: bool) -> Self {
        let mut schema =
            json!({"type": "object", "description": text(docs), "required": [], "properties": {}});
        if strict {
            schema["additionalProperties"] = json!(false);
        }
        Self(schema)
    }

    pub(crate) fn required(mut self, name: &str, rule: &impl Rule, words: Words) -> Self {
        self.0["required"].as_array_mut().expect("made as an array").push(name.into());
        self.change(name, rule, words)
    }

    pub(crate) fn optional(self, name: &str, rule: &impl Rule, words: Words) -> Self {
        self.with(name, nullable(rule.schema()), words)
    }

    pub(crate) fn change(self, name: &str, rule: &impl Rule, words: Words) -> Self {
        self.with(name, rule.schema(), words)
    }

    pub(crate) fn erasable(self, name: &str, rule: &impl Rule, words: Words) -> Self {
        self.optional(name, rule, words)
    }

    fn with(mut self, name: &str, mut schema: Value, words: Words) -> Self {
        if !words.docs.is_empty() {
            schema["description"] = text(words.docs).into();
        }
        if let Some(example) = words.example {
            schema["example"] = example;
        }
        self.0["properties"][name] = schema;
        self
    }

    pub(crate) fn build(self) -> RefOr<Schema> {
        serde_json::from_value(self.0).map(RefOr::T).expect("a JSON schema")
    }
}

fn text(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

fn nullable(mut schema: Value) -> Value {
    match schema.get("type").cloned() {
        Some(name) => {
            schema["type"] = json!([name, "null"]);
            schema
        }
        None => json!({"oneOf": [{"type": "null"}, schema]}),
    }
}

/// Makes a request of its members: `name: type = presence(rule)`, or `presence(rule, example)`, where the
/// presence is a method of [`Fields`]. With `strict` before its name, members that are not known are
/// errors.
macro_rules! request {
    ($(#[doc = $doc:literal])* strict $name:ident { $($members:tt)* }) => {
        $crate::http::extract::request::request!(@ true, [$($doc),*], $name, $($members)*);
    };
    (@ $strict:literal, [$($doc:literal),*], $name:ident,
     $($(#[doc = $about:literal])* $member:ident: $type:ty = $presence:ident($rule:expr $(, $example:expr)?)),* $(,)?) => {
        $(#[doc = $doc])*
        pub(crate) struct $name {
            $($(#[doc = $about])* pub(crate) $member: $type,)*
        }

        impl $crate::http::extract::request::Request for $name {
            fn read(fields: &mut $crate::http::extract::fields::Fields) -> Option<Self> {
                $(let $member = fields.$presence(stringify!($member), &$rule);)*
                Some(Self { $($member: $member?,)* })
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                use $crate::http::extract::request::{ObjectSchema, Words};
                let schema = ObjectSchema::new(&[$($doc),*], $strict);
                $(
                    let example = [$(serde_json::json!($example))?].into_iter().next();
                    let words = Words { docs: &[$($about),*], example };
                    let schema = schema.$presence(stringify!($member), &$rule, words);
                )*
                schema.build()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
    ($(#[doc = $doc:literal])* $name:ident { $($members:tt)* }) => {
        $crate::http::extract::request::request!(@ false, [$($doc),*], $name, $($members)*);
    };
}

pub(crate) use request;
