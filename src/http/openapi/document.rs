//! The OpenAPI document, made of the routes.

use super::{conventions, headers};
use crate::http::extract::rules::Amount;
use crate::http::problem::{Code, Details, FieldError};
use crate::http::values::{Id, Role};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;

/// What holds for all operations.
const DESCRIPTION: &str = include_str!("description.md");
/// What the operations are listed under.
const TAGS: [(&str, &str); 9] = [
    ("auth", "Log in, stay logged in, log out."),
    ("offers", "What can be bought."),
    ("account", "The caller's own balance, statement, subscriptions and transactions."),
    ("activation", "Buy an offer, and see what becomes of it."),
    ("partner", "For systems that sell to users, each on its own float account."),
    ("admin", "Users, accounts, offers. Takes the role `admin`; unknown members of a body are refused."),
    ("audit", "History as it stands in the log. Takes the role `auditor` or `admin`."),
    ("watch", "For machines that watch the service."),
    ("documents", "What the service says about itself."),
];

/// The document of the operations of `routes`.
pub(crate) fn document(routes: OpenApi) -> Value {
    let mut routes = serde_json::to_value(routes).expect("a document is JSON");
    let paths = routes["paths"].as_object_mut().map(std::mem::take).unwrap_or_default();
    let mut schemas = routes["components"]["schemas"].as_object_mut().map(std::mem::take).unwrap_or_default();
    // Named by rules and conventions, which are not part of any operation's types.
    for (name, schema) in [
        named::<Id>(),
        named::<Role>(),
        named::<Amount>(),
        named::<Code>(),
        named::<FieldError>(),
        named::<Details>(),
    ] {
        schemas.insert(name, schema);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Offers",
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{"url": "/"}],
        "tags": TAGS.map(|(name, what)| json!({"name": name, "description": what})),
        "paths": conventions::apply(paths),
        "components": {
            "schemas": schemas,
            "headers": headers::sent(),
            "securitySchemes": security_schemes(),
        },
    })
}

fn named<T: ToSchema>() -> (String, Value) {
    (T::name().into_owned(), serde_json::to_value(T::schema()).expect("a schema is JSON"))
}

fn security_schemes() -> Map<String, Value> {
    let bearer = json!({
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `access` token of a login.",
    });
    let api_key = json!({
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "A partner's key: the whole value is `ApiKey <key>`.",
    });
    [("Bearer".to_owned(), bearer), ("ApiKey".to_owned(), api_key)].into_iter().collect()
}
