//! What an answer means: the contract's table, exactly. Pure.

use serde::Deserialize;
use uuid::Uuid;

use super::{Activation, Cancellation, LookUp, retry_after};

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
    Rejected { code: String, message: String },
    Cancelled,
}

/// What `reply` to `POST /activations` means.
pub(super) fn to_activate(id: Uuid, reply: &Reply) -> Activation {
    let said = match reply.status {
        200 | 202 | 409 | 422 => read(id, &reply.body),
        429 => return Activation::RetryAfter(retry_after::from_now(reply.retry_after.as_deref())),
        status => Err(unexpected_status(status)),
    };
    match (reply.status, said) {
        (200, Ok(Said::Activated { reference })) => Activation::Activated { reference },
        (202, Ok(Said::Pending)) => Activation::Pending,
        (409 | 422, Ok(Said::Rejected { code, message })) => Activation::Rejected { code, message },
        (status, Ok(_)) => Activation::Unknown { detail: contradiction(status) },
        (_, Err(detail)) => Activation::Unknown { detail },
    }
}

/// What `reply` to `GET /activations/{id}` means.
pub(super) fn to_look_up(id: Uuid, reply: &Reply) -> LookUp {
    let said = match reply.status {
        200 => read(id, &reply.body),
        404 => return LookUp::NotSeen,
        429 => return LookUp::RetryAfter(retry_after::from_now(reply.retry_after.as_deref())),
        status => Err(unexpected_status(status)),
    };
    match said {
        Ok(Said::Activated { reference }) => LookUp::Activated { reference },
        Ok(Said::Pending) => LookUp::Pending,
        Ok(Said::Rejected { code, message }) => LookUp::Rejected { code, message },
        Ok(Said::Cancelled) => LookUp::Unanswered { detail: contradiction(reply.status) },
        Err(detail) => LookUp::Unanswered { detail },
    }
}

/// What `reply` to `POST /activations/{id}/cancel` means.
pub(super) fn to_cancel(id: Uuid, reply: &Reply) -> Cancellation {
    let said = match reply.status {
        200 | 409 => read(id, &reply.body),
        429 => return Cancellation::RetryAfter(retry_after::from_now(reply.retry_after.as_deref())),
        status => Err(unexpected_status(status)),
    };
    match (reply.status, said) {
        (200, Ok(Said::Cancelled)) => Cancellation::Cancelled,
        (409, Ok(Said::Activated { reference })) => Cancellation::TooLate { reference },
        (status, Ok(_)) => Cancellation::Unanswered { detail: contradiction(status) },
        (_, Err(detail)) => Cancellation::Unanswered { detail },
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
            Said::Rejected { code: cleaned(&code, MAX_CODE), message: cleaned(&message, MAX_MESSAGE) }
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

fn contradiction(status: u16) -> String {
    format!("status {status} and the answer's body contradict each other")
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

    fn cancelled() -> Value {
        json!({"transaction_id": ID, "status": "cancelled"})
    }

    #[test]
    fn each_certain_answer_to_an_activation_is_recognised() {
        let means = |status, body| to_activate(ID, &reply(status, &body));
        assert_eq!(means(200, activated()), Activation::Activated { reference: "EXT-1".into() });
        assert_eq!(means(202, pending()), Activation::Pending);
        let no = Activation::Rejected { code: "no".into(), message: "N o".into() };
        assert_eq!(means(409, rejected()), no);
        assert_eq!(means(422, rejected()), no);
        assert_eq!(means(429, json!("busy")), Activation::RetryAfter(Duration::from_secs(1)));
        let busy = Reply { retry_after: Some("7".into()), ..reply(429, &json!(null)) };
        assert_eq!(to_activate(ID, &busy), Activation::RetryAfter(Duration::from_secs(7)));
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
            let Activation::Unknown { detail } = meaning else {
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
        assert!(matches!(means(200, rejected()), LookUp::Rejected { .. }));
        assert_eq!(means(404, json!("no such")), LookUp::NotSeen);
        assert!(matches!(means(429, json!(null)), LookUp::RetryAfter(_)));
        for (status, body) in [(200, cancelled()), (200, json!({})), (409, rejected()), (503, activated())] {
            assert!(matches!(means(status, body), LookUp::Unanswered { .. }), "{status}");
        }
    }

    #[test]
    fn each_answer_to_a_cancellation_is_recognised() {
        let means = |status, body| to_cancel(ID, &reply(status, &body));
        assert_eq!(means(200, cancelled()), Cancellation::Cancelled);
        assert_eq!(means(409, activated()), Cancellation::TooLate { reference: "EXT-1".into() });
        assert!(matches!(means(429, json!(null)), Cancellation::RetryAfter(_)));
        for (status, body) in [
            (200, activated()),
            (200, rejected()),
            (409, cancelled()),
            (409, rejected()),
            (404, cancelled()),
            (503, cancelled()),
            (200, json!({"transaction_id": Uuid::max(), "status": "cancelled"})),
        ] {
            assert!(matches!(means(status, body), Cancellation::Unanswered { .. }), "{status}");
        }
    }
}
