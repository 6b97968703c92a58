//! What an answer means: the contract's table, exactly. Pure.

use serde::Deserialize;
use uuid::Uuid;

use super::{Activation, Cancellation, Inconclusive, LookUp, Rejection, retry_after};
use domain::transaction::{CANCELLED, Evidence};

/// Characters of a reference: it becomes part of an event, so a longer one is no reference.
const MAX_REFERENCE: usize = 200;

/// Characters kept of a rejection's code and message.
const MAX_CODE: usize = 64;
const MAX_MESSAGE: usize = 500;

/// A whole answer, as read from the wire.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    pub(super) body: Vec<u8>,
}

/// What the body of an answer says, whatever the status line says.
enum Said {
    Activated { reference: String },
    Pending,
    Rejected(Rejection),
    Cancelled,
}

/// What `reply` to `POST /activations` means.
pub(super) fn to_activate(id: Uuid, reply: &Reply) -> Activation {
    match (reply.status, said(id, reply, &[200, 202, 409, 422])) {
        (200, Ok(Said::Activated { reference })) => Activation::Activated { reference },
        (202, Ok(Said::Pending)) => Activation::Pending,
        (409 | 422, Ok(Said::Rejected(rejection))) => Activation::Rejected(rejection),
        (status, Ok(_)) => Activation::Inconclusive(contradiction(status)),
        (_, Err(inconclusive)) => Activation::Inconclusive(inconclusive),
    }
}

/// What `reply` to `GET /activations/{id}` means.
pub(super) fn to_look_up(id: Uuid, reply: &Reply) -> LookUp {
    if reply.status == 404 {
        return LookUp::NotSeen;
    }
    match said(id, reply, &[200]) {
        Ok(Said::Activated { reference }) => LookUp::Activated { reference },
        Ok(Said::Pending) => LookUp::Pending,
        Ok(Said::Rejected(rejection)) => LookUp::Rejected(rejection),
        Ok(Said::Cancelled) => LookUp::Rejected(cancelled()),
        Err(inconclusive) => LookUp::Inconclusive(inconclusive),
    }
}

/// What `reply` to `POST /activations/{id}/cancel` means.
pub(super) fn to_cancel(id: Uuid, reply: &Reply) -> Cancellation {
    match (reply.status, said(id, reply, &[200, 409, 422])) {
        (200, Ok(Said::Cancelled)) => Cancellation::Cancelled,
        (_, Ok(Said::Rejected(rejection))) => Cancellation::Rejected(rejection),
        (409, Ok(Said::Activated { reference })) => Cancellation::TooLate { reference },
        (status, Ok(_)) => Cancellation::Inconclusive(contradiction(status)),
        (_, Err(inconclusive)) => Cancellation::Inconclusive(inconclusive),
    }
}

fn cancelled() -> Rejection {
    Rejection { code: CANCELLED.to_owned(), message: "This activation was cancelled".to_owned() }
}

/// What the body of a reply with one of these `statuses` says.
fn said(id: Uuid, reply: &Reply, statuses: &[u16]) -> Result<Said, Inconclusive> {
    match reply.status {
        429 => Err(Inconclusive {
            evidence: Evidence::NotTaken,
            detail: unexpected_status(429),
            retry_after: Some(retry_after::from_now(reply.retry_after.as_deref())),
        }),
        status if statuses.contains(&status) => read(id, &reply.body).map_err(Inconclusive::answered),
        status => Err(Inconclusive::answered(unexpected_status(status))),
    }
}

impl Inconclusive {
    /// After an answer that says nothing definite.
    pub(super) fn answered(detail: impl Into<String>) -> Self {
        Self { evidence: Evidence::Answered, detail: detail.into(), retry_after: None }
    }
}

fn read(id: Uuid, body: &[u8]) -> Result<Said, String> {
    #[derive(Deserialize)]
    struct Body {
        transaction_id: Uuid,
        #[serde(flatten)]
        status: Status,
    }
    #[derive(Deserialize)]
    #[serde(tag = "status", rename_all = "snake_case")]
    enum Status {
        Activated { reference: Option<String> },
        Pending,
        Rejected { code: String, message: String },
        Cancelled,
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| "the answer does not parse".to_owned())?;
    if body.transaction_id != id {
        return Err("the answer is for another transaction".to_owned());
    }
    Ok(match body.status {
        Status::Activated { reference } => Said::Activated { reference: checked(reference)? },
        Status::Pending => Said::Pending,
        Status::Rejected { code, message } => {
            let (code, message) = (cleaned(&code, MAX_CODE), cleaned(&message, MAX_MESSAGE));
            Said::Rejected(Rejection { code, message })
        }
        Status::Cancelled => Said::Cancelled,
    })
}

/// A reference is kept as it came or not at all: a changed one would name nothing over there.
fn checked(reference: Option<String>) -> Result<String, String> {
    match reference {
        None => Err("the answer says activated without a reference".to_owned()),
        Some(reference)
            if reference.trim().is_empty()
                || reference.chars().count() > MAX_REFERENCE
                || reference.chars().any(char::is_control) =>
        {
            Err("the answer says activated with an unusable reference".to_owned())
        }
        Some(reference) => Ok(reference),
    }
}

/// Text of theirs that people and events of ours will carry: bounded, and free of control characters.
fn cleaned(text: &str, max_chars: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(max_chars).collect()
}

fn unexpected_status(status: u16) -> String {
    format!("answered with status {status}")
}

fn contradiction(status: u16) -> Inconclusive {
    Inconclusive::answered(format!("status {status} and the answer's body contradict each other"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::time::Duration;

    const ID: Uuid = Uuid::from_u128(7);

    fn reply(status: u16, body: &Value) -> Reply {
        Reply { status, retry_after: None, body: body.to_string().into_bytes() }
    }

    fn activated() -> Value {
        json!({"transaction_id": ID, "status": "activated", "reference": "EXT-1", "more": 1})
    }

    fn pending() -> Value {
        json!({"transaction_id": ID, "status": "pending"})
    }

    fn rejected() -> Value {
        json!({"transaction_id": ID, "status": "rejected", "code": "no", "message": "N\u{0}o"})
    }

    fn busy(seconds: u64) -> Inconclusive {
        let detail = "answered with status 429".to_owned();
        Inconclusive { evidence: Evidence::NotTaken, detail, retry_after: Some(Duration::from_secs(seconds)) }
    }

    fn cancelled() -> Value {
        json!({"transaction_id": ID, "status": "cancelled"})
    }

    #[test]
    fn each_certain_answer_to_an_activation_is_recognised() {
        let means = |status, body| to_activate(ID, &reply(status, &body));
        assert_eq!(means(200, activated()), Activation::Activated { reference: "EXT-1".into() });
        assert_eq!(means(202, pending()), Activation::Pending);
        let no = Activation::Rejected(Rejection { code: "no".into(), message: "N o".into() });
        assert_eq!(means(409, rejected()), no);
        assert_eq!(means(422, rejected()), no);
        assert_eq!(means(429, json!("busy")), Activation::Inconclusive(busy(1)));
        let later = Reply { retry_after: Some("7".into()), ..reply(429, &json!(null)) };
        assert_eq!(to_activate(ID, &later), Activation::Inconclusive(busy(7)));
    }

    #[test]
    fn any_other_answer_to_an_activation_is_unknown() {
        let foreign = json!({"transaction_id": Uuid::max(), "status": "activated", "reference": "EXT-1"});
        let bare = json!({"transaction_id": ID, "status": "activated"});
        let empty = json!({"transaction_id": ID, "status": "activated", "reference": " "});
        let null = json!({"transaction_id": ID, "status": "activated", "reference": null});
        let nul = json!({"transaction_id": ID, "status": "activated", "reference": "a\u{0}"});
        let long = json!({"transaction_id": ID, "status": "activated", "reference": "x".repeat(201)});
        let other = json!({"transaction_id": ID, "status": "perhaps"});
        let nameless = json!({"status": "activated", "reference": "EXT-1"});
        let without_code = json!({"transaction_id": ID, "status": "rejected", "message": "no"});
        let mut replies: Vec<Reply> =
            [foreign, bare, empty, null, nul, long, other, nameless, json!([]), json!(null)]
                .iter()
                .map(|body| reply(200, body))
                .collect();
        replies.push(reply(422, &without_code));
        replies.push(Reply { status: 200, retry_after: None, body: b"<html>".to_vec() });
        replies.push(Reply { status: 200, retry_after: None, body: vec![] });
        // The status line and the body must agree.
        for (status, body) in [(200, pending()), (200, rejected()), (202, activated()), (409, activated())] {
            replies.push(reply(status, &body));
        }
        for status in [100, 201, 204, 301, 302, 400, 401, 403, 404, 408, 410, 500, 502, 503, 504, 999] {
            replies.push(reply(status, &activated()));
            replies.push(reply(status, &rejected()));
        }
        for reply in replies {
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            let meaning = to_activate(ID, &reply);
            let Activation::Inconclusive(Inconclusive { evidence: Evidence::Answered, detail, .. }) = meaning
            else {
                panic!("{} {body}: {meaning:?}", reply.status);
            };
            assert!(detail.len() < 80 && !detail.contains("html"), "{detail}");
        }
    }

    #[test]
    fn each_answer_to_a_look_up_is_recognised() {
        let means = |status, body| to_look_up(ID, &reply(status, &body));
        assert_eq!(means(200, activated()), LookUp::Activated { reference: "EXT-1".into() });
        assert_eq!(means(200, pending()), LookUp::Pending);
        assert!(matches!(means(200, rejected()), LookUp::Rejected(_)));
        assert_eq!(means(404, json!("no such")), LookUp::NotSeen);
        assert!(
            matches!(means(429, json!(null)), LookUp::Inconclusive(busy) if busy.evidence == Evidence::NotTaken)
        );
        assert!(matches!(means(200, cancelled()), LookUp::Rejected(no) if no.code == "cancelled"));
        for (status, body) in [(200, json!({})), (409, rejected()), (503, activated())] {
            assert!(matches!(means(status, body), LookUp::Inconclusive(_)), "{status}");
        }
    }

    #[test]
    fn each_answer_to_a_cancellation_is_recognised() {
        let means = |status, body| to_cancel(ID, &reply(status, &body));
        assert_eq!(means(200, cancelled()), Cancellation::Cancelled);
        assert_eq!(means(409, activated()), Cancellation::TooLate { reference: "EXT-1".into() });
        assert!(
            matches!(means(429, json!(null)), Cancellation::Inconclusive(busy) if busy.evidence == Evidence::NotTaken)
        );
        for (status, body) in [
            (200, activated()),
            (409, cancelled()),
            (404, cancelled()),
            (503, cancelled()),
            (200, json!({"transaction_id": Uuid::max(), "status": "cancelled"})),
        ] {
            assert!(matches!(means(status, body), Cancellation::Inconclusive(_)), "{status}");
        }
    }
}
