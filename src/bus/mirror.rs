//! The analysts' mirror of the stream, in an account of their own.
//!
//! A mirror does not follow a stream that was deleted and recreated, so its description has the time when
//! the stream was created. If that is another time than the stream's, the mirror is recreated.

use super::Options;
use super::api::{ask, find};
use super::error::Error;
use super::health::HealthReporter;
use super::integrity::{StreamState, check_range};
use super::stream::unlimited;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, DeleteStatus, External, Info, Source};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout;

/// The prefix of the API of the stream's account, as imported by the analysts' account (nats.conf).
const API_PREFIX: &str = "OFFERSJS.API";
/// The prefix of the subjects that deliver to the mirror, as exported by the stream's account (nats.conf).
const DELIVER_PREFIX: &str = "offers.mirror.deliver";
/// Consumers that analysts may have on the mirror.
const MAX_CONSUMERS: i32 = 64;
/// How often the mirror is inspected.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// A mirror that lags and does not move for this long is recreated. Must be longer than the server's own
/// delays between attempts to reach the stream.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// The stream to mirror, as the relay saw it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Original {
    /// Another time means another stream.
    pub(super) created_at: String,
    pub(super) last: u64,
}

/// The mirror. It may not exist on the server yet.
pub(super) struct Mirror {
    context: Context,
    config: Config,
    /// The last sequence, and when it was seen first.
    progress: (u64, Instant),
}

impl Mirror {
    pub(super) fn new(context: Context, options: &Options) -> Self {
        let external =
            External { api_prefix: API_PREFIX.into(), delivery_prefix: Some(DELIVER_PREFIX.into()) };
        let config = Config {
            name: options.stream.clone(),
            mirror: Some(Source {
                name: options.stream.clone(),
                external: Some(external),
                ..Source::default()
            }),
            max_consumers: MAX_CONSUMERS,
            allow_direct: true,
            deny_delete: true,
            deny_purge: true,
            ..unlimited(options.stream_bytes)
        };
        Self { context, config, progress: (0, Instant::now()) }
    }

    /// Keeps the mirror equal to the original until the sender of `original` is gone.
    pub(super) async fn keep(
        mut self,
        mut original: watch::Receiver<Option<Original>>,
        health: HealthReporter,
    ) {
        loop {
            let seen = original.borrow_and_update().clone();
            if let Some(seen) = seen {
                match self.look(&seen).await {
                    Ok(()) => health.healthy(),
                    Err(error) => health.degraded(format_args!("cannot keep the analysts' mirror: {error}")),
                }
            }
            if let Ok(Err(_)) = timeout(LOOK_EVERY, original.changed()).await {
                health.healthy(); // the relay ended in this process: another one keeps the mirror now
                return;
            }
        }
    }

    async fn look(&mut self, original: &Original) -> Result<(), Error> {
        let name = self.config.name.clone();
        let info: Option<Info> = find(&self.context, format!("STREAM.INFO.{name}"), &json!({})).await?;
        let Some(info) = info else { return self.create(original).await };
        match self.divergence(&info, original) {
            None => Ok(()),
            Some(why) => {
                tracing::warn!(stream = name, why, "recreating the mirror: {why}");
                metrics::counter!("offers_mirror_rebuilds_total").increment(1);
                find::<DeleteStatus>(&self.context, format!("STREAM.DELETE.{name}"), &json!({})).await?;
                self.create(original).await
            }
        }
    }

    async fn create(&mut self, original: &Original) -> Result<(), Error> {
        let config = Config { description: Some(description(original)), ..self.config.clone() };
        self.progress = (0, Instant::now());
        let _: Info = ask(&self.context, format!("STREAM.CREATE.{}", config.name), &config).await?;
        Ok(())
    }

    fn divergence(&mut self, info: &Info, original: &Original) -> Option<&'static str> {
        let shape = StreamState::from(&info.state);
        if shape.last != self.progress.0 {
            self.progress = (shape.last, Instant::now());
        }
        let settings = |config: &Config| {
            let source = config.mirror.as_ref().map(|mirror| (mirror.name.clone(), mirror.external.clone()));
            (source, config.max_bytes, config.max_consumers, config.deny_delete, config.deny_purge)
        };
        if info.config.description.as_deref() != Some(&*description(original)) {
            Some("the stream was recreated")
        } else if settings(&info.config) != settings(&self.config) {
            Some("its configuration is different")
        } else if check_range(&shape).is_err() {
            Some("messages in it are gone")
        } else if shape.last < original.last && self.progress.1.elapsed() > STALLED_AFTER {
            Some("it does not follow the stream any more")
        } else {
            None
        }
    }
}

fn description(original: &Original) -> String {
    format!("read-only mirror of the stream made at {}", original.created_at)
}
