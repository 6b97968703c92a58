//! The stream that the log is published into: made, kept in its form, and made anew when it is not a
//! copy of the log any more.

use super::api::{ask, find};
use super::error::Error;
use super::integrity::Stamp;
use super::{DUPLICATE_WINDOW, Options};
use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    Config, DeleteStatus, DiscardPolicy, Info, RawMessage, RetentionPolicy, StorageType,
};
use serde::Deserialize;
use serde_json::json;

/// A stream by its name and form. It may not exist.
pub(super) struct Stream {
    context: Context,
    form: Config,
}

impl Stream {
    /// The stream of `options`.
    pub(super) fn new(context: Context, options: &Options) -> Self {
        let form = Config {
            name: options.stream.clone(),
            subjects: vec![format!("{}.>", options.subjects)],
            duplicate_window: DUPLICATE_WINDOW,
            ..unlimited(options.stream_bytes)
        };
        Self { context, form }
    }

    pub(super) fn name(&self) -> &str {
        &self.form.name
    }

    /// How it is, after it was made or brought into its form where that was needed.
    pub(super) async fn open(&self) -> Result<Info, Error> {
        match self.info().await? {
            None => self.create().await,
            Some(info) if !can_become(&info.config, &self.form) => {
                tracing::warn!(stream = self.name(), "the stream has another form; it is made anew");
                self.delete().await?;
                self.create().await
            }
            Some(info) if !is_formed(&info.config, &self.form) => {
                let form = Config { num_replicas: info.config.num_replicas, ..self.form.clone() };
                ask(&self.context, format!("STREAM.UPDATE.{}", self.name()), &form).await
            }
            Some(info) => Ok(info),
        }
    }

    async fn info(&self) -> Result<Option<Info>, Error> {
        find(&self.context, format!("STREAM.INFO.{}", self.name()), &json!({})).await
    }

    async fn create(&self) -> Result<Info, Error> {
        tracing::info!(stream = self.name(), "making the stream");
        ask(&self.context, format!("STREAM.CREATE.{}", self.name()), &self.form).await
    }

    /// Deletes it, with all that the server remembers of it; none is fine too.
    pub(super) async fn delete(&self) -> Result<(), Error> {
        let subject = format!("STREAM.DELETE.{}", self.name());
        find::<DeleteStatus>(&self.context, subject, &json!({})).await?;
        Ok(())
    }

    /// Which event the message at `sequence` says it is.
    pub(super) async fn stamp(&self, sequence: u64) -> Result<Stamp, Error> {
        #[derive(Deserialize)]
        struct Answer {
            message: RawMessage,
        }
        let subject = format!("STREAM.MSG.GET.{}", self.name());
        let found: Option<Answer> = find(&self.context, subject, &json!({ "seq": sequence })).await?;
        let message = found.and_then(|answer| StreamMessage::try_from(answer.message).ok());
        Ok(message.map(|message| Stamp::of(&message.headers)).unwrap_or_default())
    }
}

/// What the stream and its mirror have in common: kept for ever, up to `bytes`, then refused.
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

/// Whether an update can make `actual` into `wanted`: the server never changes these.
fn can_become(actual: &Config, wanted: &Config) -> bool {
    let fixed = |config: &Config| (config.retention, config.storage, config.mirror.is_some(), config.sealed);
    fixed(actual) == fixed(wanted) && actual.sources.as_ref().is_none_or(Vec::is_empty)
}

fn is_formed(actual: &Config, wanted: &Config) -> bool {
    let form = |config: &Config| {
        (
            (config.subjects.clone(), config.discard, config.no_ack, config.allow_rollup),
            (config.max_bytes, config.max_messages, config.max_messages_per_subject, config.max_age),
            (config.max_message_size, config.max_consumers, config.duplicate_window),
            config.republish.clone(),
        )
    };
    form(actual) == form(wanted)
}
