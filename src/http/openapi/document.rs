//! The OpenAPI document, put together of the operations.

use super::operation::Operation;
use super::schemas::{self, Named};
use super::{api, conventions, examples, headers, problems, texts};
use crate::http::problem::Details;
use crate::http::values;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{PathItem, PathsBuilder};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, Tag};

/// What holds for all operations.
const DESCRIPTION: &str = include_str!("description.md");
/// What the operations are listed under.
const TAGS: [(&str, &str); 9] = [
    ("auth", "Log in, stay logged in, log out."),
    ("offers", "What can be bought."),
    ("account", "The caller's own balance, subscriptions and purchases."),
    ("activation", "Buy an offer, and see what becomes of it."),
    ("partner", "For systems that sell to users, each on its own float account."),
    ("admin", "Users, accounts, offers. Takes the role `admin`; unknown members of a body are refused."),
    ("audit", "History as it stands in the log. Takes the role `auditor` or `admin`."),
    ("watch", "For machines that watch the service."),
    ("documents", "What the service says about itself."),
];

/// The document of the operations of `routes`.
pub(crate) fn document(routes: OpenApi) -> Value {
    let mut routed = serde_json::to_value(routes).expect("a document is JSON");
    let paths = routed["paths"].as_object_mut().map(std::mem::take).unwrap_or_default();
    let mut document = old();
    document["servers"] = json!([{"url": "/"}]);
    for (path, item) in conventions::apply(paths) {
        match document["paths"].get_mut(&path).and_then(Value::as_object_mut) {
            Some(known) => known.extend(item.as_object().cloned().unwrap_or_default()),
            None => document["paths"][path] = item,
        }
    }
    for (name, schema) in routed["components"]["schemas"].as_object().into_iter().flatten() {
        document["components"]["schemas"][name] = schema.clone();
    }
    examples::filled_in(texts::spelled_out(document))
}

/// What is not yet described where it is handled.
fn old() -> Value {
    let operations = api::operations();
    let paths = operations.iter().fold(PathsBuilder::new(), |paths, operation| {
        paths.path(&operation.path, PathItem::new(operation.method.clone(), operation.build()))
    });
    let info = InfoBuilder::new()
        .title("Offers")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()));
    let document = OpenApiBuilder::new()
        .info(info.build())
        .tags(Some(tags()))
        .paths(paths.build())
        .components(Some(components(&operations)))
        .build();
    let mut document = serde_json::to_value(document).expect("a document is JSON");
    allow_empty_queries(&mut document);
    document
}

/// A parameter of a query that is empty counts as missing.
fn allow_empty_queries(document: &mut Value) {
    let operations = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = operations.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut());
    let parameters = operations.filter_map(|operation| operation["parameters"].as_array_mut()).flatten();
    for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
        parameter["allowEmptyValue"] = true.into();
    }
}

fn tags() -> Vec<Tag> {
    TAGS.iter().map(|(name, what)| TagBuilder::new().name(*name).description(Some(*what)).build()).collect()
}

fn components(operations: &[Operation]) -> Components {
    let mut named: Vec<Named> =
        operations.iter().flat_map(|operation| operation.schemas.iter().cloned()).collect();
    schemas::name::<Details>(&mut named);
    schemas::name::<values::Id>(&mut named);
    schemas::name::<values::Role>(&mut named);
    let mut components = ComponentsBuilder::new().schemas_from_iter(named);
    for (name, response) in problems::shared() {
        components = components.response(name, response);
    }
    for (name, example) in problems::examples() {
        components = components.example(name, example);
    }
    for (name, header) in headers::sent() {
        components = components.header(name, header);
    }
    for (name, parameter) in headers::taken() {
        components = components.parameter(name, parameter);
    }
    components.security_scheme("Bearer", bearer()).security_scheme("ApiKey", api_key()).build()
}

fn bearer() -> SecurityScheme {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    SecurityScheme::Http(scheme.description(Some("The `access` token of a login.")).build())
}

fn api_key() -> SecurityScheme {
    let what = "A partner's key: the whole value is `ApiKey <key>`.";
    SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Authorization", what)))
}
