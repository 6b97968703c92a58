//! What watches and describes the service, outside `/api/v1`.

use super::values::text;
use crate::http::Code;
use crate::http::openapi::operation::{Operation, get};
use serde_json::json;
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    let watched = [
        get("/livez", "Does the process answer").answers::<Alive>(200, "It does."),
        get("/readyz", "Can it serve")
            .says("Without PostgreSQL it cannot; without Redis or NATS it is degraded and serves.")
            .answers::<Ready>(200, "It can.")
            .refuses_with(
                Code::Unavailable,
                json!({"parts": {"postgresql": NO_ANSWER, "redis": "ok", "nats": "ok"}}),
            ),
        get("/metrics", "Metrics for Prometheus").answers_text(METRICS, 200, "All metrics.", METRICS_EXAMPLE),
    ];
    let told = [
        get("/openapi.json", "This document").answers::<Document>(200, "OpenAPI 3.1."),
        get("/asyncapi.json", "The events").answers::<Document>(200, "AsyncAPI 3.0."),
        get("/schemas/{event}/{version}", "What an event's payload is")
            .segment("event", "`<aggregate>.<event>` in snake case.", text(1, 100), "transaction.succeeded")
            .segment("version", "`1.0.json`", text(1, 20), "1.0.json")
            .answers_json_as::<Document>("application/schema+json", 200, "JSON Schema 2020-12.")
            .refuses(&[Code::NotFound]),
        get("/docs", "These pages").answers_text("text/html", 200, "Swagger UI.", "<!DOCTYPE html>"),
    ];
    let watched = watched.into_iter().map(|operation| operation.tagged("watch"));
    watched.chain(told.into_iter().map(|operation| operation.tagged("documents"))).collect()
}

const NO_ANSWER: &str = "PostgreSQL does not answer";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const METRICS_EXAMPLE: &str = "activation_requests_total{status=\"accepted\"} 17\n";

#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Alive {
    #[schema(example = "ok")]
    status: String,
}

/// Whether it can serve, and with what.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Ready {
    status: Readiness,
    parts: Parts,
}

#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum Readiness {
    Ok,
    Degraded,
}

/// `ok`, or what is wrong with the part.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Parts {
    #[schema(example = "ok")]
    postgresql: String,
    #[schema(example = "ok")]
    redis: String,
    #[schema(example = "ok")]
    nats: String,
}

/// A document in JSON.
#[derive(ToSchema)]
struct Document {}
