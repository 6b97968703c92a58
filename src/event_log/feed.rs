//! Follows the log: a page at a time, woken by a signal in the process, by `LISTEN`, and by a timer.
//!
//! The wake-up carries no data, so there is one code path for a normal day, a crash and a restart.

use super::writer::describe;
use super::{EventLog, LogError, PAGE_EVENTS};
use domain::Recorded;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The longest a follower stays asleep when no signal reaches it.
const TIMER: Duration = Duration::from_secs(1);
/// The least time between two notices to other processes.
const NOTICE_PAUSE: Duration = Duration::from_millis(5);
/// How long a broken listener rests before it connects again.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);
/// A failing follower rests this long at first, then twice as long, up to the last.
const FOLLOW_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A sink that had nothing to do for this long is told so.
const IDLE: Duration = Duration::from_secs(2);
/// The channel of `NOTIFY`.
const CHANNEL: &str = "offers_events";

/// Wakes the followers of this process, and through PostgreSQL those of others.
#[derive(Clone)]
pub(super) struct Wake {
    /// Something may have been appended, by anybody.
    signal: Arc<watch::Sender<()>>,
    /// This process has appended something.
    local: Arc<watch::Sender<()>>,
}

impl Wake {
    pub(super) fn start(pool: PgPool, stop: CancellationToken) -> Self {
        let wake = Self { signal: Arc::new(watch::channel(()).0), local: Arc::new(watch::channel(()).0) };
        tokio::spawn(stop.clone().run_until_cancelled_owned(notify(pool.clone(), wake.local.subscribe())));
        tokio::spawn(stop.run_until_cancelled_owned(listen(pool, wake.signal.clone())));
        wake
    }

    /// Something was appended by this process.
    pub(super) fn wake(&self) {
        self.signal.send_replace(());
        self.local.send_replace(());
    }
}

/// Tells other processes, off the commit path: a lost notice costs them a timer's tick.
async fn notify(pool: PgPool, mut local: watch::Receiver<()>) {
    while local.changed().await.is_ok() {
        if let Err(cause) = sqlx::query("select pg_notify($1, '')").bind(CHANNEL).execute(&pool).await {
            tracing::debug!(error = %cause, "other processes were not notified");
        }
        sleep(NOTICE_PAUSE).await;
    }
}

async fn listen(pool: PgPool, signal: Arc<watch::Sender<()>>) {
    loop {
        if let Err(cause) = listen_once(&pool, &signal).await {
            tracing::debug!(error = %cause, "listening for other processes' appends was interrupted");
        }
        sleep(LISTEN_PAUSE).await;
    }
}

async fn listen_once(pool: &PgPool, signal: &watch::Sender<()>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        listener.recv().await?;
        signal.send_replace(());
    }
}

/// One reader's way through the log.
pub struct Feed {
    log: EventLog,
    signal: watch::Receiver<()>,
}

impl EventLog {
    /// A new reader.
    #[must_use]
    pub fn feed(&self) -> Feed {
        Feed { log: self.clone(), signal: self.0.wake.signal.subscribe() }
    }
}

impl Feed {
    /// The next page after the position `after` (see `EventLog::page`); waits until there is one.
    ///
    /// # Errors
    /// As `EventLog::page`.
    pub async fn next(&mut self, after: i64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        loop {
            self.signal.mark_unchanged();
            let page = self.log.page(after, limit).await?;
            if !page.is_empty() {
                return Ok(page);
            }
            if let Ok(Err(_)) = timeout(TIMER, self.signal.changed()).await {
                sleep(TIMER).await; // the log is shut down: nobody wakes us any more
            }
        }
    }
}

/// Why a follower could not take a page.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Something derived from the log, which keeps its own checkpoint in itself.
pub trait Sink: Send {
    /// For logs and metrics.
    fn name(&self) -> &'static str;

    /// The position of the last event that is in it.
    fn checkpoint(&mut self) -> impl Future<Output = Result<i64, SinkError>> + Send;

    /// Takes the page that starts right after its checkpoint, whole or not at all.
    fn apply(&mut self, page: &[Recorded]) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Is called now and then while nothing is appended, with the position it was fed up to: whoever
    /// finds itself somewhere else says so by an error.
    fn idle(&mut self, _checkpoint: i64) -> impl Future<Output = Result<(), SinkError>> + Send {
        async { Ok(()) }
    }
}

/// Feeds `sink` until `stop`. After any error it asks the sink again where it stands, rests and goes
/// on from there.
pub async fn follow(mut feed: Feed, mut sink: impl Sink, stop: CancellationToken) {
    let name = sink.name();
    let mut pause = FOLLOW_PAUSE.0;
    while !stop.is_cancelled() {
        let followed = stop.run_until_cancelled(follow_once(&mut feed, &mut sink, &mut pause)).await;
        if let Some(Err(cause)) = followed {
            tracing::warn!(sink = name, error = %describe(&*cause), "the {name} stopped and starts again");
            metrics::counter!("offers_sink_errors_total", "sink" => name).increment(1);
            stop.run_until_cancelled(sleep(pause)).await;
            pause = (pause * 2).min(FOLLOW_PAUSE.1);
        }
    }
}

async fn follow_once(feed: &mut Feed, sink: &mut impl Sink, pause: &mut Duration) -> Result<(), SinkError> {
    let name = sink.name();
    let mut after = sink.checkpoint().await?;
    loop {
        let Ok(page) = timeout(IDLE, feed.next(after, PAGE_EVENTS)).await else {
            sink.idle(after).await?;
            continue;
        };
        let page = page?;
        sink.apply(&page).await?;
        after = page.last().map_or(after, |event| event.position);
        *pause = FOLLOW_PAUSE.0;
        metrics::gauge!("offers_sink_position", "sink" => name).set(position_metric(after));
    }
}

/// Positions as Prometheus counts; exact up to 2⁵³.
#[allow(clippy::cast_precision_loss)]
fn position_metric(position: i64) -> f64 {
    position as f64
}
