//! `offers load` against a service that answers by the contract and finishes when the test wants it to.

use std::collections::HashMap;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};

use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

/// What the fake service was asked for.
#[derive(Default)]
struct Fake {
    accepted: Mutex<HashMap<Uuid, DateTime<Utc>>>,
    credits: Mutex<Vec<Value>>,
    /// Every n-th activation is refused; 0 refuses none.
    refuses_every: usize,
}

type Shared = State<Arc<Fake>>;

async fn activate(State(fake): Shared) -> (StatusCode, Json<Value>) {
    let mut accepted = fake.accepted.lock().unwrap();
    if fake.refuses_every > 0 && accepted.len() % fake.refuses_every == fake.refuses_every - 1 {
        accepted.insert(Uuid::nil(), Utc::now());
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"code": "overloaded"})));
    }
    let id = Uuid::now_v7();
    accepted.insert(id, Utc::now());
    (StatusCode::ACCEPTED, Json(json!({"transaction_id": id, "status": "PENDING"})))
}

async fn status(State(fake): Shared, extract::Path(id): extract::Path<Uuid>) -> Json<Value> {
    let at = fake.accepted.lock().unwrap()[&id];
    let done_at = at + TimeDelta::milliseconds(60);
    if done_at > Utc::now() {
        return Json(json!({"status": "PROCESSING", "created_at": at}));
    }
    let status = if id.as_u128() % 2 == 0 { "SUCCESS" } else { "FAILED" };
    Json(json!({"status": status, "created_at": at, "completed_at": done_at}))
}

async fn credit(State(fake): Shared, Json(credit): Json<Value>) -> (StatusCode, Json<Value>) {
    fake.credits.lock().unwrap().push(credit);
    (StatusCode::CREATED, Json(json!({})))
}

async fn serve(fake: Arc<Fake>) -> String {
    let taken = || async { (StatusCode::CONFLICT, Json(json!({"code": "username_taken"}))) };
    let tokens = || async { Json(json!({"access": "token", "expires_in": 300})) };
    let user = json!({"id": Uuid::now_v7(), "username": "load-000"});
    let other = json!({"id": Uuid::now_v7(), "username": "load-001"});
    let users = json!({"results": [user, other], "next": null});
    let dear = json!({"id": Uuid::now_v7(), "price": "50.00"});
    let cheap = json!({"id": Uuid::now_v7(), "price": "5.00"});
    let offers = json!({"results": [dear, cheap]});
    let routes = Router::new()
        .route("/auth/login/", post(tokens))
        .route("/offers/", get(|| async { Json(offers) }))
        .route("/admin/users/", post(taken).get(|| async { Json(users) }))
        .route("/admin/users/{id}/", patch(|| async { Json(json!({})) }))
        .route("/admin/accounts/{id}/credit/", post(credit))
        .route("/activation/", post(activate))
        .route("/activation/status/{id}/", get(status))
        .with_state(fake);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().nest("/api/v1", routes)).into_future());
    url
}

async fn load(url: &str) -> (Output, Value) {
    let arguments = ["load", "--seconds", "1", "--connections", "4", "--users", "2", "--json", "--url", url];
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_offers"))
        .args(arguments)
        .args(["--admin", "admin", "--admin-password", "secret"])
        .current_dir(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .output()
        .await
        .unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_accepted_is_followed_to_its_end_without_many_looks() {
    let fake = Arc::new(Fake::default());
    let url = serve(Arc::clone(&fake)).await;
    let (output, report) = load(&url).await;
    assert!(output.status.success(), "{output:?}");
    let accepted = fake.accepted.lock().unwrap().len() as u64;
    assert_eq!(report["accepted"], accepted);
    assert_eq!(report["succeeded"].as_u64().unwrap() + report["failed"].as_u64().unwrap(), accepted);
    assert_eq!((report["unfinished"].as_u64(), &report["not_2xx"]), (Some(0), &json!({})));
    assert!(report["looks_per_completed"].as_f64().unwrap() < 3.0, "{report}");
    assert!(report["end_to_end_ms"]["p50"].as_f64().unwrap() >= 60.0, "{report}");
    let processing_ms = report["processing_ms"]["p50"].as_f64().unwrap();
    assert!((59.0..62.0).contains(&processing_ms), "{report}");
    // 20,000 a second at 5.00 for one second, from two users.
    let credits = fake.credits.lock().unwrap();
    assert_eq!(credits.len(), 2);
    assert_eq!(credits[0]["amount"], "50000.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_counted_by_status_and_code() {
    let fake = Arc::new(Fake { refuses_every: 5, ..Fake::default() });
    let url = serve(Arc::clone(&fake)).await;
    let (output, report) = load(&url).await;
    assert!(output.status.success(), "{output:?}");
    assert!(report["not_2xx"]["POST 503 overloaded"].as_u64().unwrap() > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (output, _) = load(&url).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
