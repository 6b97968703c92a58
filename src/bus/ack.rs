//! Reads the server's answer to a publish.

use super::api::refusal;
use super::error::Error;
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Message, StatusCode};
use serde::Deserialize;

#[derive(Deserialize)]
struct Ack<'a> {
    error: Option<jetstream::Error>,
    #[serde(borrow, default)]
    stream: &'a str,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
}

/// Checks that `message` confirms the event at `position`: stored in `stream`, with this sequence.
pub(super) fn confirms(message: &Message, stream: &str, position: i64) -> Result<(), Error> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(Error::Gone);
    }
    let out_of_step = |why: String| Err(Error::OutOfStep { position, why });
    let ack: Ack<'_> = match serde_json::from_slice(&message.payload) {
        Ok(ack) => ack,
        Err(_) => return Err(Error::Refused("cannot read the answer to a publish".into())),
    };
    match ack {
        Ack { error: Some(error), .. } => match error.error_code() {
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_MESSAGE_ID => {
                out_of_step(error.to_string())
            }
            _ => Err(refusal(&error)),
        },
        Ack { duplicate: true, seq, .. } => Err(Error::Duplicate { position, sequence: seq }),
        Ack { stream: other, .. } if other != stream => {
            out_of_step(format!("it was stored in stream {other}"))
        }
        Ack { seq, .. } if i64::try_from(seq) != Ok(position) => {
            out_of_step(format!("it got sequence {seq}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirm(answer: &str) -> Result<(), Error> {
        let message = Message {
            subject: "inbox".into(),
            reply: None,
            payload: answer.to_owned().into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        };
        confirms(&message, "S", 7)
    }

    #[test]
    fn only_the_own_sequence_in_the_own_stream_confirms() {
        assert!(confirm(r#"{"stream":"S","seq":7}"#).is_ok());
        assert!(matches!(confirm(r#"{"stream":"S","seq":8}"#), Err(Error::OutOfStep { .. })));
        assert!(matches!(confirm(r#"{"stream":"T","seq":7}"#), Err(Error::OutOfStep { .. })));
        assert!(matches!(
            confirm(r#"{"stream":"S","seq":7,"duplicate":true}"#),
            Err(Error::Duplicate { .. })
        ));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let full = r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"S","seq":0}"#;
        assert!(matches!(confirm(full), Err(Error::Full(_))));
        let shifted = r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 9"},"stream":"S","seq":0}"#;
        assert!(matches!(confirm(shifted), Err(Error::OutOfStep { .. })));
        assert!(matches!(confirm("hello"), Err(Error::Refused(_))));
    }
}
