//! The AsyncAPI document: what is published to NATS, and how it is to be read.

use super::events::{ALL, Published};
use serde_json::{Map, Value, json};

/// What holds for all events.
const DESCRIPTION: &str = include_str!("asyncapi.md");

pub(crate) fn document() -> Value {
    let each = |entry: fn(&Published) -> Value| -> Map<String, Value> {
        ALL.iter().map(|event| (event.name.clone(), entry(event))).collect()
    };
    let (mut channels, mut operations) = (each(channel), each(operation));
    channels.insert("checkpoint".to_owned(), checkpoint_channel());
    operations.insert("checkpoint".to_owned(), checkpoint_operation());
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Offers: events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": {"analysts": server()},
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": each(message),
            "messageTraits": {"event": {"headers": headers()}},
            "schemas": schemas(),
            "securitySchemes": {"analyst": {
                "type": "userPassword",
                "description": "The user of the account READERS; under ./dev it stands in demo.json.",
            }},
        },
    })
}

fn server() -> Value {
    json!({
        "host": "{host}:{port}",
        "protocol": "nats",
        "description": "The account READERS, which reads a mirror of the stream OFFERS_EVENTS by the API \
                        prefix EVENTS.API. It can publish, delete and purge nothing.",
        "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "4222"}},
        "security": [{"$ref": "#/components/securitySchemes/analyst"}],
    })
}

fn channel(event: &Published) -> Value {
    let name = &event.name;
    json!({
        "address": format!("offers.events.{name}"),
        "messages": {"event": {"$ref": format!("#/components/messages/{name}")}},
        "servers": [{"$ref": "#/servers/analysts"}],
    })
}

fn checkpoint_channel() -> Value {
    json!({
        "address": "offers.checkpoints",
        "messages": {"checkpoint": {
            "name": "checkpoint",
            "title": "A signed checkpoint",
            "summary": "The size and the root of the Merkle tree over the log, signed",
            "contentType": "text/plain",
            "payload": {"type": "string", "description": "C2SP tlog-checkpoint: a signed note, Ed25519."},
        }},
        "servers": [{"$ref": "#/servers/analysts"}],
    })
}

fn checkpoint_operation() -> Value {
    json!({
        "action": "send",
        "summary": "The newest checkpoint, at most once a second",
        "channel": {"$ref": "#/channels/checkpoint"},
        "messages": [{"$ref": "#/channels/checkpoint/messages/checkpoint"}],
    })
}

fn operation(event: &Published) -> Value {
    let channel = format!("#/channels/{}", event.name);
    json!({
        "action": "send",
        "summary": event.schema["description"],
        "channel": {"$ref": channel},
        "messages": [{"$ref": format!("{channel}/messages/event")}],
    })
}

fn message(event: &Published) -> Value {
    json!({
        "name": event.cloud_event_type(),
        "title": event.name,
        "summary": event.schema["description"],
        "contentType": "application/cloudevents+json",
        "traits": [{"$ref": "#/components/messageTraits/event"}],
        "correlationId": {"location": "$message.payload#/correlationid"},
        "payload": {
            "allOf": [{"$ref": "#/components/schemas/CloudEvent"}],
            "properties": {
                "type": {"const": event.cloud_event_type()},
                "dataschema": {"const": event.schema_path()},
                "data": {"$ref": format!("#/components/schemas/{}", event.name)},
            },
        },
    })
}

fn schemas() -> Map<String, Value> {
    let data = ALL.iter().map(|event| (event.name.clone(), event.schema.clone()));
    [("CloudEvent".to_owned(), cloud_event())].into_iter().chain(data).collect()
}

/// CloudEvents 1.0 in structured JSON, with the extensions of this system.
fn cloud_event() -> Value {
    let id = |what: &str| json!({"type": "string", "format": "uuid", "description": what});
    let number = |what: &str| json!({"type": "string", "pattern": "^[1-9][0-9]*$", "description": what});
    let chain = |what: &str| json!({"type": "string", "description": what});
    json!({
        "type": "object",
        "description": "A CloudEvents 1.0 event in structured JSON.",
        "properties": {
            "specversion": {"const": "1.0"},
            "id": id("The event's id, the same in every copy."),
            "source": {"const": "/offers"},
            "type": {"type": "string", "pattern": r"^offers\.[a-z_]+\.[a-z_]+\.v[0-9]+$"},
            "subject": id("The aggregate's id: of the transaction, subscription, offer or account."),
            "time": {"type": "string", "format": "date-time", "description": "When it was recorded; never earlier than the event before."},
            "datacontenttype": {"const": "application/json"},
            "dataschema": {"type": "string", "format": "uri-reference", "description": "The schema of `data`, served by the HTTP interface."},
            "position": number("Its place in the log: 1, 2, 3 … without gaps. Deduplicate on it."),
            "sequence": number("Its place in its aggregate: 1, 2, 3 …"),
            "correlationid": chain("The request, command or run that began the chain: a UUID of ours."),
            "causationid": chain("The event that led to this one."),
            "data": {"type": "object", "description": "What happened."},
        },
        "required": ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema",
                     "position", "sequence", "data"],
        "additionalProperties": false,
    })
}

fn headers() -> Value {
    json!({
        "type": "object",
        "properties": {
            "Nats-Msg-Id": {"type": "string", "format": "uuid", "description": "The event's id."},
            "Offers-Position": {"type": "string", "pattern": "^[1-9][0-9]*$", "description": "The event's position."},
            "Content-Type": {"const": "application/cloudevents+json"},
            "traceparent": {"type": "string", "description": "W3C trace context of the request, when it had one."},
        },
        "required": ["Nats-Msg-Id", "Offers-Position", "Content-Type"],
    })
}
