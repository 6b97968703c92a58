//! Follows the log: a page at a time, woken by a signal in the process, by `LISTEN`, and by a timer.
//!
//! The wake-up carries no data, so there is one code path for a normal day, a crash and a restart: the
//! next page is what follows upon the checkpoint, from memory when this process has just appended it
//! (`recent`), else from the table.

use super::{EventLog, LogError, PAGE_EVENTS};
use crate::backoff::{Backoff, Delays};
use crate::telemetry::chain;
use domain::Recorded;
use parking_lot::Mutex;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The longest a follower stays asleep when no signal reaches it.
const TIMER: Duration = Duration::from_secs(1);
/// The least time between two notices to other processes.
const NOTICE_PAUSE: Duration = Duration::from_millis(5);
/// The pause before a broken listener connects again.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);
/// Before a follower starts again after an error.
const RESTART: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// After this many failures in a row a sink counts as one that keeps restarting: one may be a takeover.
const RESTARTING: u32 = 2;
/// The channel of `NOTIFY`.
const CHANNEL: &str = "offers_events";

/// Wakes the followers of this process, and through PostgreSQL those of others.
#[derive(Clone)]
pub(super) struct Wake {
    /// This process has appended something.
    own: Arc<watch::Sender<()>>,
    /// Another process says that it has.
    others: Arc<watch::Sender<()>>,
}

impl Wake {
    /// `lost` is called whenever the connection to the server is, and when there is one again: another server may have taken over
    /// in between, unnoticed.
    pub(super) fn start(
        pool: PgPool,
        lost: impl Fn() + Send + Sync + 'static,
        stop: CancellationToken,
    ) -> Self {
        let wake = Self { own: Arc::new(watch::channel(()).0), others: Arc::new(watch::channel(()).0) };
        let name = Uuid::now_v7().to_string();
        let notify = notify(pool.clone(), wake.own.subscribe(), name.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(notify));
        tokio::spawn(stop.run_until_cancelled_owned(listen(pool, wake.others.clone(), name, lost)));
        wake
    }

    /// Something was appended by this process.
    pub(super) fn wake(&self) {
        self.own.send_replace(());
    }
}

/// Without a flush: a notice that is lost when PostgreSQL crashes is as good as one that was never sent.
const NOTIFY: &str = "select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)";

/// Tells other processes, off the commit path: a lost notice costs them a timer's tick. It carries this
/// process's name, so that its own notice wakes none of its followers.
async fn notify(pool: PgPool, mut own: watch::Receiver<()>, name: String) {
    while own.changed().await.is_ok() {
        let notice = sqlx::query(NOTIFY).bind(CHANNEL).bind(&name);
        if let Err(cause) = notice.execute(&pool).await {
            tracing::debug!(error = %chain(&cause), "other processes were not notified");
        }
        sleep(NOTICE_PAUSE).await;
    }
}

async fn listen(pool: PgPool, others: Arc<watch::Sender<()>>, name: String, lost: impl Fn() + Sync) {
    loop {
        let listened = listen_once(&pool, &others, &name, &lost).await;
        lost();
        if let Err(cause) = listened {
            tracing::debug!(error = %chain(&cause), "listening for other processes' appends was interrupted");
        }
        sleep(LISTEN_PAUSE).await;
    }
}

/// Until the connection is lost.
async fn listen_once(
    pool: &PgPool,
    others: &watch::Sender<()>,
    name: &str,
    lost: &(impl Fn() + Sync),
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    lost();
    while let Some(notice) = listener.try_recv().await? {
        if notice.payload() != name {
            others.send_replace(());
        }
    }
    Ok(())
}

/// One reader's way through the log.
pub struct Feed {
    log: EventLog,
    own: watch::Receiver<()>,
    others: watch::Receiver<()>,
    /// The table may hold what this process has not appended: it is looked at before going to sleep.
    look: bool,
}

impl EventLog {
    #[must_use]
    pub fn feed(&self) -> Feed {
        let Wake { own, others } = &self.0.wake;
        Feed { log: self.clone(), own: own.subscribe(), others: others.subscribe(), look: true }
    }
}

impl Feed {
    /// The next page after the position `after` (see `EventLog::page`); waits until there is one.
    pub async fn next(&mut self, after: i64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        Ok(self.next_unless(after, limit, pending()).await?.unwrap_or_default())
    }

    /// The same; `None` when there is none within `time`. Only the wait ends, never a read: a connection whose read
    /// is given up is lost to its pool.
    pub async fn next_within(
        &mut self,
        time: Duration,
        after: i64,
        limit: usize,
    ) -> Result<Option<Vec<Recorded>>, LogError> {
        self.next_unless(after, limit, sleep(time)).await
    }

    async fn next_unless(
        &mut self,
        after: i64,
        limit: usize,
        over: impl Future<Output = ()>,
    ) -> Result<Option<Vec<Recorded>>, LogError> {
        let mut over = pin!(over);
        loop {
            self.own.mark_unchanged();
            let page = match self.log.0.recent.after(after, limit) {
                Some(page) if !page.is_empty() || !self.look => page,
                _ => self.read(after, limit).await?,
            };
            if !page.is_empty() {
                return Ok(Some(page));
            }
            tokio::select! {
                _ = self.own.changed() => {}
                _ = self.others.changed() => self.look = true,
                () = &mut over => return Ok(None),
                () = sleep(TIMER) => self.look = true,
            }
        }
    }

    async fn read(&mut self, after: i64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        self.others.mark_unchanged();
        let page = self.log.page(after, limit).await?;
        self.look = !page.is_empty(); // then there may be more
        Ok(page)
    }
}

/// Why a follower could not take a page.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Something derived from the log, which keeps its own checkpoint in itself.
pub trait Sink: Send {
    fn name(&self) -> &'static str;

    /// How long a page that is not full waits for more events. Zero if a caller waits for this sink.
    const PAGE_DELAY: Duration = Duration::ZERO;

    /// After this long without events, `idle` is called. Longer than the timer, or the table would never be looked at.
    const IDLE: Duration = Duration::from_secs(2);

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
    let mut progress = Progress::of(&feed.log, name);
    let mut delays = RESTART.delays();
    while !stop.is_cancelled() {
        let followed =
            stop.run_until_cancelled(follow_once(&mut feed, &mut sink, &mut delays, &mut progress)).await;
        if let Some(Err(cause)) = followed {
            let why = chain(&*cause);
            tracing::warn!(sink = name, error = why, "the {name} stopped and starts again");
            progress.stopped(why);
            metrics::counter!("offers_sink_errors_total", "sink" => name).increment(1);
            stop.run_until_cancelled(sleep(delays.next_delay())).await;
        }
    }
}

async fn follow_once<S: Sink>(
    feed: &mut Feed,
    sink: &mut S,
    delays: &mut Delays,
    progress: &mut Progress,
) -> Result<(), SinkError> {
    let mut after = sink.checkpoint().await?;
    progress.starts_at(after);
    loop {
        let Some(mut page) = feed.next_within(S::IDLE, after, PAGE_EVENTS).await? else {
            sink.idle(after).await?;
            delays.reset();
            progress.reached(after);
            continue;
        };
        if !S::PAGE_DELAY.is_zero() && page.len() < PAGE_EVENTS / 2 {
            sleep(S::PAGE_DELAY).await; // even no time would take a millisecond
            page = feed.next_within(S::IDLE, after, PAGE_EVENTS).await?.unwrap_or(page);
        }
        sink.apply(&page).await?;
        after = page.last().map_or(after, |event| event.position);
        delays.reset();
        progress.reached(after);
    }
}

/// Shows how far a sink is, for as long as it is fed by this process.
struct Progress {
    log: EventLog,
    name: &'static str,
}

impl Progress {
    fn of(log: &EventLog, name: &'static str) -> Self {
        metrics::counter!("offers_sink_errors_total", "sink" => name).increment(0);
        Self { log: log.clone(), name }
    }

    /// Which page comes next is known; whether the sink takes it is not.
    fn starts_at(&self, position: i64) {
        metrics::gauge!("offers_sink_position", "sink" => self.name).set(position_metric(position));
        self.log.0.followers.update(self.name, |sink| sink.position = Some(position));
    }

    fn reached(&self, position: i64) {
        self.starts_at(position);
        self.log.0.followers.update(self.name, |sink| sink.failures = 0);
    }

    fn stopped(&self, why: String) {
        self.log.0.followers.update(self.name, |sink| {
            sink.failures = sink.failures.saturating_add(1);
            sink.last_failure = why;
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.log.0.followers.remove(self.name);
        metrics::gauge!("offers_sink_lag", "sink" => self.name).set(0); // who feeds it now says how far
    }
}

/// How far the sinks are that this process feeds.
#[derive(Default)]
pub(super) struct Followers(Mutex<BTreeMap<&'static str, Followed>>);

/// A sink that this process feeds.
#[derive(Default)]
struct Followed {
    /// `None` until it was asked.
    position: Option<i64>,
    /// In a row, since it last took a page or found nothing to take.
    failures: u32,
    last_failure: String,
}

impl Followers {
    fn update(&self, name: &'static str, change: impl FnOnce(&mut Followed)) {
        change(self.0.lock().entry(name).or_default());
    }

    fn remove(&self, name: &'static str) {
        self.0.lock().remove(name);
    }

    fn positions(&self) -> Vec<(&'static str, i64)> {
        let known = self.0.lock();
        known.iter().filter_map(|(name, sink)| Some((*name, sink.position?))).collect()
    }

    fn restarting(&self) -> Vec<(&'static str, String)> {
        let known = self.0.lock();
        let restarting = known.iter().filter(|(_, sink)| sink.failures >= RESTARTING);
        restarting.map(|(name, sink)| (*name, sink.last_failure.clone())).collect()
    }
}

impl EventLog {
    /// Why nothing can be written to the log; `None` if the last write succeeded.
    #[must_use]
    pub fn write_failure(&self) -> Option<String> {
        self.0.writer.failure()
    }

    /// The sinks of this process that start again and again, each with why.
    #[must_use]
    pub fn restarting_sinks(&self) -> Vec<(&'static str, String)> {
        self.0.followers.restarting()
    }

    /// Shows the log's head, how far what this process feeds is behind it, and what waits to be written.
    pub async fn measure(&self) -> Result<(), LogError> {
        let head = self.head().await?;
        metrics::gauge!("offers_log_head").set(position_metric(head));
        for (name, position) in self.0.followers.positions() {
            let lag = position_metric((head - position).max(0));
            metrics::gauge!("offers_sink_lag", "sink" => name).set(lag);
        }
        let waiting = u32::try_from(self.0.writer.waiting()).unwrap_or(u32::MAX);
        metrics::gauge!("offers_commits_waiting").set(waiting);
        Ok(())
    }
}

/// Positions as Prometheus counts; exact up to 2⁵³.
fn position_metric(position: i64) -> f64 {
    position as f64
}
