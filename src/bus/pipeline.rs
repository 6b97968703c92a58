//! Publishes many events at once, each on the condition that it follows the one before it.
//!
//! Each publish names the sequence and the id of the message that it must follow. The sequence alone is
//! not enough: a foreign message at our sequence 50 makes our 50 fail, but then our 51 finds the last
//! sequence that it expects. The first publish of a pipeline goes without the id, because a restarted
//! server (2.9) does not remember the id of its last message; that message was inspected before the
//! pipeline was opened.
//!
//! So one acknowledgement confirms all publishes before it, and only the last of a page asks for one. In the
//! first page of a pipeline each publish does: whatever stopped the pipeline before is met again there, and
//! only the answer to the first refused publish tells the cause; those after it are out of sequence.
//!
//! In a stream that several servers keep, the id is not named: a server that was killed replays what it had stored, remembers
//! another id as the last one (seen on 2.15.1), and refuses all that follows for ever. There each publish asks for an
//! acknowledgement, and after one that was refused the message in its place is inspected.
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
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

const CONTENT_TYPE: HeaderName = HeaderName::from_static("Content-Type");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Publishes that may be unconfirmed.
const WINDOW: i64 = 512;
/// In a long page, each publish at a multiple of this position asks for an acknowledgement. Below [`WINDOW`].
const ACK_EVERY: i64 = 128;
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
    /// The positions whose acknowledgement is awaited.
    asked: VecDeque<i64>,
    confirmed: i64,
    /// The first page is not in the stream yet.
    is_new: bool,
    /// Several servers keep the stream.
    replicated: bool,
}

impl Pipeline {
    /// Starts after the position `after`, where the stream ends.
    pub(super) async fn open(
        mut link: Link,
        stream: &str,
        prefix: &str,
        after: i64,
        replicated: bool,
    ) -> Result<Self, Error> {
        link.forget_losses();
        let inbox = link.client.new_inbox();
        let acks = timeout(ACK_TIMEOUT, link.client.subscribe(format!("{inbox}.*")));
        let acks = acks.await.map_err(Error::unreachable)?.map_err(Error::unreachable)?;
        let (stream, prefix) = (stream.to_owned(), prefix.to_owned());
        let (sent_id, asked) = (None, VecDeque::new());
        Ok(Self {
            link,
            stream,
            prefix,
            inbox,
            acks,
            sent: after,
            sent_id,
            asked,
            confirmed: after,
            is_new: true,
            replicated,
        })
    }

    /// Publishes `page` and returns when all of it is in the stream.
    pub(super) async fn publish(&mut self, page: &[Recorded]) -> Result<(), Error> {
        let last = page.last().map(|event| event.position);
        for event in page {
            if self.sent - self.confirmed >= WINDOW
                && let Some(position) = self.asked.pop_front()
            {
                self.confirm(position).await?;
            }
            let asks = self.is_new
                || self.replicated
                || Some(event.position) == last
                || event.position % ACK_EVERY == 0;
            self.send(event, asks).await?;
        }
        while let Some(position) = self.asked.pop_front() {
            self.confirm(position).await?;
        }
        self.is_new = false;
        Ok(())
    }

    /// The position up to which everything is in the stream.
    pub(super) fn confirmed(&self) -> i64 {
        self.confirmed
    }

    async fn send(&mut self, event: &Recorded, asks: bool) -> Result<(), Error> {
        let chain = Chain::of(event);
        let subject = subjects::subject(&self.prefix, &event.aggregate_type, &event.event_type);
        let name = &subject[self.prefix.len() + 1..];
        let body = cloud_event::body(event, name, &chain).into();
        let mut headers = headers(event, &chain);
        if let Some(id) = self.sent_id.replace(event.event_id)
            && !self.replicated
        {
            headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, id_value(id));
        }
        let client = &self.link.client;
        let publish = async {
            if !asks {
                return client.publish_with_headers(subject, headers, body).await;
            }
            self.asked.push_back(event.position);
            let reply = format!("{}.{}", self.inbox, event.position);
            client.publish_with_reply_and_headers(subject, reply, headers, body).await
        };
        // Without a connection the client queues, and when the queue is full it waits.
        timeout(ACK_TIMEOUT, publish).await.map_err(Error::unreachable)?.map_err(Error::unreachable)?;
        self.sent = event.position;
        Ok(())
    }

    /// Waits for the acknowledgement of `position`, the next one that comes.
    async fn confirm(&mut self, position: i64) -> Result<(), Error> {
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
