//! Publishes many events at once, each on the condition that it follows the one before it.
//!
//! Each publish names the sequence and the id of the message that it must follow. The sequence alone is
//! not enough: a foreign message at our sequence 50 makes our 50 fail, but then our 51 finds the last
//! sequence that it expects. The first publish of a pipeline goes without the id, because a restarted
//! server (2.9) does not remember the id of its last message; that message was inspected before the
//! pipeline was opened.
//!
//! The acknowledgements come back on an inbox of the pipeline's own, in the order of the publishes.
//! (The client's own acknowledgement futures keep their slots for half a minute when they are dropped, so
//! the next pipeline would wait for them.)

use super::ack;
use super::cloud_event::{self, Chain};
use super::connection::Link;
use super::error::Error;
use super::integrity::POSITION;
use super::subjects;
use async_nats::header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_EXPECTED_LAST_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::{HeaderMap, HeaderName, HeaderValue, Subscriber};
use domain::Recorded;
use futures::StreamExt;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

const CONTENT_TYPE: HeaderName = HeaderName::from_static("Content-Type");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Publishes that may wait for their acknowledgement.
const WINDOW: i64 = 512;
/// The limit for one acknowledgement.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// A series of publishes. After any error it must be dropped.
pub(super) struct Pipeline {
    link: Link,
    stream: String,
    prefix: String,
    inbox: String,
    acks: Subscriber,
    sent: i64,
    /// The id of the last event sent.
    sent_id: Option<Uuid>,
    confirmed: i64,
}

impl Pipeline {
    /// Starts after the position `after`, where the stream ends.
    pub(super) async fn open(mut link: Link, stream: &str, prefix: &str, after: i64) -> Result<Self, Error> {
        link.forget_losses();
        let inbox = link.client.new_inbox();
        let acks = timeout(ACK_TIMEOUT, link.client.subscribe(format!("{inbox}.*")));
        let acks = acks.await.map_err(Error::unreachable)?.map_err(Error::unreachable)?;
        let (stream, prefix) = (stream.to_owned(), prefix.to_owned());
        Ok(Self { link, stream, prefix, inbox, acks, sent: after, sent_id: None, confirmed: after })
    }

    /// Publishes `page` and returns when all of it is in the stream.
    pub(super) async fn publish(&mut self, page: &[Recorded]) -> Result<(), Error> {
        for event in page {
            if self.sent - self.confirmed >= WINDOW {
                self.confirm_next().await?;
            }
            self.send(event).await?;
        }
        while self.confirmed < self.sent {
            self.confirm_next().await?;
        }
        Ok(())
    }

    /// The position up to which everything is in the stream.
    pub(super) fn confirmed(&self) -> i64 {
        self.confirmed
    }

    async fn send(&mut self, event: &Recorded) -> Result<(), Error> {
        let chain = Chain::of(event);
        let subject = subjects::subject(&self.prefix, &event.aggregate_type, &event.event_type);
        let name = &subject[self.prefix.len() + 1..];
        let reply = format!("{}.{}", self.inbox, event.position);
        let body = cloud_event::body(event, name, &chain).into();
        let mut headers = headers(event, &chain);
        if let Some(id) = self.sent_id.replace(event.event_id) {
            headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, id_value(id));
        }
        let publish = self.link.client.publish_with_reply_and_headers(subject, reply, headers, body);
        // Without a connection the client queues, and when the queue is full it waits.
        timeout(ACK_TIMEOUT, publish).await.map_err(Error::unreachable)?.map_err(Error::unreachable)?;
        self.sent = event.position;
        Ok(())
    }

    async fn confirm_next(&mut self) -> Result<(), Error> {
        let position = self.confirmed + 1;
        let answer = tokio::select! {
            answer = timeout(ACK_TIMEOUT, self.acks.next()) => answer.map_err(Error::unreachable)?,
            () = self.link.lost() => None, // pending answers will never come
        };
        let answer = answer.ok_or_else(|| Error::unreachable("the connection was lost"))?;
        let number = answer.subject.rsplit('.').next().and_then(|number| number.parse::<i64>().ok());
        if number != Some(position) {
            let why = format!("the answer for {} came first", answer.subject);
            return Err(Error::OutOfStep { position, why });
        }
        ack::confirms(&answer, &self.stream, position)?;
        self.confirmed = position;
        Ok(())
    }
}

fn headers(event: &Recorded, chain: &Chain<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, id_value(event.event_id));
    headers.insert(NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(event.position - 1));
    headers.insert(POSITION, HeaderValue::from(event.position));
    headers.insert(CONTENT_TYPE, cloud_event::CONTENT_TYPE);
    // A client may send anything as its trace context; a header is one line.
    if let Some(trace) = chain.traceparent().and_then(|trace| trace.parse::<HeaderValue>().ok()) {
        headers.insert(TRACEPARENT, trace);
    }
    headers
}

fn id_value(id: Uuid) -> HeaderValue {
    HeaderValue::from(&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}
