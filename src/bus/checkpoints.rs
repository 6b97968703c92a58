//! The newest signed checkpoint of the log, published for analysts and witnesses.
//!
//! One message each, the signed note and nothing else, on a plain subject. A small stream keeps the last ones, so that a
//! service whose database was restored sees what it has signed before.

use super::api::{ask, find};
use super::error::Error;
use super::{Bus, Options, context};
use crate::backoff::Backoff;
use crate::telemetry::chain;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RawMessage, StorageType};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How many checkpoints the stream keeps.
const KEPT: i64 = 10_000;
/// The most that they take, in bytes.
const KEPT_BYTES: i64 = 16_000_000;
/// Before the same checkpoint, or a newer one, is published again.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Where signed checkpoints are published. Ends with the last clone.
#[derive(Clone)]
pub struct Checkpoints {
    stream: Stream,
    newest: Arc<watch::Sender<Option<String>>>,
}

#[derive(Clone)]
struct Stream {
    context: Context,
    name: String,
    subject: String,
    replicas: Option<usize>,
}

impl Bus {
    /// Publishes checkpoints, one after the other, in a task of its own.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints {
        let (name, subject) = names(&self.0.options);
        let replicas = self.0.options.replicas;
        let stream = Stream { context: context(self.0.link.client.clone()), name, subject, replicas };
        let (newest, waiting) = watch::channel(None);
        tokio::spawn(stream.clone().publish_all(waiting, self.0.stop.clone()));
        Checkpoints { stream, newest: Arc::new(newest) }
    }
}

/// The stream and the subject, beside those of the events: `OFFERS_CHECKPOINTS`, `offers.checkpoints`.
fn names(options: &Options) -> (String, String) {
    let stream = options.stream.strip_suffix("_EVENTS").unwrap_or(&options.stream);
    let subject = match options.subjects.strip_suffix(".events") {
        Some(prefix) => format!("{prefix}.checkpoints"),
        None => format!("{}_checkpoints", options.subjects),
    };
    (format!("{stream}_CHECKPOINTS"), subject)
}

impl Checkpoints {
    /// The newest one that the stream has.
    pub async fn newest(&self) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            message: RawMessage,
        }
        let Stream { context, name, subject, .. } = &self.stream;
        let query = json!({ "last_by_subj": subject });
        let found: Option<Answer> = find(context, format!("STREAM.MSG.GET.{name}"), &query).await?;
        let Some(answer) = found else { return Ok(None) };
        let message = StreamMessage::try_from(answer.message).map_err(Error::unreachable)?;
        Ok(Some(String::from_utf8_lossy(&message.payload).into_owned()))
    }

    /// Publishes this one soon, unless a newer one comes first.
    pub fn publish(&self, note: String) {
        self.newest.send_replace(Some(note));
    }
}

impl Stream {
    async fn publish_all(self, mut newest: watch::Receiver<Option<String>>, stop: CancellationToken) {
        let mut is_open = false;
        let mut delays = RETRY.delays();
        let work = async {
            while newest.changed().await.is_ok() {
                let Some(note) = newest.borrow_and_update().clone() else { continue };
                match self.publish(note, &mut is_open).await {
                    Ok(()) => delays.reset(),
                    Err(cause) => {
                        tracing::debug!(error = %chain(&cause), "cannot publish a checkpoint; retrying");
                        is_open = false;
                        newest.mark_changed();
                        sleep(delays.next_delay()).await;
                    }
                }
            }
        };
        stop.run_until_cancelled(work).await;
    }

    async fn publish(&self, note: String, is_open: &mut bool) -> Result<(), Error> {
        if !*is_open {
            self.open().await?;
            *is_open = true;
        }
        let sent = self.context.publish(self.subject.clone(), note.into()).await;
        sent.map_err(Error::unreachable)?.await.map_err(Error::unreachable)?;
        Ok(())
    }

    async fn open(&self) -> Result<(), Error> {
        let wanted = Config {
            name: self.name.clone(),
            subjects: vec![self.subject.clone()],
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            max_messages: KEPT,
            max_bytes: KEPT_BYTES,
            max_consumers: -1,
            max_message_size: -1,
            num_replicas: self.replicas.unwrap_or(1),
            ..Config::default()
        };
        let found: Option<Info> =
            find(&self.context, format!("STREAM.INFO.{}", self.name), &json!({})).await?;
        let settings = |config: &Config| {
            let replicas = self.replicas.is_some().then_some(config.num_replicas);
            (config.subjects.clone(), config.max_messages, config.max_bytes, config.discard, replicas)
        };
        match found {
            None => {
                let _: Info = ask(&self.context, format!("STREAM.CREATE.{}", self.name), &wanted).await?;
            }
            Some(info) if settings(&info.config) != settings(&wanted) => {
                let num_replicas = self.replicas.unwrap_or(info.config.num_replicas);
                let wanted = Config { num_replicas, ..wanted };
                let _: Info = ask(&self.context, format!("STREAM.UPDATE.{}", self.name), &wanted).await?;
            }
            Some(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_have_a_stream_and_a_subject_beside_those_of_the_events() {
        let mut options = Options::new("nats://localhost");
        let as_texts = |options: &Options| {
            let (stream, subject) = names(options);
            format!("{stream} {subject}")
        };
        assert_eq!(as_texts(&options), "OFFERS_CHECKPOINTS offers.checkpoints");
        (options.stream, options.subjects) = ("TEST_1".to_owned(), "test_1".to_owned());
        assert_eq!(as_texts(&options), "TEST_1_CHECKPOINTS test_1_checkpoints");
    }
}
