//! The sink that publishes the log into the stream.
//!
//! The checkpoint is the stream itself: its last sequence is the position of the last event in it. So
//! nothing is remembered here, and a restart publishes nothing twice. Whatever does not fit (a
//! duplicate, a wrong sequence, a lost connection) stops the pipeline; then the stream is looked at
//! again, and made anew from the log when it is not a copy of it any more.

use super::connection::Link;
use super::error::Error;
use super::health::{Health, Part, Place};
use super::integrity::{Shape, Spoiled, ending, outline};
use super::mirror::{Mirror, Original};
use super::pipeline::Pipeline;
use super::stream::Stream;
use crate::event_log::{EventLog, LogError, MAX_COMMIT_EVENTS, Sink, SinkError};
use async_nats::jetstream::stream::Info;
use domain::Recorded;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use uuid::Uuid;

/// How often a stream is looked at while all goes well: somebody may have purged or deleted it.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How often in a row a stream is made anew before the relay rests.
const REBUILDS: usize = 3;

/// What the relay needs to know of the log to compare the stream with it.
pub trait History: Send + Sync + 'static {
    /// The id of the event at `position`; `None` beyond the head.
    fn event_id_at(&self, position: i64) -> impl Future<Output = Result<Option<Uuid>, LogError>> + Send;
}

impl History for EventLog {
    async fn event_id_at(&self, position: i64) -> Result<Option<Uuid>, LogError> {
        let page = self.page(position - 1, MAX_COMMIT_EVENTS).await?;
        Ok(page.first().map(|event| event.event_id))
    }
}

/// Publishes the log. See the module.
pub struct Relay<H> {
    stream: Stream,
    link: Link,
    prefix: String,
    history: H,
    original: watch::Sender<Option<Original>>,
    place: Place,
    pipeline: Option<Pipeline>,
    looked_at: Instant,
    /// What went wrong last, until the stream was looked at.
    stopped_by: Option<Arc<Error>>,
}

impl<H: History> Relay<H> {
    pub(super) fn new(
        stream: Stream,
        link: Link,
        prefix: String,
        mirror: Option<Mirror>,
        history: H,
        health: &Health,
    ) -> Self {
        let (original, told) = watch::channel(None);
        if let Some(mirror) = mirror {
            tokio::spawn(mirror.keep(told, health.at(Part::Mirror)));
        }
        Self {
            stream,
            link,
            prefix,
            history,
            original,
            place: health.at(Part::Relay),
            pipeline: None,
            looked_at: Instant::now(),
            stopped_by: None,
        }
    }

    /// The position of the last event in the stream, which is a true copy of the log when this returns.
    async fn find_checkpoint(&mut self) -> Result<i64, Error> {
        self.pipeline = None;
        for _ in 0..REBUILDS {
            let info = self.stream.open().await?;
            match self.judge(&info).await? {
                Ok(position) => {
                    self.saw(&info);
                    return Ok(position);
                }
                Err(why) => self.discard(why).await?,
            }
        }
        Err(Error::Refused("the stream is spoiled as soon as it is made".into()))
    }

    async fn judge(&self, info: &Info) -> Result<Result<i64, Spoiled>, Error> {
        let shape = Shape::from(&info.state);
        let Ok(position) = i64::try_from(shape.last) else { return Ok(Err(Spoiled::Ahead)) };
        if let Err(spoiled) = outline(&shape) {
            return Ok(Err(spoiled));
        }
        if let Some(Error::Duplicate { position: claimed, .. }) = self.stopped_by.as_deref()
            && *claimed > position
        {
            return Ok(Err(Spoiled::Forgotten));
        }
        if position == 0 {
            return Ok(Ok(0));
        }
        let last = self.stream.stamp(shape.last).await?;
        let logged = self.history.event_id_at(position).await.map_err(|cause| Error::Log(cause.into()))?;
        Ok(ending(shape.last, last, logged).map(|()| position))
    }

    async fn discard(&mut self, why: Spoiled) -> Result<(), Error> {
        tracing::warn!(stream = self.stream.name(), %why, "the stream is made anew: {why}");
        metrics::counter!("offers_stream_rebuilds_total").increment(1);
        self.stopped_by = None;
        self.stream.delete().await
    }

    fn saw(&mut self, info: &Info) {
        self.looked_at = Instant::now();
        measure(info);
        let (born, last) = (info.created.to_string(), info.state.last_sequence);
        self.original.send_if_modified(|seen| {
            let stream_changed = seen.as_ref().is_none_or(|seen| seen.born != born);
            *seen = Some(Original { born, last });
            stream_changed
        });
    }

    /// Looks whether the stream still ends at `position` and is whole; an error otherwise.
    async fn look(&mut self, position: i64) -> Result<(), Error> {
        let info = self.stream.open().await?;
        let shape = Shape::from(&info.state);
        if let Err(why) = outline(&shape) {
            return Err(Error::OutOfStep { position, why: why.to_string() });
        }
        if i64::try_from(shape.last) != Ok(position) {
            return Err(Error::OutOfStep { position, why: format!("it ends at {}", shape.last) });
        }
        self.saw(&info);
        Ok(())
    }

    async fn publish(&mut self, page: &[Recorded]) -> Result<(), Error> {
        let Some(first) = page.first() else { return Ok(()) };
        let after = first.position - 1;
        if self.looked_at.elapsed() > LOOK_EVERY {
            self.look(after).await?;
        }
        let mut pipeline = match self.pipeline.take() {
            Some(pipeline) if pipeline.confirmed() == after => pipeline,
            _ => Pipeline::open(self.link.clone(), self.stream.name(), &self.prefix, after).await?,
        };
        pipeline.publish(page).await?;
        self.pipeline = Some(pipeline);
        metrics::counter!("offers_relay_published_total").increment(page.len() as u64);
        Ok(())
    }

    /// Remembers how it went and says so in the health.
    fn note<T>(&mut self, outcome: Result<T, Error>, published: bool) -> Result<T, SinkError> {
        match outcome {
            Ok(value) => {
                // A full stream looks well until something is published.
                if published || !matches!(self.stopped_by.as_deref(), Some(Error::Full(_))) {
                    self.place.well();
                    self.stopped_by = None;
                }
                Ok(value)
            }
            Err(error) => {
                self.pipeline = None;
                self.place.degraded(format_args!("the relay waits: {error}"));
                let error = Arc::new(error);
                self.stopped_by = Some(error.clone());
                Err(error.into())
            }
        }
    }
}

/// How full the stream is; bytes as Prometheus counts, exact up to 2⁵³.
#[allow(clippy::cast_precision_loss)]
fn measure(info: &Info) {
    metrics::gauge!("offers_stream_bytes").set(info.state.bytes as f64);
    metrics::gauge!("offers_stream_bytes_max").set(info.config.max_bytes as f64);
}

impl<H> Drop for Relay<H> {
    fn drop(&mut self) {
        self.place.well(); // whoever leads now says how it goes
    }
}

impl<H: History> Sink for Relay<H> {
    fn name(&self) -> &'static str {
        "relay"
    }

    async fn checkpoint(&mut self) -> Result<i64, SinkError> {
        let found = self.find_checkpoint().await;
        self.note(found, false)
    }

    async fn apply(&mut self, page: &[Recorded]) -> Result<(), SinkError> {
        let published = self.publish(page).await;
        self.note(published, true)
    }

    async fn idle(&mut self, position: i64) -> Result<(), SinkError> {
        if self.looked_at.elapsed() <= LOOK_EVERY {
            return Ok(());
        }
        let looked = self.look(position).await;
        self.note(looked, false)
    }
}
