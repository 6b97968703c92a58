//! HTTP: the three calls of the contract, and `/_control`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::activation::ActivationState;
use super::behaviour::Behaviour;
use super::book::Call;
use super::chance::FaultKind;
use super::journal::Request;
use super::system::{Outcome, System};

/// Bytes of a request body.
const MAX_REQUEST: usize = 64 * 1024;

/// Bytes of an answer that is too large on purpose: a client reads 64 KiB.
const TOO_LARGE: usize = 100 * 1024;

/// Bytes of a huge answer, and in how many pieces it is sent.
const HUGE: usize = 100_000_000;
const HUGE_PIECES: usize = 1_000;

/// Between two bytes of an answer that drips.
const DRIP_PAUSE: Duration = Duration::from_millis(100);

pub(super) fn router(system: Arc<System>) -> Router {
    Router::new()
        .route("/activations", post(activate))
        .route("/activations/{id}", get(look))
        .route("/activations/{id}/cancel", post(cancel))
        .route("/_control", get(behaviour).put(change_behaviour))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(system)
}

/// The HTTP status of a state depends on the call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CallKind {
    Activate,
    Look,
    Cancel,
}

async fn activate(State(system): State<Arc<System>>, headers: HeaderMap, body: Bytes) -> Response {
    let request: Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return refused(&format!("not a request: {error}")),
    };
    let id = request.transaction_id;
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    if key.and_then(|key| key.trim_matches('"').parse().ok()) != Some(id) {
        return refused("the Idempotency-Key must be the transaction_id");
    }
    let outcome = system.handle(id, Call::Activate(request)).await;
    answer(&system, id, CallKind::Activate, outcome)
}

async fn look(State(system): State<Arc<System>>, Path(id): Path<Uuid>) -> Response {
    let outcome = system.handle(id, Call::Look).await;
    answer(&system, id, CallKind::Look, outcome)
}

async fn cancel(State(system): State<Arc<System>>, Path(id): Path<Uuid>) -> Response {
    let outcome = system.handle(id, Call::Cancel).await;
    answer(&system, id, CallKind::Cancel, outcome)
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

fn answer(system: &System, id: Uuid, kind: CallKind, outcome: Outcome) -> Response {
    match outcome {
        Outcome::Answered(activation) => answer_body(system, id, kind, activation),
        Outcome::Lost(kind) => lost(system, id, kind),
        Outcome::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

#[derive(Serialize)]
struct AnswerBody<'a> {
    transaction_id: Uuid,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> AnswerBody<'a> {
    fn plain(transaction_id: Uuid, status: &'a str) -> AnswerBody<'a> {
        AnswerBody { transaction_id, status, reference: None, code: None, message: None }
    }

    fn rejected(transaction_id: Uuid, code: &'a str, message: &'a str) -> AnswerBody<'a> {
        AnswerBody {
            code: Some(code),
            message: Some(message),
            ..AnswerBody::plain(transaction_id, "rejected")
        }
    }
}

fn answer_body(system: &System, id: Uuid, kind: CallKind, activation: ActivationState) -> Response {
    let (status, body) = match (kind, activation) {
        (_, ActivationState::Activated) => {
            let too_late = kind == CallKind::Cancel;
            let status = if too_late { StatusCode::CONFLICT } else { StatusCode::OK };
            (
                status,
                AnswerBody { reference: Some(system.reference(id)), ..AnswerBody::plain(id, "activated") },
            )
        }
        (CallKind::Cancel, ActivationState::Cancelled) => {
            (StatusCode::OK, AnswerBody::plain(id, "cancelled"))
        }
        (_, ActivationState::Cancelled) => {
            let status = if kind == CallKind::Look { StatusCode::OK } else { StatusCode::CONFLICT };
            (status, AnswerBody::rejected(id, "cancelled", "This activation was cancelled"))
        }
        (_, ActivationState::Rejected) => {
            let status =
                if kind == CallKind::Look { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
            (status, AnswerBody::rejected(id, "offer_rejected", "This offer cannot be activated"))
        }
        (_, ActivationState::Pending) => {
            let status = if kind == CallKind::Look { StatusCode::OK } else { StatusCode::ACCEPTED };
            (status, AnswerBody::plain(id, "pending"))
        }
        (_, ActivationState::Unseen) => return StatusCode::NOT_FOUND.into_response(),
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
            answer_body(system, another, CallKind::Activate, ActivationState::Activated)
        }
        FaultKind::Busy => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response(),
        FaultKind::Huge => {
            let piece = Bytes::from(vec![b' '; HUGE / HUGE_PIECES]);
            let pieces =
                futures::stream::iter((0..HUGE_PIECES).map(move |_| Ok::<_, io::Error>(piece.clone())));
            Body::from_stream(pieces).into_response()
        }
        FaultKind::Drip => {
            let drops = futures::stream::unfold((), |()| async {
                tokio::time::sleep(DRIP_PAUSE).await;
                Some((Ok::<_, io::Error>(Bytes::from_static(b" ")), ()))
            });
            Body::from_stream(drops).into_response()
        }
        FaultKind::NoReference => Json(AnswerBody::plain(id, "activated")).into_response(),
    }
}

/// An answer in whose middle the server closes the connection.
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
