//! The members of a request's body, read one by one; all that are wrong are named at once.
//!
//! A reader gives `None` for a member that is wrong, and notes the error; [`Fields::read`] answers the
//! errors if there are any.

use super::known::unknown_name;
use super::rules::Rule;
use super::values::Expected;
use crate::http::problem::{FieldError, Problem};
use serde_json::value::RawValue;

/// What a member that must be there is told when it is not.
const REQUIRED: &str = "is required";

/// How many errors are told at most: a body may have thousands of unknown members.
const MAX_TOLD: usize = 50;

/// One member of the body, its value as the client wrote it.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) value: Box<RawValue>,
}

/// The members of a body and what was found wrong with them.
pub(crate) struct Fields {
    members: Vec<Member>,
    /// Whether members that nobody asks for are errors, wherever the request is used.
    strict: bool,
    asked: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl Fields {
    pub(crate) fn new(members: Vec<Member>, strict: bool) -> Self {
        Self { members, strict, asked: Vec::new(), errors: Vec::new() }
    }

    /// Reads what the client sent. Members that `reader` does not ask for are errors on a strict route, else ignored.
    /// `reader` gives `None` only after it noted an error.
    ///
    /// # Errors
    /// `invalid_request` with every field that is wrong.
    pub(crate) fn read<T>(mut self, reader: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, Problem> {
        let value = reader(&mut self);
        for member in &self.members {
            if self.strict && !self.asked.contains(&member.name.as_str()) {
                self.errors.push(unknown_name(&member.name, &self.asked));
            }
        }
        self.finish(value)
    }

    /// Those of `names` that are not there, or `null`, or an empty text.
    pub(crate) fn missing(&self, names: &[&'static str]) -> Vec<&'static str> {
        let says_something = |member: &Member| !is_null(&member.value) && member.value.get() != "\"\"";
        let given =
            |name: &str| self.members.iter().any(|member| member.name == name && says_something(member));
        names.iter().copied().filter(|name| !given(name)).collect()
    }

    fn finish<T>(mut self, value: Option<T>) -> Result<T, Problem> {
        self.errors.truncate(MAX_TOLD);
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(Problem::invalid(self.errors)),
        }
    }

    /// Whether a member is there and not `null`, for bodies that come in several forms.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.name == name && !is_null(&member.value))
    }

    /// A member that must be there.
    pub(crate) fn required<T>(&mut self, name: &'static str, rule: &impl Rule<Value = T>) -> Option<T> {
        match self.find(name) {
            Some(value) => self.judge(name, rule.parse(&value.ok()?)),
            None => {
                self.refuse(name, REQUIRED);
                None
            }
        }
    }

    /// A member that may be missing or `null`.
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        rule: &impl Rule<Value = T>,
    ) -> Option<Option<T>> {
        match self.find(name) {
            Some(value) => self.judge(name, rule.parse(&value.ok()?)).map(Some),
            None => Some(None),
        }
    }

    /// A member of a partial change: it may be missing, but not `null`.
    pub(crate) fn change<T>(&mut self, name: &'static str, rule: &impl Rule<Value = T>) -> Option<Option<T>> {
        let value = self.optional(name, rule)?;
        if value.is_none() && self.names(name) {
            self.refuse(name, "must not be null");
            return None;
        }
        Some(value)
    }

    /// A member of a partial change that takes something away when it is `null`.
    pub(crate) fn erasable<T>(
        &mut self,
        name: &'static str,
        rule: &impl Rule<Value = T>,
    ) -> Option<Option<Option<T>>> {
        let value = self.optional(name, rule)?;
        Some(self.names(name).then_some(value))
    }

    /// Whether a member is there, `null` or not.
    fn names(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.name == name)
    }

    /// Notes that `name` is wrong although each member by itself was right.
    pub(crate) fn refuse(&mut self, name: &str, message: &str) {
        self.errors.push(FieldError { field: name.to_owned(), message: message.to_owned() });
    }

    /// The value of `name` unless it is missing or null; `Err` when it is duplicated.
    fn find(&mut self, name: &'static str) -> Option<Result<Box<RawValue>, ()>> {
        self.asked.push(name);
        let mut values = self.members.iter().filter(|member| member.name == name);
        let first = values.next()?;
        if values.next().is_some() {
            self.refuse(name, "is duplicated");
            return Some(Err(()));
        }
        (!is_null(&first.value)).then(|| Ok(first.value.clone()))
    }

    fn judge<T>(&mut self, name: &str, parsed: Result<T, Expected>) -> Option<T> {
        parsed.map_err(|expected| self.refuse(name, &expected)).ok()
    }
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::extract::rules::{Boolean, Integer, Line, id};
    use uuid::Uuid;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).expect("JSON")
    }

    fn fields(members: &[(&str, &str)]) -> Fields {
        on_route(members, false)
    }

    fn on_route(members: &[(&str, &str)], strict: bool) -> Fields {
        let member = |(name, value): &(&str, &str)| Member { name: (*name).to_owned(), value: raw(value) };
        Fields::new(members.iter().map(member).collect(), strict)
    }

    #[test]
    fn every_wrong_field_is_told_at_once() {
        let problem = fields(&[("offer_id", "7"), ("days", "0"), ("name", "\"a\\u0000\"")])
            .read(|fields| {
                fields.required("offer_id", &id::<Uuid>());
                fields.required("days", &Integer(1..=90));
                fields.required("name", &Line(1..=10));
                fields.required("gone", &Boolean)
            })
            .expect_err("four are wrong");
        assert_eq!(format!("{problem:?}").matches("FieldError").count(), 4);
    }

    #[test]
    fn a_doubled_member_is_refused_and_an_unknown_one_only_where_it_matters() {
        let twice = &[("a", "true"), ("a", "true")];
        assert!(fields(twice).read(|fields| fields.required("a", &Boolean)).is_err());
        assert!(fields(twice).read(|fields| fields.optional("a", &Boolean)).is_err());
        let unknown = &[("a", "true"), ("b", "1")];
        assert_eq!(fields(unknown).read(|fields| fields.required("a", &Boolean)).ok(), Some(true));
        assert!(on_route(unknown, true).read(|fields| fields.required("a", &Boolean)).is_err());
    }

    #[test]
    fn null_is_missing_except_in_a_change() {
        let null = &[("a", "null")];
        assert!(fields(null).read(|fields| fields.required("a", &Boolean)).is_err());
        assert_eq!(fields(null).read(|fields| fields.optional("a", &Boolean)).ok(), Some(None));
        assert!(fields(null).read(|fields| fields.change("a", &Boolean)).is_err());
    }
}
