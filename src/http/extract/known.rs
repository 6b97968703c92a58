//! Where names that are not known are errors: below `/admin/`, `/audit/` and `/partner/`, for a filter that
//! is ignored there shows somebody else's rows. What is known is what the document says.
//!
//! The seed's clients send what they like to `activate` and `validate`, so these are exempt.

use crate::http::API;
use crate::http::openapi::openapi_document;
use crate::http::problem::{FieldError, Problem};
use axum::extract::{MatchedPath, Query};
use axum::http::request::Parts;
use axum::http::{Extensions, Uri};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The sections where unknown names are errors.
const STRICT: [&str; 3] = ["/admin", "/audit", "/partner"];
/// The seed's own paths among them.
const LENIENT: [&str; 2] = ["/partner/activate", "/partner/validate/{reference}"];

/// The names of the query parameters of each operation, by method and path, below the strict sections.
static PARAMETERS: LazyLock<HashMap<(String, String), Vec<String>>> = LazyLock::new(|| {
    let document = openapi_document();
    let paths = document["paths"].as_object().into_iter().flatten();
    let strict = paths.filter(|(path, _)| is_strict(path));
    let operations = strict.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| {
            let path = path.trim_end_matches('/').to_owned();
            ((method.to_uppercase(), path), query_names(operation))
        })
    });
    operations.collect()
});

/// Whether unknown names are errors on `path`, as the router has it, with or without a slash at its end.
pub(crate) fn is_strict(path: &str) -> bool {
    let Some(below) = path.trim_end_matches('/').strip_prefix(API) else { return false };
    let within = |section: &&str| {
        below.strip_prefix(*section).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    STRICT.iter().any(within) && !LENIENT.contains(&below)
}

/// The same for the route that took a request.
pub(crate) fn is_strict_route(extensions: &Extensions) -> bool {
    extensions.get::<MatchedPath>().is_some_and(|path| is_strict(path.as_str()))
}

/// Refuses a query with names that the route does not know, if it is strict.
///
/// # Errors
/// `invalid_request`, which names the known ones.
pub(crate) fn known_parameters_only(parts: &Parts) -> Result<(), Problem> {
    let Some(path) = parts.extensions.get::<MatchedPath>().filter(|path| is_strict(path.as_str())) else {
        return Ok(());
    };
    let method = if parts.method == "HEAD" { "GET" } else { parts.method.as_str() };
    let known = PARAMETERS.get(&(method.to_owned(), path.as_str().trim_end_matches('/').to_owned()));
    let known = known.map_or(&[][..], Vec::as_slice);
    let unknown: Vec<_> = names(&parts.uri)?.into_iter().filter(|name| !known.contains(name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Problem::invalid(unknown.iter().take(MAX_TOLD).map(|name| unknown_name(name, known)).collect()))
}

/// How many unknown names are told at most.
const MAX_TOLD: usize = 50;

/// The error for a name that a client invented, without what would break a line.
pub(crate) fn unknown_name<S: AsRef<str>>(name: &str, known: &[S]) -> FieldError {
    let field = name.chars().filter(|c| !c.is_control()).take(100).collect();
    let known: Vec<&str> = known.iter().map(S::as_ref).collect();
    let message = match known.as_slice() {
        [] => "is not known here, nor is any other name".to_owned(),
        known => format!("is not known here; known are {}", known.join(", ")),
    };
    FieldError { field, message }
}

fn names(uri: &Uri) -> Result<Vec<String>, Problem> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(pairs) = pairs.map_err(|_| Problem::invalid_field("query", "must be name=value pairs"))?;
    Ok(pairs.into_iter().map(|(name, _)| name).collect())
}

fn query_names(operation: &Value) -> Vec<String> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let query = parameters.filter(|parameter| parameter["in"] == "query");
    query.filter_map(|parameter| parameter["name"].as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sections_of_operators_auditors_and_partners_are_strict() {
        for path in ["/api/v1/admin/users/", "/api/v1/audit/events", "/api/v1/partner/", "/api/v1/partner"] {
            assert!(is_strict(path), "{path}");
        }
        for path in [
            "/api/v1/partner/activate/",
            "/api/v1/partner/validate/{reference}",
            "/api/v1/offers",
            "/api/v1/administrators",
            "/livez",
        ] {
            assert!(!is_strict(path), "{path}");
        }
    }

    #[test]
    fn the_known_names_are_the_documents() {
        let known = &PARAMETERS[&("GET".to_owned(), "/api/v1/admin/users".to_owned())];
        assert_eq!(known, &["q", "limit", "cursor"]);
    }
}
