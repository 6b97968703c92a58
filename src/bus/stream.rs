//! The stream that the log is published into: created, kept in its configuration, and deleted.

use super::api::{ask, find};
use super::error::Error;
use super::integrity::MessageId;
use super::{DUPLICATE_WINDOW, Options};
use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    Config, DeleteStatus, DiscardPolicy, Info, RawMessage, RetentionPolicy, StorageType,
};
use domain::History;
use serde::Deserialize;
use serde_json::json;

/// No event takes fewer bytes in the stream: so many events are sure to fill it.
const LEAST_EVENT_BYTES: i64 = 400;

/// The stream. It may not exist on the server yet.
pub(super) struct Stream {
    context: Context,
    config: Config,
    /// Those of an existing stream may be changed.
    owns_replicas: bool,
}

impl Stream {
    pub(super) fn new(context: Context, options: &Options) -> Self {
        let config = Config {
            name: options.stream.clone(),
            subjects: vec![format!("{}.>", options.subjects)],
            duplicate_window: DUPLICATE_WINDOW,
            ..window(options)
        };
        Self { context, config, owns_replicas: options.replicas.is_some() }
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    /// Creates the stream, or updates its configuration, where necessary. A new stream begins so that the
    /// newest events of a log that ends at `head` fill it.
    pub(super) async fn open(&self, history: &impl History) -> Result<Info, Error> {
        match self.info().await? {
            None => self.create(history).await,
            Some(info) if !can_update(&info.config, &self.config) => {
                tracing::warn!(
                    stream = self.name(),
                    "recreating the stream: its configuration cannot be changed to ours"
                );
                self.delete().await?;
                self.create(history).await
            }
            Some(info) if !self.is_up_to_date(&info.config) => {
                let num_replicas = self.replicas(&info.config);
                let first_sequence = info.config.first_sequence; // not ours to change
                let config = Config { num_replicas, first_sequence, ..self.config.clone() };
                ask(&self.context, format!("STREAM.UPDATE.{}", self.name()), &config).await
            }
            Some(info) => Ok(info),
        }
    }

    fn replicas(&self, actual: &Config) -> usize {
        if self.owns_replicas { self.config.num_replicas } else { actual.num_replicas }
    }

    fn is_up_to_date(&self, actual: &Config) -> bool {
        is_up_to_date(actual, &self.config) && actual.num_replicas == self.replicas(actual)
    }

    async fn info(&self) -> Result<Option<Info>, Error> {
        find(&self.context, format!("STREAM.INFO.{}", self.name()), &json!({})).await
    }

    async fn create(&self, history: &impl History) -> Result<Info, Error> {
        let head = history.head().await.map_err(Error::Log)?;
        // Older servers begin at 1 and drop what does not fit.
        let knows_first = self.context.client().is_server_compatible(2, 10, 0);
        let begin = if knows_first { beginning(head, self.config.max_bytes) } else { 1 };
        tracing::info!(stream = self.name(), begin, "creating the stream");
        let config = Config { first_sequence: (begin > 1).then_some(begin), ..self.config.clone() };
        ask(&self.context, format!("STREAM.CREATE.{}", self.name()), &config).await
    }

    /// Deletes the stream, if it exists, with all that the server remembers of it.
    pub(super) async fn delete(&self) -> Result<(), Error> {
        let subject = format!("STREAM.DELETE.{}", self.name());
        find::<DeleteStatus>(&self.context, subject, &json!({})).await?;
        Ok(())
    }

    /// The event that the message at `sequence` claims to be.
    pub(super) async fn message_id(&self, sequence: u64) -> Result<MessageId, Error> {
        #[derive(Deserialize)]
        struct Answer {
            message: RawMessage,
        }
        let subject = format!("STREAM.MSG.GET.{}", self.name());
        let found: Option<Answer> = find(&self.context, subject, &json!({ "seq": sequence })).await?;
        let message = found.and_then(|answer| StreamMessage::try_from(answer.message).ok());
        Ok(message.map(|message| MessageId::of(&message.headers)).unwrap_or_default())
    }
}

/// The configuration that the stream and its mirror share: the newest bytes are kept, the oldest dropped.
pub(super) fn window(options: &Options) -> Config {
    Config {
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_bytes: i64::try_from(options.stream_bytes).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        num_replicas: options.replicas.unwrap_or(1),
        ..Config::default()
    }
}

/// The position from which on the events up to `head` fill `bytes`, or the first.
fn beginning(head: i64, bytes: i64) -> u64 {
    u64::try_from(head - bytes / LEAST_EVENT_BYTES + 1).unwrap_or(1).max(1)
}

/// Whether an update can turn `actual` into `wanted`: the server never changes these.
fn can_update(actual: &Config, wanted: &Config) -> bool {
    let fixed = |config: &Config| (config.retention, config.storage, config.mirror.is_some(), config.sealed);
    fixed(actual) == fixed(wanted) && actual.sources.as_ref().is_none_or(Vec::is_empty)
}

fn is_up_to_date(actual: &Config, wanted: &Config) -> bool {
    let settings = |config: &Config| {
        (
            (config.subjects.clone(), config.discard, config.no_ack, config.allow_rollup),
            (config.max_bytes, config.max_messages, config.max_messages_per_subject, config.max_age),
            (config.max_message_size, config.max_consumers, config.duplicate_window),
            config.republish.clone(),
        )
    };
    settings(actual) == settings(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_stream_begins_with_the_newest_events_that_fill_it() {
        assert_eq!(beginning(0, 4_000), 1);
        assert_eq!(beginning(10, 4_000), 1);
        assert_eq!(beginning(11, 4_000), 2);
        assert_eq!(beginning(1_000_000, i64::MAX), 1);
    }
}
