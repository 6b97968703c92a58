//! One operation of the API: what it takes, what it answers, and by which codes it refuses.
//!
//! What follows from the kind of a request is said here once: who needs a caller may be told 401, who
//! sends a body 413, everybody 503. A resource's own file names only what is its own.

use super::answer::Answer;
use super::api::values::{Id, Page, integer, text};
pub(crate) use super::caller::Caller;
use super::headers::{self, REQUEST_ID, TRACEPARENT};
use super::problems;
use super::schemas::{self, Named, reference};
use crate::http::Code;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, ContentBuilder, Ref, Required};

const JSON: &str = "application/json";

/// One operation, being described.
pub(crate) struct Operation {
    pub(crate) method: HttpMethod,
    pub(crate) path: String,
    tag: &'static str,
    caller: Caller,
    summary: &'static str,
    description: &'static str,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    answers: Vec<Answer>,
    codes: Vec<Code>,
    beside: Vec<(Code, Value)>,
    pub(crate) schemas: Vec<Named>,
}

pub(crate) fn get(path: &str, summary: &'static str) -> Operation {
    Operation::new(HttpMethod::Get, path, summary)
}

pub(crate) fn post(path: &str, summary: &'static str) -> Operation {
    Operation::new(HttpMethod::Post, path, summary)
}

pub(crate) fn patch(path: &str, summary: &'static str) -> Operation {
    Operation::new(HttpMethod::Patch, path, summary)
}

pub(crate) fn delete(path: &str, summary: &'static str) -> Operation {
    Operation::new(HttpMethod::Delete, path, summary)
}

impl Operation {
    fn new(method: HttpMethod, path: &str, summary: &'static str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            tag: "",
            caller: Caller::Anybody,
            summary,
            description: "",
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            codes: Vec::new(),
            beside: Vec::new(),
            schemas: Vec::new(),
        }
    }

    /// What it is listed under.
    pub(crate) fn tagged(self, tag: &'static str) -> Self {
        Self { tag, ..self }
    }

    /// Where it lies: `prefix` comes before its path, and what guards everything there may refuse it.
    pub(crate) fn under(mut self, prefix: &str) -> Self {
        self.path = format!("{prefix}{}", self.path);
        for answer in &mut self.answers {
            answer.headers.extend([headers::RATE_LIMIT, headers::RATE_LIMIT_POLICY]);
        }
        let guarded = self.refuses(&[Code::RateLimited, Code::InternalError]).refuses(&[
            Code::Unavailable,
            Code::Overloaded,
            Code::Timeout,
        ]);
        if guarded.method == HttpMethod::Get { guarded } else { guarded.refuses(&[Code::OutcomeUnknown]) }
    }

    /// Who may call it.
    pub(crate) fn by(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self.refuses(caller.refusals())
    }

    /// What the summary does not say.
    pub(crate) fn says(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// The UUID in its path.
    pub(crate) fn id(self, name: &'static str, what: &'static str) -> Self {
        let id = parameter(name, ParameterIn::Path, what).schema(Some(reference::<Id>()));
        self.with(id.required(Required::True)).knows::<Id>().refuses(&[Code::MalformedId])
    }

    /// A text in its path.
    pub(crate) fn segment(
        self,
        name: &'static str,
        what: &'static str,
        schema: impl Into<Schema>,
        example: &str,
    ) -> Self {
        let segment = parameter(name, ParameterIn::Path, what).schema(Some(schema.into()));
        self.with(segment.required(Required::True).example(Some(example.into())))
    }

    /// A parameter of its query.
    pub(crate) fn query(self, name: &'static str, what: &'static str, schema: impl Into<Schema>) -> Self {
        let query = parameter(name, ParameterIn::Query, what).schema(Some(schema.into()));
        self.with(query).refuses(&[Code::InvalidRequest])
    }

    /// A parameter of its query that is a `T`.
    pub(crate) fn query_of<T: ToSchema>(self, name: &'static str, what: &'static str) -> Self {
        let query = parameter(name, ParameterIn::Query, what).schema(Some(reference::<T>()));
        self.with(query).knows::<T>().refuses(&[Code::InvalidRequest])
    }

    /// A header that it looks at, and refuses in any other form than that of `schema`.
    fn strict_header(
        self,
        name: &'static str,
        what: &'static str,
        schema: ObjectBuilder,
        example: &str,
    ) -> Self {
        let header = parameter(name, ParameterIn::Header, what).schema(Some(Schema::from(schema)));
        self.with(header.example(Some(example.into())))
    }

    /// The members of its body.
    pub(crate) fn takes<T: ToSchema>(self) -> Self {
        self.takes_body::<T>(Required::True)
    }

    /// The same, but no body at all is as good as an empty object.
    pub(crate) fn takes_if_any<T: ToSchema>(self) -> Self {
        self.takes_body::<T>(Required::False)
    }

    fn takes_body<T: ToSchema>(mut self, required: Required) -> Self {
        let content = Content::new(Some(reference::<T>()));
        self.body = Some(RequestBodyBuilder::new().content(JSON, content).required(Some(required)).build());
        self.knows::<T>().refuses(&[
            Code::InvalidJson,
            Code::InvalidRequest,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
        ])
    }

    /// It moves money, and repeating it with the same key moves none again. After the answers.
    pub(crate) fn repeatable(self) -> Self {
        let what = "Repeats are recognised by it: the same caller, key and request get the original answer. \
                    1 to 255 visible ASCII characters, quoted or bare.";
        let key =
            headers::any_text().pattern(Some(r#"^([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")$"#));
        self.strict_header("Idempotency-Key", what, key, "3f5f2d4e-8c1b-4d6a-9d2e-7a5b1c0f9e11")
            .sends(headers::IDEMPOTENT_REPLAYED)
            .refuses(&[Code::InvalidIdempotencyKey, Code::IdempotencyKeyReused])
    }

    /// A JSON body under `status`.
    pub(crate) fn answers<T: ToSchema>(self, status: u16, description: &'static str) -> Self {
        self.answers_json_as::<T>(JSON, status, description)
    }

    /// A JSON body of a media type of its own under `status`.
    pub(crate) fn answers_json_as<T: ToSchema>(
        self,
        media_type: &'static str,
        status: u16,
        description: &'static str,
    ) -> Self {
        let content = Content::new(Some(reference::<T>()));
        self.knows::<T>().answers_in(media_type, content, status, description)
    }

    /// A body that is no JSON under `status`.
    pub(crate) fn answers_text(
        self,
        media_type: &'static str,
        status: u16,
        description: &'static str,
        example: &str,
    ) -> Self {
        let schema = Schema::from(ObjectBuilder::new().schema_type(Type::String));
        let content = ContentBuilder::new().schema(Some(schema)).example(Some(example.into()));
        self.answers_in(media_type, content.build(), status, description)
    }

    /// A second body under the same status joins the first.
    fn answers_in(
        mut self,
        media_type: &'static str,
        content: Content,
        status: u16,
        description: &'static str,
    ) -> Self {
        match self.answers.iter_mut().find(|answer| answer.status == status) {
            Some(answer) => answer.contents.push((media_type, content)),
            None => {
                let contents = vec![(media_type, content)];
                self.answers.push(Answer { status, description, headers: vec![REQUEST_ID], contents });
            }
        }
        self
    }

    /// No body under `status`.
    pub(crate) fn answers_nothing(mut self, status: u16, description: &'static str) -> Self {
        self.answers.push(Answer { status, description, headers: vec![REQUEST_ID], contents: Vec::new() });
        self
    }

    /// Pages of `T`, walked by `limit` and `cursor`.
    pub(crate) fn lists<T: ToSchema>(self, description: &'static str) -> Self {
        self.query("limit", "How many at most.", integer(1, 200).default(Some(50.into())))
            .query("cursor", "Where to go on: as `next` has it.", text(0, 1024))
            .refuses(&[Code::InvalidCursor])
            .answers::<Page<T>>(200, description)
    }

    /// A header of the answer that was described last.
    pub(crate) fn sends(mut self, header: &'static str) -> Self {
        self.answers.last_mut().expect("an answer comes before its headers").headers.push(header);
        self
    }

    /// Codes by which it may refuse, beside those that follow from what it takes.
    pub(crate) fn refuses(mut self, codes: &[Code]) -> Self {
        for code in codes {
            if !self.codes.contains(code) {
                self.codes.push(*code);
            }
        }
        self
    }

    /// The same with members of its own beside those of every problem; `members` shows them.
    pub(crate) fn refuses_with(mut self, code: Code, members: Value) -> Self {
        self.beside.push((code, members));
        self.refuses(&[code])
    }

    /// Makes the schema of `T` and of all it names part of the document.
    fn knows<T: ToSchema>(mut self) -> Self {
        schemas::name::<T>(&mut self.schemas);
        self
    }

    fn with(mut self, parameter: ParameterBuilder) -> Self {
        self.parameters.push(parameter.build());
        self
    }

    /// As the document has it.
    pub(crate) fn build(&self) -> OperationBuilder {
        let mut built = OperationBuilder::new()
            .operation_id(Some(self.name()))
            .tag(self.tag)
            .summary(Some(self.summary))
            .request_body(self.body.clone())
            .securities(Some(self.caller.requirements()));
        if !self.description.is_empty() {
            built = built.description(Some(self.description));
        }
        for parameter in &self.parameters {
            built = built.parameter(parameter.clone());
        }
        for header in [REQUEST_ID, TRACEPARENT] {
            built = built.parameter_ref(Ref::new(format!("#/components/parameters/{header}")));
        }
        for answer in &self.answers {
            built = built.response(answer.status.to_string(), answer.build());
        }
        for (status, refusal) in problems::by_status(&self.codes, &self.beside) {
            built = built.response(status, refusal);
        }
        built
    }

    /// `get_account_transactions_by_id`
    fn name(&self) -> String {
        let method = match self.method {
            HttpMethod::Get => "get",
            HttpMethod::Patch => "change",
            HttpMethod::Delete => "delete",
            _ => "post",
        };
        let words = self.path.trim_start_matches("/api/v1").split('/').filter(|word| !word.is_empty());
        let words = words.map(|word| match word.strip_prefix('{') {
            Some(id) => format!("by_{}", id.trim_end_matches('}')),
            None => word.replace(['-', '.'], "_"),
        });
        [method.to_owned()].into_iter().chain(words).collect::<Vec<_>>().join("_")
    }
}

fn parameter(name: &'static str, place: ParameterIn, what: &'static str) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(place).description(Some(what)).required(Required::False)
}
