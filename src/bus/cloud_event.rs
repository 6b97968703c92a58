//! The body of a message: a CloudEvents 1.0 event in structured JSON.
//!
//! `data` is the payload, byte for byte as the log keeps it. Of the metadata only the chain's ids go
//! out: free text that people wrote stays in the log.

use super::subjects;
use domain::{Metadata, Recorded, Timestamp};
use serde::Deserialize;
use std::fmt::Write;
use uuid::Uuid;

/// The header `Content-Type`.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";
/// Bytes of a body without its payload, so that the buffer never grows.
const FRAME_BYTES: usize = 640;

/// The body of the message for `event`, whose metadata is `metadata`.
pub(super) fn body(event: &Recorded, metadata: &Metadata) -> String {
    let name = subjects::dotted(&event.aggregate_type, &event.event_type);
    let version = event.event_version.as_str();
    let major = version.split('.').next().unwrap_or(version);
    let mut body = String::with_capacity(event.payload.len() + FRAME_BYTES);
    body.push_str(r#"{"specversion":"1.0""#);
    member(&mut body, "id", format_args!("{}", event.event_id));
    member(&mut body, "source", format_args!("/offers"));
    member(&mut body, "type", format_args!("offers.{name}.v{major}"));
    text(&mut body, "subject", &event.aggregate_id);
    member(&mut body, "time", format_args!("{}", event.recorded_at));
    member(&mut body, "datacontenttype", format_args!("application/json"));
    member(&mut body, "dataschema", format_args!("/schemas/{name}/{version}.json"));
    member(&mut body, "position", format_args!("{}", event.position));
    member(&mut body, "sequence", format_args!("{}", event.sequence));
    if !metadata.correlation_id.is_nil() {
        member(&mut body, "correlationid", format_args!("{}", metadata.correlation_id));
    }
    if let Some(id) = &metadata.causation_id {
        text(&mut body, "causationid", id);
    }
    body.push_str(r#","data":"#);
    body.push_str(&event.payload);
    body.push('}');
    body
}

/// A member whose value needs no escaping.
fn member(body: &mut String, name: &str, value: std::fmt::Arguments<'_>) {
    write!(body, r#","{name}":"{value}""#).expect("a String takes every write");
}

/// A member whose value is escaped.
fn text(body: &mut String, name: &str, value: &str) {
    let value = serde_json::to_string(value).expect("a string is always JSON");
    write!(body, r#","{name}":{value}"#).expect("a String takes every write");
}

/// The part of a body that a processor needs. It reads the rest from the log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Envelope {
    pub id: Uuid,
    /// The id of the aggregate.
    pub subject: Uuid,
    pub time: Timestamp,
    /// The event's position in the log, in decimal.
    pub position: String,
    #[serde(rename = "correlationid", default)]
    pub correlation_id: Option<Uuid>,
}

/// A body that is not an event of ours.
#[derive(Debug, thiserror::Error)]
#[error("the body is not an event of this system")]
pub struct NotAnEvent(#[from] serde_json::Error);

impl Envelope {
    /// Parses the body of a message.
    pub fn read(body: &[u8]) -> Result<Self, NotAnEvent> {
        Ok(serde_json::from_slice(body)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Record;

    fn requested() -> Recorded {
        Recorded::from(Record {
            position: 42,
            event_id: "018f0000-0000-7000-8000-000000000001".parse().unwrap(),
            aggregate_type: "Transaction".into(),
            aggregate_id: "018f0000-0000-7000-8000-000000000002".into(),
            sequence: 1,
            event_type: "ActivationRequested".into(),
            event_version: "1.0".into(),
            recorded_at: "2026-11-22T08:30:00.123456Z".parse().unwrap(),
            payload: r#"{"type":"ActivationRequested","amount":"19.90"}"#.into(),
            metadata: r#"{"correlation_id":"018f0000-0000-7000-8000-000000000003","causation_id":"c-1","actor":"user:7","traceparent":"00-ab-cd-01","reason":"private","request":"{}"}"#.into(),
            commit_end: 42,
        })
    }

    #[test]
    fn the_body_is_a_cloud_event_with_the_payload_as_it_was_stored() {
        let event = requested();
        let metadata = serde_json::from_str(&event.metadata).unwrap();
        assert_eq!(
            body(&event, &metadata),
            concat!(
                r#"{"specversion":"1.0","id":"018f0000-0000-7000-8000-000000000001","source":"/offers","#,
                r#""type":"offers.transaction.activation_requested.v1","#,
                r#""subject":"018f0000-0000-7000-8000-000000000002","time":"2026-11-22T08:30:00.123456Z","#,
                r#""datacontenttype":"application/json","#,
                r#""dataschema":"/schemas/transaction.activation_requested/1.0.json","#,
                r#""position":"42","sequence":"1","correlationid":"018f0000-0000-7000-8000-000000000003","#,
                r#""causationid":"c-1","data":{"type":"ActivationRequested","amount":"19.90"}}"#
            )
        );
    }

    #[test]
    fn ids_that_are_not_known_are_left_out() {
        let body = body(&requested(), &Metadata::new(Uuid::nil()));
        assert!(!body.contains("correlationid") && !body.contains("causationid"), "{body}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap();
    }

    #[test]
    fn text_that_people_wrote_is_not_published() {
        let metadata = serde_json::from_str(
            r#"{"correlation_id":"private","actor":"private","request":"private","reason":"private",
                "reference":"private","callback_url":"private"}"#,
        );
        let body = body(&requested(), &metadata.unwrap());
        assert!(!body.contains("private"), "{body}");
    }

    #[test]
    fn a_processor_reads_back_which_event_it_was() {
        let event = requested();
        let metadata = serde_json::from_str(&event.metadata).unwrap();
        let envelope = Envelope::read(body(&event, &metadata).as_bytes()).unwrap();
        assert_eq!(envelope.id, event.event_id);
        assert_eq!(envelope.subject.to_string(), event.aggregate_id);
        assert_eq!((envelope.position.as_str(), envelope.time), ("42", event.recorded_at));
        assert_eq!(envelope.correlation_id, Some(Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0003)));
        assert!(Envelope::read(br#"{"hello":"world"}"#).is_err());
    }
}
