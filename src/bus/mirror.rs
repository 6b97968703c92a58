//! The analysts' mirror of the stream, in an account of their own.
//!
//! A mirror does not follow a stream that was deleted and made again, so it carries the stream's birth
//! in its description; where that differs from the stream's, the mirror is made anew.

use super::Options;
use super::api::{ask, find};
use super::error::Error;
use super::health::Place;
use super::integrity::{Shape, outline};
use super::stream::unlimited;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, DeleteStatus, External, Info, Source};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout;

/// Where the analysts' account finds the API of the stream's account (`imports` in nats.conf).
const API_PREFIX: &str = "OFFERSJS.API";
/// Where the stream's account delivers to the mirror (`exports` in nats.conf).
const DELIVER_PREFIX: &str = "offers.mirror.deliver";
/// How many consumers the analysts may have on the mirror.
const MAX_CONSUMERS: i32 = 64;
/// How often the mirror is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long it may lag without moving before it is made anew; above the server's own pauses between
/// its attempts to reach the stream.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// The stream to mirror, as the relay last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Original {
    /// When it was made: another moment is another stream.
    pub(super) born: String,
    /// Its last sequence.
    pub(super) last: u64,
}

/// The mirror by its name and form. It may not exist.
pub(super) struct Mirror {
    context: Context,
    form: Config,
    /// Its last sequence, and when it was first seen there.
    progress: (u64, Instant),
}

impl Mirror {
    pub(super) fn new(context: Context, options: &Options) -> Self {
        let external =
            External { api_prefix: API_PREFIX.into(), delivery_prefix: Some(DELIVER_PREFIX.into()) };
        let form = Config {
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
        Self { context, form, progress: (0, Instant::now()) }
    }

    /// Keeps the mirror true to the original as long as somebody tells about that.
    pub(super) async fn keep(mut self, mut original: watch::Receiver<Option<Original>>, place: Place) {
        loop {
            let seen = original.borrow_and_update().clone();
            if let Some(seen) = seen {
                match self.look(&seen).await {
                    Ok(()) => place.well(),
                    Err(error) => place.degraded(format_args!("the analysts' mirror: {error}")),
                }
            }
            if let Ok(Err(_)) = timeout(LOOK_EVERY, original.changed()).await {
                place.well(); // the relay has ended here: whoever leads now keeps the mirror
                return;
            }
        }
    }

    async fn look(&mut self, original: &Original) -> Result<(), Error> {
        let name = self.form.name.clone();
        let info: Option<Info> = find(&self.context, format!("STREAM.INFO.{name}"), &json!({})).await?;
        let Some(info) = info else { return self.create(original).await };
        match self.spoiled(&info, original) {
            None => Ok(()),
            Some(why) => {
                tracing::warn!(stream = name, why, "the mirror is made anew: {why}");
                metrics::counter!("offers_mirror_rebuilds_total").increment(1);
                find::<DeleteStatus>(&self.context, format!("STREAM.DELETE.{name}"), &json!({})).await?;
                self.create(original).await
            }
        }
    }

    async fn create(&mut self, original: &Original) -> Result<(), Error> {
        let form = Config { description: Some(description(original)), ..self.form.clone() };
        self.progress = (0, Instant::now());
        let _: Info = ask(&self.context, format!("STREAM.CREATE.{}", form.name), &form).await?;
        Ok(())
    }

    fn spoiled(&mut self, info: &Info, original: &Original) -> Option<&'static str> {
        let shape = Shape::from(&info.state);
        if shape.last != self.progress.0 {
            self.progress = (shape.last, Instant::now());
        }
        let form = |config: &Config| {
            let source = config.mirror.as_ref().map(|mirror| (mirror.name.clone(), mirror.external.clone()));
            (source, config.max_bytes, config.max_consumers, config.deny_delete, config.deny_purge)
        };
        if info.config.description.as_deref() != Some(&*description(original)) {
            Some("the stream was made anew")
        } else if form(&info.config) != form(&self.form) {
            Some("it has another form")
        } else if outline(&shape).is_err() {
            Some("messages in it are gone")
        } else if shape.last < original.last && self.progress.1.elapsed() > STALLED_AFTER {
            Some("it does not follow any more")
        } else {
            None
        }
    }
}

fn description(original: &Original) -> String {
    format!("read-only mirror of the stream made at {}", original.born)
}
