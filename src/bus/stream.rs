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
use serde::Deserialize;
use serde_json::json;

/// The stream. It may not exist on the server yet.
pub(super) struct Stream {
    context: Context,
    config: Config,
}

impl Stream {
    pub(super) fn new(context: Context, options: &Options) -> Self {
        let config = Config {
            name: options.stream.clone(),
            subjects: vec![format!("{}.>", options.subjects)],
            duplicate_window: DUPLICATE_WINDOW,
            ..unlimited(options.stream_bytes)
        };
        Self { context, config }
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    /// Creates the stream, or updates its configuration, where necessary.
    pub(super) async fn open(&self) -> Result<Info, Error> {
        match self.info().await? {
            None => self.create().await,
            Some(info) if !can_update(&info.config, &self.config) => {
                tracing::warn!(
                    stream = self.name(),
                    "recreating the stream: its configuration cannot be changed to ours"
                );
                self.delete().await?;
                self.create().await
            }
            Some(info) if !is_up_to_date(&info.config, &self.config) => {
                let config = Config { num_replicas: info.config.num_replicas, ..self.config.clone() };
                ask(&self.context, format!("STREAM.UPDATE.{}", self.name()), &config).await
            }
            Some(info) => Ok(info),
        }
    }

    async fn info(&self) -> Result<Option<Info>, Error> {
        find(&self.context, format!("STREAM.INFO.{}", self.name()), &json!({})).await
    }

    async fn create(&self) -> Result<Info, Error> {
        tracing::info!(stream = self.name(), "creating the stream");
        ask(&self.context, format!("STREAM.CREATE.{}", self.name()), &self.config).await
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

/// The configuration that the stream and its mirror share: messages are kept for ever, and refused when
/// there are `bytes` of them.
pub(super) fn unlimited(bytes: u64) -> Config {
    Config {
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        num_replicas: 1,
        ..Config::default()
    }
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
