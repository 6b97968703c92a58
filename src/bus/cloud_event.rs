//! The body of a message: a CloudEvents 1.0 event in structured JSON.
//!
//! `data` is the payload, byte for byte as the log keeps it. Of the metadata only the chain's ids go
//! out: free text that people wrote stays in the log.

use domain::{Record, Timestamp};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;
use uuid::Uuid;

/// The header `Content-Type`.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";
/// Bytes of a body without its payload, so that the buffer never grows.
const FRAME_BYTES: usize = 640;

/// The part of an event's metadata that goes out.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Chain<'a> {
    #[serde(borrow)]
    correlation_id: Option<Text<'a>>,
    #[serde(borrow)]
    causation_id: Option<Text<'a>>,
    #[serde(borrow)]
    traceparent: Option<Text<'a>>,
}

/// Borrowed where the JSON has no escapes. (In an `Option`, serde borrows no plain `Cow`.)
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Chain<'a> {
    /// Nothing goes out of metadata that cannot be read.
    pub(super) fn of(event: &'a Record) -> Self {
        serde_json::from_str(&event.metadata).unwrap_or_default()
    }

    /// Our own id; old events may have a client's text in its place, which stays in the log.
    fn correlation_id(&self) -> Option<Uuid> {
        let id = Uuid::try_parse(&self.correlation_id.as_ref()?.0).ok()?;
        (!id.is_nil()).then_some(id)
    }

    /// W3C trace context, as the client sent it.
    pub(super) fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_ref().map(|text| &*text.0)
    }
}

/// The body of the message for `event`, whose dotted name is `name`.
pub(super) fn body(event: &Record, name: &str, chain: &Chain<'_>) -> Vec<u8> {
    let version = event.event_version.as_str();
    let major = version.split('.').next().unwrap_or(version);
    let mut body = Body(Vec::with_capacity(event.payload.len() + FRAME_BYTES));
    body.raw(&[r#"{"specversion":"1.0""#]);
    body.id("id", event.event_id);
    body.plain("source", &["/offers"]);
    body.plain("type", &["offers.", name, ".v", major]);
    body.escaped("subject", &event.aggregate_id);
    body.displayed("time", event.recorded_at);
    body.plain("datacontenttype", &["application/json"]);
    body.plain("dataschema", &["/schemas/", name, "/", version, ".json"]);
    body.displayed("position", event.position);
    body.displayed("sequence", event.sequence);
    if let Some(id) = chain.correlation_id() {
        body.id("correlationid", id);
    }
    if let Some(Text(id)) = &chain.causation_id {
        body.escaped("causationid", id);
    }
    body.raw(&[r#","data":"#, &event.payload, "}"]);
    body.0
}

/// Written by hand: a formatter or a serializer for each member costs three times as much.
struct Body(Vec<u8>);

impl Body {
    fn raw(&mut self, parts: &[&str]) {
        for part in parts {
            self.0.extend_from_slice(part.as_bytes());
        }
    }

    /// A member whose value, in parts, needs no escaping.
    fn plain(&mut self, name: &str, value: &[&str]) {
        self.raw(&[",\"", name, "\":\""]);
        self.raw(value);
        self.raw(&["\""]);
    }

    fn id(&mut self, name: &str, id: Uuid) {
        self.plain(name, &[id.hyphenated().encode_lower(&mut Uuid::encode_buffer())]);
    }

    /// A number or a moment, as a string.
    fn displayed(&mut self, name: &str, value: impl Display) {
        self.raw(&[",\"", name, "\":\""]);
        write!(self.0, "{value}\"").expect("a Vec takes every write");
    }

    fn escaped(&mut self, name: &str, value: &str) {
        self.raw(&[",\"", name, "\":"]);
        serde_json::to_writer(&mut self.0, value).expect("a string is always JSON");
    }
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
    use chrono::DateTime;
    use proptest::prelude::*;
    use serde_json::json;

    fn requested() -> Record {
        Record {
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
        }
    }

    fn body_of(event: &Record) -> String {
        let name = domain::dotted(&event.aggregate_type, &event.event_type);
        String::from_utf8(body(event, &name, &Chain::of(event))).unwrap()
    }

    #[test]
    fn the_body_is_a_cloud_event_with_the_payload_as_it_was_stored() {
        assert_eq!(
            body_of(&requested()),
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

    proptest! {
        #[test]
        fn the_body_is_what_serde_json_writes_of_the_same_members(
            position in 1..i64::MAX,
            sequence in 1..i64::MAX,
            seconds in -62_167_219_200_i64..253_402_300_800, // years 0 to 9999
            micros in 0..1_000_000_u32,
            aggregate_id in any::<String>(),
            correlation_id in proptest::option::of(any::<u128>()),
            causation_id in proptest::option::of(any::<String>()),
            text in any::<String>(),
        ) {
            let mut metadata = json!({ "actor": text });
            if let Some(id) = correlation_id {
                metadata["correlation_id"] = json!(Uuid::from_u128(id));
            }
            if let Some(id) = &causation_id {
                metadata["causation_id"] = json!(id);
            }
            let event = Record {
                position,
                sequence,
                recorded_at: DateTime::from_timestamp(seconds, micros * 1_000).unwrap().into(),
                aggregate_id,
                payload: json!({ "type": "ActivationRequested", "text": text }).to_string(),
                metadata: metadata.to_string(),
                ..requested()
            };
            let mut expected = json!({
                "specversion": "1.0",
                "id": event.event_id,
                "source": "/offers",
                "type": "offers.transaction.activation_requested.v1",
                "subject": event.aggregate_id,
                "time": event.recorded_at,
                "datacontenttype": "application/json",
                "dataschema": "/schemas/transaction.activation_requested/1.0.json",
                "position": event.position.to_string(),
                "sequence": event.sequence.to_string(),
            });
            if let Some(id) = correlation_id.filter(|id| *id != 0) {
                expected["correlationid"] = json!(Uuid::from_u128(id));
            }
            if let Some(id) = causation_id {
                expected["causationid"] = json!(id);
            }
            expected["data"] = serde_json::from_str(&event.payload).unwrap();
            prop_assert_eq!(body_of(&event), expected.to_string());
        }
    }

    #[test]
    fn ids_that_are_not_known_are_left_out() {
        let unreadable = "not an object";
        for metadata in ["{}", r#"{"correlation_id":null}"#, r#"{"correlation_id":"a client's"}"#, unreadable]
        {
            let body = body_of(&Record { metadata: metadata.into(), ..requested() });
            assert!(!body.contains("correlationid") && !body.contains("causationid"), "{body}");
            serde_json::from_str::<serde_json::Value>(&body).unwrap();
        }
    }

    #[test]
    fn text_that_people_wrote_is_not_published() {
        let metadata = r#"{"correlation_id":"private","actor":"private","request":"private","reason":"private",
            "reference":"private","callback_url":"private"}"#;
        let body = body_of(&Record { metadata: metadata.into(), ..requested() });
        assert!(!body.contains("private"), "{body}");
    }

    #[test]
    fn a_processor_reads_back_which_event_it_was() {
        let event = requested();
        let envelope = Envelope::read(body_of(&event).as_bytes()).unwrap();
        assert_eq!(envelope.id, event.event_id);
        assert_eq!(envelope.subject.to_string(), event.aggregate_id);
        assert_eq!((envelope.position.as_str(), envelope.time), ("42", event.recorded_at));
        assert_eq!(envelope.correlation_id, Some(Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0003)));
        assert!(Envelope::read(br#"{"hello":"world"}"#).is_err());
    }
}
