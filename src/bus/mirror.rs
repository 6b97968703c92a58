//! The analysts' mirror of the stream, in an account of their own.
//!
//! A mirror does not follow a stream that was deleted and recreated, so its description has the time when
//! the stream was created. If that is another time than the stream's, the mirror is recreated.

use super::Options;
use super::analyst_consumers::{MAX_CONSUMERS, free_places};
use super::api::{ask, find};
use super::connection::too_old;
use super::error::Error;
use super::health::HealthReporter;
use super::integrity::{StreamState, check_holes};
use super::stream::window;
use crate::clock::Clock;
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
/// How often the mirror is inspected.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How often a mirror that lags is inspected.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A mirror that lags and does not move for this long is recreated. Must be longer than the server's own
/// delays between attempts to reach the stream: after a restart these are 10 to 12 s.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// The same for a mirror that is quickly copied and that nobody reads: recreating it costs nothing.
const SMALL_STALLED_AFTER: Duration = Duration::from_secs(4);
/// A new mirror is given the longer time: nats-server 2.9 needs two attempts to copy a stream that does not
/// begin at 1.
const NEW_FOR: Duration = Duration::from_secs(15);
/// Bytes of a mirror that is copied in a few seconds.
const SMALL: u64 = 100_000_000;

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
    /// While the mirror lags: its last sequence, and when it was seen first.
    lag: Option<(u64, Instant)>,
    /// When this process created the mirror.
    created: Option<Instant>,
    /// The log says that the server is too old for analysts.
    logged_age: bool,
    /// Those of an existing mirror may be changed.
    owns_replicas: bool,
    clock: Clock,
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
            ..window(options)
        };
        let owns_replicas = options.replicas.is_some();
        let clock = Clock::system();
        Self { context, config, lag: None, created: None, logged_age: false, owns_replicas, clock }
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
            let interval = if self.lag.is_some() { LOOK_AGAIN } else { LOOK_EVERY };
            if let Ok(Err(_)) = timeout(interval, original.changed()).await {
                health.healthy(); // the relay ended in this process: another one keeps the mirror now
                return;
            }
        }
    }

    async fn look(&mut self, original: &Original) -> Result<(), Error> {
        let name = self.config.name.clone();
        if let Some(why) = too_old(&self.context.client()).filter(|_| !self.logged_age) {
            self.logged_age = true;
            tracing::info!("{why}"); // no warning: the service itself works with it
        }
        let info: Option<Info> = find(&self.context, format!("STREAM.INFO.{name}"), &json!({})).await?;
        let Some(info) = info else { return self.create(original).await };
        match self.divergence(&info, original) {
            None => {
                free_places(&self.context, &name, info.state.consumer_count, self.clock.now().utc()).await
            }
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
        (self.lag, self.created) = (None, Some(Instant::now()));
        let _: Info = ask(&self.context, format!("STREAM.CREATE.{}", config.name), &config).await?;
        Ok(())
    }

    fn is_stalled(&mut self, info: &Info, last: u64, wanted: u64) -> bool {
        let since = match self.lag {
            _ if last >= wanted => {
                self.lag = None;
                return false;
            }
            Some((seen, since)) if seen == last => since,
            _ => self.lag.insert((last, Instant::now())).1,
        };
        let is_new = self.created.is_some_and(|created| created.elapsed() < NEW_FOR);
        let unread = info.state.consumer_count == 0 && info.state.bytes <= SMALL;
        since.elapsed() > if unread && !is_new { SMALL_STALLED_AFTER } else { STALLED_AFTER }
    }

    fn divergence(&mut self, info: &Info, original: &Original) -> Option<&'static str> {
        let shape = StreamState::from(info);
        let stalled = self.is_stalled(info, shape.last, original.last);
        let settings = |config: &Config| {
            let source = config.mirror.as_ref().map(|mirror| (mirror.name.clone(), mirror.external.clone()));
            let bounds = (config.discard, config.max_bytes, config.max_consumers);
            let replicas = self.owns_replicas.then_some(config.num_replicas);
            (source, bounds, replicas, config.deny_delete, config.deny_purge)
        };
        if info.config.description.as_deref() != Some(&*description(original)) {
            Some("the stream was recreated")
        } else if settings(&info.config) != settings(&self.config) {
            Some("its configuration is different")
        } else if check_holes(&shape).is_err() {
            Some("messages in it are gone")
        } else if stalled {
            Some("it does not follow the stream any more")
        } else {
            None
        }
    }
}

fn description(original: &Original) -> String {
    format!("read-only mirror of the stream made at {}", original.created_at)
}
