//! What the service says about itself, as others get it.

use crate::support::service::{Reply, Service, send};
use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

async fn fetch(service: &Service, path: &str) -> Reply {
    let reply = send(service.anonymous(Method::GET, path)).await;
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply
}

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

#[tokio::test]
async fn the_documents_are_served_with_and_without_a_slash() {
    let service = Service::start().await;
    for path in ["/openapi.json", "/openapi.json/"] {
        let reply = fetch(&service, path).await;
        assert_eq!(reply.headers["content-type"], "application/json");
        assert_eq!(reply.json()["openapi"], "3.1.0");
        assert_eq!(reply.json(), offers::http::openapi_document());
    }
    assert_eq!(fetch(&service, "/asyncapi.json").await.json()["asyncapi"], "3.0.0");
}

#[tokio::test]
async fn the_document_lists_the_routes_of_the_router_and_no_others() {
    let service = Service::start().await;
    let document = offers::http::openapi_document();
    let told: BTreeMap<String, BTreeSet<String>> =
        document["paths"].as_object().unwrap().iter().map(methods).collect();
    for path in told.keys() {
        let probe = send(service.anonymous(Method::from_bytes(b"PROBE").unwrap(), path)).await;
        probe.is(405, "method_not_allowed");
        let allowed = probe.headers["allow"].to_str().unwrap().split(',').filter(|method| *method != "HEAD");
        assert_eq!(told[path], allowed.map(str::to_lowercase).collect(), "{path}");
    }
    let below = |path: &String| path.strip_prefix("/api/v1").map(plain);
    let told: BTreeSet<String> = told.keys().filter_map(below).collect();
    assert_eq!(told, offers::http::paths().iter().map(|path| plain(path)).collect());
}

fn methods((path, item): (&String, &Value)) -> (String, BTreeSet<String>) {
    (path.clone(), item.as_object().unwrap().keys().cloned().collect())
}

/// Without the names of its parameters and the slash at its end.
fn plain(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    path.trim_end_matches('/').split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn the_pages_load_nothing_from_elsewhere() {
    let service = Service::start().await;
    for path in ["/docs", "/docs/"] {
        let page = fetch(&service, path).await;
        assert_eq!(page.headers["content-type"], "text/html");
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("http"), "{policy}");
        let links: Vec<_> = page
            .text
            .split(['"', '\''])
            .filter(|text| text.contains(".js") || text.contains(".css"))
            .collect();
        assert!(links.len() >= 4, "{links:?}");
        // Nothing that the policy would stop: no script and no style stands in the page itself.
        assert!(policy.contains("script-src 'self';") && policy.contains("style-src 'self'"), "{policy}");
        let scripts = page.text.split("<script").skip(1).map(|rest| rest.split('>').next().unwrap());
        assert!(scripts.into_iter().all(|tag| tag.contains(" src=")), "{}", page.text);
        assert!(!page.text.contains("<style") && !page.text.contains(" on"), "{}", page.text);
        for name in ["x-content-type-options", "referrer-policy", "cache-control"] {
            assert!(page.headers.contains_key(name), "{name}");
        }
        for link in links {
            assert!(link.starts_with("/docs/"), "{link}");
            fetch(&service, link).await;
        }
    }
    let settings = fetch(&service, "/docs/swagger-initializer.js").await.text;
    assert!(settings.contains("\"/openapi.json\"") && !settings.contains("https:"), "{settings}");
    assert!(
        settings.contains("/auth/refresh/") && settings.contains("sessionStorage"),
        "a login that is renewed"
    );
    assert!(!settings.contains("innerHTML") && !settings.contains("eval("), "{settings}");
    send(service.anonymous(Method::GET, "/docs/nothing.js")).await.is(404, "not_found");
}

#[tokio::test]
async fn the_first_page_has_the_doors_for_a_browser_and_for_a_program() {
    let service = Service::start().await;
    let told = fetch(&service, "/").await.json();
    let doors: Vec<&str> =
        told["doors"].as_array().unwrap().iter().map(|door| door["path"].as_str().unwrap()).collect();
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = send(service.anonymous(Method::GET, "/").header("Accept", browser)).await;
    assert_eq!((page.status.as_u16(), &page.headers["content-type"]), (200, &"text/html".parse().unwrap()));
    let docs = fetch(&service, "/docs").await;
    for name in ["content-security-policy", "x-content-type-options", "referrer-policy", "cache-control"] {
        assert_eq!(page.headers[name], docs.headers[name], "{name}");
    }
    assert!(!page.text.contains("://") && !page.text.contains("<script"), "{}", page.text);
    for door in doors {
        assert!(page.text.contains(&format!("href=\"{door}\"")), "{door}");
        fetch(&service, door).await;
    }
}

#[tokio::test]
async fn no_header_is_a_parameter_of_every_operation_and_no_demo_data_is_in_the_document() {
    let document = offers::http::openapi_document();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    for operation in operations {
        for parameter in operation["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap_or_else(|| panic!("{parameter}"));
            assert!(!["X-Request-Id", "traceparent"].contains(&name), "{}", operation["operationId"]);
            assert!(
                name != "Idempotency-Key" || parameter.get("example").is_none(),
                "filled in, it would be used twice"
            );
        }
    }
    assert!(document["info"]["description"].as_str().unwrap().contains("traceparent"));
    assert!(document.get("x-demo-logins").is_none());
}

#[tokio::test]
async fn every_events_schema_is_where_its_messages_say() {
    let service = Service::start().await;
    let messages = fetch(&service, "/asyncapi.json").await.json()["components"]["messages"].clone();
    let messages = messages.as_object().unwrap();
    assert_eq!(messages.len(), domain::schema::events().len());
    for (name, message) in messages {
        let path = message["payload"]["properties"]["dataschema"]["const"].as_str().unwrap();
        assert_eq!(path, format!("/schemas/{name}/1.0.json"));
        let reply = fetch(&service, path).await;
        assert_eq!(reply.headers["content-type"], "application/schema+json");
        assert_eq!(reply.json()["$id"], path);
        validator(&reply.json());
    }
    for path in
        ["/schemas/transaction.succeeded/2.0.json", "/schemas/transaction.vanished/1.0.json", "/schemas/x"]
    {
        send(service.anonymous(Method::GET, path)).await.is(404, "not_found");
    }
}

#[tokio::test]
async fn every_record_of_the_log_fits_its_events_schema() {
    let service = Service::start().await;
    let auditor = service.person("auditor", &["auditor"]).await;
    let alice = service.rich("alice").await;
    let offer = service.offer("5 GB", 1_000).await;
    let bought = service.post(&alice, "/activation/", &json!({"offer_id": offer})).await;
    service.succeed(bought.id("transaction_id").into(), &alice, offer).await;
    let refused = service.post(&alice, "/activation/", &json!({"offer_id": offer})).await;
    service.fail(refused.id("transaction_id").into()).await;
    let records = service.walk(&auditor, "/audit/events/").await;
    assert!(records.len() >= 10, "{records:?}");
    for record in records {
        let known = domain::schema::events().into_iter().find(|known| {
            (known.aggregate_type, known.event_type.as_str())
                == (record["aggregate_type"].as_str().unwrap(), record["event_type"].as_str().unwrap())
        });
        let schema = known.unwrap_or_else(|| panic!("no schema for {record}")).schema;
        assert!(validator(&schema).is_valid(&record["payload"]), "{record}");
    }
}
