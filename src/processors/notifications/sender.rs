//! Sends what is due. Any number of senders may run, on any number of machines: each claims its mails.
//!
//! SMTP can only be at least once. A mail goes out twice when a process dies, or loses PostgreSQL for
//! long, between the server's "250 taken" and the commit that records it, and when the server takes a mail
//! whose answer is lost on the way. Both copies have the same Message-ID.

use super::breaker::Breaker;
use super::compose::{ComposeError, Composed, Composer};
use super::destination::{Destination, Server};
use super::directory;
use super::outbox::{Claimed, Notice, Outbox};
use super::pace::Pace;
use super::retries::delay_after;
use super::smtp::{Connection, SendError};
use crate::bus::Letter;
use crate::clock::Clock;
use crate::processors::{Parked, ParkedError};
use crate::telemetry::chain;
use futures::future::join_all;
use lettre::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::select;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often the table is looked at when nobody says that something is due.
const POLL: Duration = Duration::from_secs(1);
/// Mails that one connection claims at a time.
const BATCH: u8 = 10;
/// How long a claim holds: more than a batch takes when each mail takes as long as it may.
const HELD_FOR: Duration = Duration::from_secs(15 * 60);
/// How often, and for how long, "it was sent" is tried to be recorded.
const RECORD: (u32, Duration) = (120, Duration::from_secs(1));
/// How long mails under way may take to end after a stop.
const DRAIN: Duration = Duration::from_secs(4);
/// How often the mails that wait are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// The name under which mails are parked.
pub(super) const PARKED_AS: &str = "mail";

/// Sends mail. Cheap to clone.
#[derive(Clone)]
pub struct Sender(Arc<Inner>);

pub(super) struct Inner {
    pub(super) outbox: Outbox,
    pub(super) composer: Composer,
    pub(super) destination: Destination,
    pub(super) parked: Parked,
    pub(super) clock: Clock,
    pub(super) breaker: Breaker,
    pub(super) pace: Pace,
    /// Connections at a time.
    pub(super) connections: u8,
    pub(super) due: Arc<Notify>,
}

/// Why nothing more was sent for now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table of mails.
    #[error("the table of mails does not answer")]
    Outbox(#[from] sqlx::Error),
    /// The table of parked messages.
    #[error(transparent)]
    Parked(#[from] ParkedError),
    /// What mails are written of.
    #[error("mails cannot be written")]
    Compose(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What became of one mail.
enum Fate {
    /// Done, one way or another: the next one.
    Settled,
    /// The server is not there: no next one.
    NoServer,
}

impl Sender {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Sends until `stop`, then lets the mails under way end.
    pub async fn run(self, stop: CancellationToken) {
        let mut bursts = JoinSet::new();
        let mut count = interval(COUNT_EVERY);
        while !stop.is_cancelled() {
            select! {
                () = stop.cancelled() => break,
                () = self.0.due.notified() => {}
                () = sleep(POLL) => {}
                _ = count.tick() => self.0.count_pending().await,
            }
            while let Some(ended) = bursts.try_join_next() {
                tell(ended);
            }
            if bursts.len() < usize::from(self.0.connections) {
                let (inner, stop) = (self.0.clone(), stop.clone());
                bursts.spawn(async move { inner.burst(&stop).await });
            }
        }
        let drained = timeout(DRAIN, async {
            while let Some(ended) = bursts.join_next().await {
                tell(ended);
            }
        });
        if drained.await.is_err() {
            tracing::warn!("stopped while mails were being sent; they may go out again");
        }
    }

    /// Sends what is due now, over all connections, until nothing is; how many mails were settled.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn send_due(&self) -> Result<u32, Error> {
        let stop = CancellationToken::new();
        let bursts = (0..self.0.connections).map(|_| self.0.burst(&stop));
        let mut settled = 0;
        for burst in join_all(bursts).await {
            settled += burst?;
        }
        Ok(settled)
    }
}

impl Inner {
    /// Sends what is due over one connection, until nothing is.
    async fn burst(&self, stop: &CancellationToken) -> Result<u32, Error> {
        let (mut settled, mut connection) = (0, None);
        while !stop.is_cancelled() && self.breaker.lets_through(self.clock.now().utc()) {
            let claimed = self.outbox.claim(self.clock.now().utc(), HELD_FOR, BATCH).await?;
            if claimed.is_empty() {
                self.breaker.untried(self.clock.now().utc());
                break;
            }
            if claimed.len() == usize::from(BATCH) {
                self.due.notify_one(); // there may be more than this connection should carry
            }
            let sent = self.send_batch(&claimed, &mut connection, stop).await;
            self.breaker.untried(self.clock.now().utc()); // maybe they were all for nobody
            settled += sent?;
        }
        if let Some(connection) = connection {
            connection.quit().await;
        }
        Ok(settled)
    }

    async fn send_batch(
        &self,
        claimed: &[Claimed],
        connection: &mut Option<Connection>,
        stop: &CancellationToken,
    ) -> Result<u32, Error> {
        let mut settled = 0;
        for (index, mail) in claimed.iter().enumerate() {
            self.pace.turn().await;
            let fate = self.send_one(mail, connection).await;
            settled += u32::from(matches!(fate, Ok(Fate::Settled)));
            if stop.is_cancelled() || !matches!(fate, Ok(Fate::Settled)) {
                let untried = claimed.get(index + 1..).unwrap_or_default();
                self.outbox.release(untried, self.clock.now().utc()).await?;
                return fate.map(|_| settled);
            }
        }
        Ok(settled)
    }

    async fn send_one(&self, claimed: &Claimed, connection: &mut Option<Connection>) -> Result<Fate, Error> {
        let notice = &claimed.notice;
        let mail = match self.composer.compose(notice).await {
            Ok(Composed::Mail(mail)) => mail,
            Ok(Composed::Nobody(why)) => {
                self.finish(notice, "skipped", why).await?;
                return Ok(Fate::Settled);
            }
            Err(ComposeError::Never(why)) => {
                self.park(claimed, why).await?;
                return Ok(Fate::Settled);
            }
            Err(ComposeError::Unavailable(cause)) => {
                self.outbox.release(std::slice::from_ref(claimed), self.clock.now().utc()).await?;
                return Err(Error::Compose(cause));
            }
        };
        let sent = match &self.destination {
            Destination::Directory(directory) => directory::write(directory, notice.event_id, &mail)
                .await
                .map_err(|cause| SendError::NoServer(cause.to_string())),
            Destination::Server(server) => hand_over(server, &mail, connection).await,
        };
        self.settle(claimed, sent).await
    }

    async fn settle(&self, claimed: &Claimed, sent: Result<(), SendError>) -> Result<Fate, Error> {
        let now = self.clock.now().utc();
        match sent {
            Ok(()) => {
                self.breaker.worked();
                self.record_sent(&claimed.notice).await?;
                Ok(Fate::Settled)
            }
            Err(SendError::Refused(why)) => {
                self.breaker.worked();
                self.park(claimed, &why).await?;
                Ok(Fate::Settled)
            }
            Err(SendError::PutOff(why)) => {
                self.breaker.worked();
                self.try_again(claimed, &why).await?;
                Ok(Fate::Settled)
            }
            Err(SendError::NoServer(why)) => {
                self.breaker.failed(now);
                tracing::warn!(error = why, "mail waits: the mail server cannot be used");
                self.try_again(claimed, &why).await?;
                Ok(Fate::NoServer)
            }
        }
    }

    /// Until this is recorded, the mail counts as not sent: so it is tried for long.
    async fn record_sent(&self, notice: &Notice) -> Result<(), Error> {
        let (mut tries, pause) = RECORD;
        loop {
            tries -= 1;
            match self.outbox.finish(notice, "sent", None, self.clock.now().utc()).await {
                Ok(()) => break,
                Err(cause) if tries == 0 => {
                    let event_id = notice.event_id;
                    tracing::error!(%event_id, "the mail of {event_id} was sent, which could not be recorded");
                    return Err(cause.into());
                }
                Err(_) => sleep(pause).await,
            }
        }
        count(notice, "sent");
        Ok(())
    }

    async fn try_again(&self, claimed: &Claimed, why: &str) -> Result<(), Error> {
        match delay_after(claimed.attempts) {
            Some(rest) => {
                let next = self.clock.now().utc() + rest;
                self.outbox.put_off(&claimed.notice, why, next).await?;
                count(&claimed.notice, "retried");
                Ok(())
            }
            None => self.park(claimed, &format!("given up after {} tries: {why}", claimed.attempts)).await,
        }
    }

    /// Shows it to a person, then stops trying: in this order, so that a crash shows it twice, not never.
    async fn park(&self, claimed: &Claimed, why: &str) -> Result<(), Error> {
        let Notice { event_id, position, kind, aggregate_id, .. } = claimed.notice;
        let letter = Letter {
            position,
            subject: format!("mail.{}", kind.as_str()),
            event_id: Some(event_id),
            aggregate_id: Some(aggregate_id),
            attempts: i64::from(claimed.attempts),
            reason: why.to_owned(),
        };
        self.parked.keep(PARKED_AS, &letter).await?;
        tracing::error!(%event_id, reason = why, "the mail of {event_id} is parked");
        self.finish(&claimed.notice, "parked", why).await
    }

    async fn finish(&self, notice: &Notice, state: &'static str, why: &str) -> Result<(), Error> {
        self.outbox.finish(notice, state, Some(why), self.clock.now().utc()).await?;
        count(notice, state);
        Ok(())
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge")]
    async fn count_pending(&self) {
        match self.outbox.pending().await {
            Ok(pending) => metrics::gauge!("offers_mails_pending").set(pending as f64),
            Err(cause) => tracing::debug!(error = %chain(&cause), "the mails that wait could not be counted"),
        }
    }
}

/// Hands `mail` over on `connection`, or on a new one.
async fn hand_over(
    server: &Server,
    mail: &Message,
    connection: &mut Option<Connection>,
) -> Result<(), SendError> {
    let open = match connection.take() {
        Some(open) => open,
        None => Connection::open(server).await?,
    };
    let (sent, still_open) = open.send(mail).await;
    *connection = still_open;
    sent
}

fn count(notice: &Notice, outcome: &'static str) {
    metrics::counter!("offers_mails_total", "mail" => notice.kind.as_str(), "outcome" => outcome)
        .increment(1);
}

fn tell(ended: Result<Result<u32, Error>, JoinError>) {
    match ended {
        Ok(Ok(_)) => {}
        Ok(Err(cause)) => {
            tracing::warn!(error = %chain(&cause), "no mail is sent now");
        }
        Err(cause) => tracing::error!(error = %chain(&cause), "sending mail ended before its time"),
    }
}
