//! The simulated system's HTTP: the contract's three calls, and `/_control`.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::activation::Activation;
use super::behaviour::Behaviour;
use super::book::Call;
use super::chance::FaultKind;
use super::journal::Order;
use super::system::{Outcome, System};

/// Bytes of a request body.
const MAX_REQUEST: usize = 64 * 1024;

/// Bytes of an answer that is too large on purpose: beyond the 64 KiB that a client reads.
const TOO_LARGE: usize = 100 * 1024;

/// All routes of the simulator.
pub(super) fn router(system: Arc<System>) -> Router {
    Router::new()
        .route("/activations", post(activate))
        .route("/activations/{id}", get(look))
        .route("/activations/{id}/cancel", post(cancel))
        .route("/_control", get(behaviour).put(change_behaviour))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(system)
}

/// Which call is being answered: the same state has another status in each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Activate,
    Look,
    Cancel,
}

async fn activate(State(system): State<Arc<System>>, headers: HeaderMap, body: Bytes) -> Response {
    let order: Order = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return refused(&format!("not a request: {error}")),
    };
    let id = order.transaction_id;
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    if key.and_then(|key| key.trim_matches('"').parse().ok()) != Some(id) {
        return refused("the Idempotency-Key must be the transaction_id");
    }
    let outcome = system.handle(id, Call::Activate(order)).await;
    answer(&system, id, Asked::Activate, outcome)
}

async fn look(State(system): State<Arc<System>>, Path(id): Path<Uuid>) -> Response {
    let outcome = system.handle(id, Call::Look).await;
    answer(&system, id, Asked::Look, outcome)
}

async fn cancel(State(system): State<Arc<System>>, Path(id): Path<Uuid>) -> Response {
    let outcome = system.handle(id, Call::Cancel).await;
    answer(&system, id, Asked::Cancel, outcome)
}

async fn behaviour(State(system): State<Arc<System>>) -> Json<Behaviour> {
    Json(system.behaviour().as_ref().clone())
}

async fn change_behaviour(
    State(system): State<Arc<System>>,
    Json(changes): Json<Map<String, Value>>,
) -> Response {
    match system.change(changes) {
        Ok(behaviour) => Json(behaviour.as_ref()).into_response(),
        Err(error) => refused(&error.to_string()),
    }
}

fn answer(system: &System, id: Uuid, asked: Asked, outcome: Outcome) -> Response {
    match outcome {
        Outcome::Answered(activation) => told(system, id, asked, activation),
        Outcome::Lost(kind) => lost(system, id, kind),
        Outcome::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

#[derive(Serialize)]
struct Told<'a> {
    transaction_id: Uuid,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn plain(transaction_id: Uuid, status: &'a str) -> Told<'a> {
        Told { transaction_id, status, reference: None, code: None, message: None }
    }

    fn rejected(transaction_id: Uuid, code: &'a str, message: &'a str) -> Told<'a> {
        Told { code: Some(code), message: Some(message), ..Told::plain(transaction_id, "rejected") }
    }
}

fn told(system: &System, id: Uuid, asked: Asked, activation: Activation) -> Response {
    let (status, body) = match (asked, activation) {
        (_, Activation::Activated) => {
            let too_late = asked == Asked::Cancel;
            let status = if too_late { StatusCode::CONFLICT } else { StatusCode::OK };
            (status, Told { reference: Some(system.reference(id)), ..Told::plain(id, "activated") })
        }
        (Asked::Cancel, Activation::Cancelled) => (StatusCode::OK, Told::plain(id, "cancelled")),
        (_, Activation::Cancelled) => {
            let status = if asked == Asked::Look { StatusCode::OK } else { StatusCode::CONFLICT };
            (status, Told::rejected(id, "cancelled", "This activation was cancelled"))
        }
        (_, Activation::Rejected) => {
            let status = if asked == Asked::Look { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
            (status, Told::rejected(id, "offer_rejected", "This offer cannot be activated"))
        }
        (_, Activation::Pending) => {
            let status = if asked == Asked::Look { StatusCode::OK } else { StatusCode::ACCEPTED };
            (status, Told::plain(id, "pending"))
        }
        (_, Activation::Unseen) => return StatusCode::NOT_FOUND.into_response(),
    };
    (status, Json(body)).into_response()
}

fn lost(system: &System, id: Uuid, kind: FaultKind) -> Response {
    match kind {
        FaultKind::ServerError(status) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        FaultKind::Reset | FaultKind::Hang => broken_off(),
        FaultKind::NotJson => "<html>It works!</html>".into_response(),
        FaultKind::TooLarge => " ".repeat(TOO_LARGE).into_response(),
        FaultKind::AnotherTransaction => {
            let another = Uuid::from_u128(!id.as_u128());
            told(system, another, Asked::Activate, Activation::Activated)
        }
        FaultKind::NoReference => Json(Told::plain(id, "activated")).into_response(),
    }
}

/// An answer that ends before it is whole: the server closes the connection in its middle.
fn broken_off() -> Response {
    let parts = futures::stream::iter([
        Ok(Bytes::from_static(b"{\"transaction_id\":")),
        Err(io::Error::from(io::ErrorKind::ConnectionReset)),
    ]);
    ([(header::CONTENT_LENGTH, "200")], Body::from_stream(parts)).into_response()
}

fn refused(message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "message": message }))).into_response()
}
