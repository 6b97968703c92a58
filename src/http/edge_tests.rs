//! What holds for every request, shown on a few routes of its own.

use super::edge::Edge;
use super::extract::fields::Fields;
use super::extract::path::Id;
use super::extract::rules::Line;
use super::middleware::limits;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures::future::ready;
use futures::{FutureExt, StreamExt, stream};
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

fn routes() -> Edge {
    Edge::new(bare_routes())
}

fn bare_routes() -> Router {
    let echo = |fields: Fields| async { fields.read(|fields| fields.required("name", &Line(1..=10))) };
    async fn panics() {
        panic!("a bug")
    }
    Router::new()
        .route("/echo", post(echo))
        .route("/things/{id}", get(|Id(id): Id<Uuid>| async move { id.to_string() }))
        .route("/panics", get(panics))
}

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Answer {
    fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.text).expect("JSON");
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["detail"], body["error"]);
        assert_eq!(body["request_id"], self.headers["x-request-id"].to_str().expect("ASCII"));
        for member in ["type", "title", "instance", "code"] {
            assert!(body[member].is_string(), "{member} in {body}");
        }
        body["code"].as_str().expect("a string").to_owned()
    }
}

async fn ask(request: Request<Body>) -> Answer {
    answer_of(routes(), request).await
}

async fn answer_of(routes: Edge, mut request: Request<Body>) -> Answer {
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("a"));
    let response = routes.answer(request).await;
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    Answer { status: parts.status, headers: parts.headers, text }
}

fn posted(body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/echo/").header(header::CONTENT_TYPE, "application/json");
    request.body(body.into()).expect("a request")
}

fn asked(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn a_trailing_slash_means_nothing() {
    let id = Uuid::from_u128(7);
    for path in [format!("/things/{id}"), format!("/things/{id}/"), format!("/things/{id}/?a=b")] {
        let answer = ask(asked(&path)).await;
        assert_eq!((answer.status, answer.text), (StatusCode::OK, id.to_string()), "{path}");
    }
    let answer = ask(asked("/nowhere/")).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "not_found".to_owned()));
    assert!(answer.text.contains(r#""instance":"/nowhere/""#), "{}", answer.text);
}

#[tokio::test]
async fn a_wrong_method_is_told_which_are_right() {
    for path in ["/echo", "/echo/"] {
        let answer = ask(asked(path)).await;
        assert_eq!(answer.code(), "method_not_allowed");
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers[header::ALLOW], "POST");
    }
}

#[tokio::test]
async fn a_malformed_id_is_told() {
    for id in ["7", "%ff", "0190b0c56f7a7cc29d5e0c2c5f3f4a11"] {
        let answer = ask(asked(&format!("/things/{id}/"))).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::BAD_REQUEST, "malformed_id".to_owned()),
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_panic_is_an_answer_that_tells_nothing() {
    let answer = ask(asked("/panics/")).await;
    assert_eq!(
        (answer.status, answer.code()),
        (StatusCode::INTERNAL_SERVER_ERROR, "internal_error".to_owned())
    );
    assert!(!answer.text.contains("a bug"));
}

#[tokio::test]
async fn a_body_is_json_of_at_most_64_kib() {
    let body = |length: usize| format!("{{\"name\":\"a\"{}}}", " ".repeat(length - 12));
    assert_eq!(ask(posted(body(65_536))).await.status, StatusCode::OK);
    for length in [65_537, 3_000_000] {
        let answer = ask(posted(body(length))).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large".to_owned())
        );
    }
    assert_eq!(ask(posted("[]")).await.code(), "invalid_json");
    let answer = ask(posted("{\"name\":\"much too long\"}")).await;
    assert_eq!(answer.code(), "invalid_request");
    assert!(answer.text.contains(r#""errors":[{"field":"name","message":"#), "{}", answer.text);
    let untyped = Request::post("/echo").body(Body::from("{}")).expect("a request");
    assert_eq!(ask(untyped).await.code(), "unsupported_media_type");
}

/// A body of 10 KiB, the last bytes of which come after `end`.
fn large(end: impl Future<Output = ()> + Send + 'static) -> Body {
    let spaces = Ok::<_, Infallible>(vec![b' '; 10 * 1024]);
    let name = end.map(|()| Ok(br#"{"name":"a"}"#.to_vec()));
    Body::from_stream(stream::iter([spaces]).chain(name.into_stream()))
}

#[tokio::test]
async fn bytes_in_unfinished_bodies_are_bounded_over_all_and_small_bodies_are_read() {
    let bound = Extension(limits::UnfinishedBodies::of(8 * 1024));
    let routes = Edge::new(bare_routes().layer(bound));
    let ask = |body| answer_of(routes.clone(), posted(body));
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let end = {
        let (begun, go_on) = (begun.clone(), go_on.clone());
        async move {
            begun.notify_one();
            go_on.notified().await;
        }
    };
    let unfinished = large(end);
    let unfinished = tokio::spawn(ask(unfinished));
    begun.notified().await;
    let refused = ask(large(ready(()))).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::SERVICE_UNAVAILABLE, "overloaded".to_owned()));
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    assert_eq!(ask(r#"{"name":"a"}"#.into()).await.status, StatusCode::OK);
    go_on.notify_one();
    assert_eq!(unfinished.await.expect("no panic").status, StatusCode::OK);
    assert_eq!(ask(large(ready(()))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_callers_request_id_is_kept_and_any_other_replaced() {
    let with = |id: &str| {
        Request::get("/nowhere").header("X-Request-Id", id).body(Body::empty()).expect("a request")
    };
    assert_eq!(ask(with("mine-1")).await.headers["x-request-id"], "mine-1");
    let long = "x".repeat(129);
    for unfit in ["", "a b", &long] {
        let given = ask(with(unfit)).await.headers["x-request-id"].clone();
        assert!(Uuid::try_parse(given.to_str().expect("ASCII")).is_ok(), "{unfit:?}");
    }
}

async fn shed(State(slots): State<Arc<Semaphore>>, request: axum::extract::Request, next: Next) -> Response {
    limits::shed(&slots, request, |request| next.run(request)).await
}

async fn time_out_soon(request: axum::extract::Request, next: Next) -> Response {
    limits::time_out(Duration::from_millis(20), request, |request| next.run(request)).await
}

#[tokio::test]
async fn what_is_more_than_can_be_served_is_refused_at_once() {
    let full = Arc::new(Semaphore::new(0));
    let routes = Router::new().route("/", get(|| async {})).layer(from_fn_with_state(full, shed));
    let answer = answer_of(Edge::new(routes), asked("/")).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::SERVICE_UNAVAILABLE, "overloaded".to_owned()));
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
}

#[tokio::test]
async fn who_only_waits_keeps_nobody_out() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let waits = {
        let (begun, go_on) = (begun.clone(), go_on.clone());
        |Extension(slot): Extension<limits::Slot>| async move {
            slot.give_back();
            begun.notify_one();
            go_on.notified().await;
        }
    };
    let only_one = Arc::new(Semaphore::new(1));
    let routes = Router::new()
        .route("/waits", get(waits))
        .route("/works", get(|| async {}))
        .layer(from_fn_with_state(only_one.clone(), shed));
    let waiting = tokio::spawn(answer_of(Edge::new(routes.clone()), asked("/waits")));
    begun.notified().await;
    for _ in 0..2 {
        assert_eq!(answer_of(Edge::new(routes.clone()), asked("/works")).await.status, StatusCode::OK);
    }
    go_on.notify_one();
    assert_eq!(waiting.await.expect("no panic").status, StatusCode::OK);
    assert_eq!(only_one.available_permits(), 1);
}

#[tokio::test]
async fn what_takes_too_long_is_ended_and_what_became_of_it_is_told() {
    let hangs = || std::future::pending::<()>();
    let routes = Router::new().route("/hangs", get(hangs).post(hangs)).layer(from_fn(time_out_soon));
    for (method, code) in [(Method::GET, "timeout"), (Method::POST, "outcome_unknown")] {
        let request = Request::builder().method(method).uri("/hangs").body(Body::empty());
        let answer = answer_of(Edge::new(routes.clone()), request.expect("a request")).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::SERVICE_UNAVAILABLE, code.to_owned()));
        assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    }
}

#[tokio::test]
async fn the_answer_to_head_has_the_length_of_the_body_and_no_body_also_when_it_is_a_problem() {
    for (path, status) in [("/things/0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11", 200), ("/nowhere", 404)] {
        let whole = ask(asked(path)).await;
        let head = ask(Request::head(path).body(Body::empty()).expect("a request")).await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (status, ""), "{path}");
        assert_eq!(head.headers[header::CONTENT_LENGTH], whole.text.len().to_string(), "{path}");
    }
}
