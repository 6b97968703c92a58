//! The sink that publishes the log into the stream.
//!
//! The checkpoint is the stream itself: its last sequence is the position of its last event. So nothing is
//! stored here, and a restart publishes nothing twice. Any surprise (a duplicate, a wrong sequence, a lost
//! connection) stops the pipeline; then the stream is inspected, and recreated from the log if it is not a
//! copy of the log any more.

use super::connection::Link;
use super::error::Error;
use super::health::{Health, HealthReporter, Part};
use super::integrity::{Divergence, StreamState, check_message, check_range};
use super::mirror::{Mirror, Original};
use super::pipeline::Pipeline;
use super::stream::Stream;
use crate::event_log::{Sink, SinkError};
use crate::failpoint::{Step, failpoint};
use async_nats::jetstream::stream::Info;
use domain::{History, Recorded};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often the stream is inspected while all goes well: somebody may have purged or deleted it.
const INSPECT_EVERY: Duration = Duration::from_secs(3);
/// How often in a row a stream is recreated before the relay waits.
const REBUILDS: usize = 3;

pub struct Relay<H> {
    stream: Stream,
    link: Link,
    prefix: String,
    history: H,
    original: watch::Sender<Option<Original>>,
    health: HealthReporter,
    pipeline: Option<Pipeline>,
    /// Several servers keep the stream.
    replicated: bool,
    inspected_at: Instant,
    /// The last error, until the stream was inspected.
    stopped_by: Option<Arc<Error>>,
}

impl<H: History + 'static> Relay<H> {
    pub(super) fn new(
        stream: Stream,
        link: Link,
        prefix: String,
        mirror: Option<Mirror>,
        history: H,
        health: &Health,
    ) -> Self {
        let (original, seen) = watch::channel(None);
        if let Some(mirror) = mirror {
            tokio::spawn(mirror.keep(seen, health.reporter(Part::Mirror)));
        }
        Self {
            stream,
            link,
            prefix,
            history,
            original,
            health: health.reporter(Part::Relay),
            pipeline: None,
            replicated: false,
            inspected_at: Instant::now(),
            stopped_by: None,
        }
    }

    /// The position of the last event in the stream, which is a true copy of the log now.
    async fn find_checkpoint(&mut self) -> Result<i64, Error> {
        self.pipeline = None;
        for _ in 0..REBUILDS {
            let info = self.open().await?;
            match self.check(&info).await? {
                Ok(position) => {
                    self.saw(&info);
                    return Ok(position);
                }
                Err(why) => self.discard(why).await?,
            }
        }
        Err(Error::Refused("the stream diverges from the log as soon as it is created".into()))
    }

    async fn open(&self) -> Result<Info, Error> {
        self.stream.open(&self.history).await
    }

    async fn check(&self, info: &Info) -> Result<Result<i64, Divergence>, Error> {
        let shape = StreamState::from(info);
        let Ok(position) = i64::try_from(shape.last) else { return Ok(Err(Divergence::Ahead)) };
        if let Err(divergence) = check_range(&shape) {
            return Ok(Err(divergence));
        }
        if let Some(Error::Duplicate { position: claimed, .. }) = self.stopped_by.as_deref()
            && *claimed > position
        {
            return Ok(Err(Divergence::Forgotten));
        }
        if position == 0 {
            return Ok(Ok(0));
        }
        if let Some(Error::OutOfStep { position: refused, .. }) = self.stopped_by.as_deref()
            && shape.has(*refused)
            && let Err(divergence) = self.compare(*refused).await?
        {
            return Ok(Err(divergence)); // what was published after it may have found the sequence that it expects
        }
        if shape.messages == 0 {
            let logged = self.history.event_id_at(position).await.map_err(Error::Log)?;
            return Ok(logged.map(|_| position).ok_or(Divergence::Ahead));
        }
        Ok(self.compare(position).await?.map(|()| position))
    }

    /// Compares the message at `position` with the event there.
    async fn compare(&self, position: i64) -> Result<Result<(), Divergence>, Error> {
        let logged = self.history.event_id_at(position).await.map_err(Error::Log)?;
        let sequence = position.unsigned_abs();
        Ok(check_message(sequence, self.stream.message_id(sequence).await?, logged))
    }

    async fn discard(&mut self, why: Divergence) -> Result<(), Error> {
        tracing::warn!(stream = self.stream.name(), %why, "recreating the stream: {why}");
        metrics::counter!("offers_stream_rebuilds_total").increment(1);
        self.stopped_by = None;
        self.stream.delete().await
    }

    fn saw(&mut self, info: &Info) {
        self.inspected_at = Instant::now();
        self.replicated = info.config.num_replicas > 1;
        measure(info);
        let (created_at, last) = (info.created.to_string(), info.state.last_sequence);
        self.original.send_if_modified(|seen| {
            let stream_changed = seen.as_ref().is_none_or(|seen| seen.created_at != created_at);
            *seen = Some(Original { created_at, last });
            stream_changed
        });
    }

    /// Checks that the stream has no holes and still ends at `position`.
    async fn inspect(&mut self, position: i64) -> Result<(), Error> {
        let info = self.open().await?;
        let shape = StreamState::from(&info);
        if let Err(why) = check_range(&shape) {
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
        if self.inspected_at.elapsed() > INSPECT_EVERY {
            self.inspect(after).await?;
        }
        let mut pipeline = match self.pipeline.take() {
            Some(pipeline) if pipeline.confirmed() == after => pipeline,
            _ => {
                let (link, name) = (self.link.clone(), self.stream.name());
                Pipeline::open(link, name, &self.prefix, after, self.replicated).await?
            }
        };
        failpoint(Step::RelayBefore);
        pipeline.publish(page).await?;
        failpoint(Step::RelayPublished);
        self.pipeline = Some(pipeline);
        metrics::counter!("offers_relay_published_total").increment(page.len() as u64);
        Ok(())
    }

    /// Reports the result to the health, and keeps an error.
    fn note<T>(&mut self, outcome: Result<T, Error>, published: bool) -> Result<T, SinkError> {
        match outcome {
            Ok(value) => {
                // A full stream looks healthy until something is published.
                if published || !matches!(self.stopped_by.as_deref(), Some(Error::Full(_))) {
                    self.health.healthy();
                    self.stopped_by = None;
                }
                Ok(value)
            }
            Err(error) => {
                self.pipeline = None;
                self.health.degraded(format_args!("cannot publish the log: {error}"));
                let error = Arc::new(error);
                self.stopped_by = Some(error.clone());
                Err(error.into())
            }
        }
    }
}

/// Bytes as `f64` are exact up to 2⁵³.
fn measure(info: &Info) {
    metrics::gauge!("offers_stream_bytes").set(info.state.bytes as f64);
    metrics::gauge!("offers_stream_bytes_max").set(info.config.max_bytes as f64);
}

impl<H> Drop for Relay<H> {
    fn drop(&mut self) {
        self.health.healthy(); // the process that publishes now reports its own health
    }
}

impl<H: History + 'static> Sink for Relay<H> {
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
        if self.inspected_at.elapsed() <= INSPECT_EVERY {
            return Ok(());
        }
        let inspected = self.inspect(position).await;
        self.note(inspected, false)
    }
}
