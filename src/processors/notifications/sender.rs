//! Sends mails that are due. Any number of senders may run, on any number of machines: each claims its mails.
//!
//! SMTP is at least once. A mail is sent twice if the process dies or loses PostgreSQL for long between the
//! server's 250 and the commit that records it, or if that 250 is lost. Both copies have the same Message-ID.

use super::breaker::Breaker;
use super::compose::{ComposeError, Composed, Composer};
use super::delays::delay_after;
use super::destination::{Destination, Server};
use super::directory;
use super::outbox::{Claimed, Finished, Notice, Outbox};
use super::pace::Pace;
use super::recorder::Recorder;
use super::smtp::{Connection, SendError};
use crate::clock::Clock;
use crate::processors::claims::{PAUSE, hold};
use crate::processors::{Parked, ParkedError, Unhandled};
use crate::telemetry::chain;
use futures::future::join_all;
use lettre::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::select;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Interval of polls without a notification.
const POLL: Duration = Duration::from_secs(1);
/// Mails that one connection claims at a time.
const BATCH: u8 = 10;
/// Attempts to record that a mail was sent.
const RECORD_ATTEMPTS: u32 = 120;
const RECORD_DELAY: Duration = Duration::from_secs(1);
/// The limit for finishing mails after a stop.
const DRAIN: Duration = Duration::from_secs(4);
/// The consumer name of parked mails.
pub(super) const PARKED_AS: &str = "mail";

/// Sends mail. Cheap to clone.
#[derive(Clone)]
pub struct Sender(Arc<Inner>);

pub(super) struct Inner {
    pub(super) outbox: Outbox,
    pub(super) recorder: Recorder,
    pub(super) composer: Composer,
    pub(super) destination: Destination,
    pub(super) parked: Parked,
    pub(super) clock: Clock,
    pub(super) breaker: Breaker,
    pub(super) pace: Pace,
    pub(super) connections: u8,
    pub(super) due: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read or write the table of mails")]
    Outbox(#[from] sqlx::Error),
    #[error("cannot record what became of a mail")]
    Record(#[from] Arc<sqlx::Error>),
    #[error(transparent)]
    Parked(#[from] ParkedError),
    #[error("cannot write a mail")]
    Compose(#[source] Box<dyn std::error::Error + Send + Sync>),
}

enum SendResult {
    /// Sent, skipped, parked or delayed: continue with the next mail.
    Settled,
    ServerUnavailable,
}

impl Sender {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Sends until `stop`, then finishes the mails that are being sent.
    pub async fn run(self, stop: CancellationToken) {
        let mut bursts = JoinSet::new();
        while !stop.is_cancelled() {
            select! {
                () = stop.cancelled() => break,
                () = self.0.due.notified() => {}
                () = sleep(POLL) => {}
            }
            while let Some(ended) = bursts.try_join_next() {
                if log_error(ended) {
                    stop.run_until_cancelled(sleep(PAUSE)).await;
                }
            }
            if bursts.len() < usize::from(self.0.connections) {
                let (inner, stop) = (self.0.clone(), stop.clone());
                bursts.spawn(async move { inner.burst(&stop).await });
            }
        }
        let drained = timeout(DRAIN, async {
            while let Some(ended) = bursts.join_next().await {
                log_error(ended);
            }
        });
        if drained.await.is_err() {
            tracing::warn!("stopped while mails were being sent; they may be sent again");
        }
    }

    /// Sends all mails that are due now, over all connections. Returns the number of settled mails.
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
    /// Sends mails that are due over one connection, until none is.
    async fn burst(&self, stop: &CancellationToken) -> Result<u32, Error> {
        let (mut settled, mut connection) = (0, None);
        while !stop.is_cancelled() && self.breaker.allows(self.clock.now().utc()) {
            let claimed = self.outbox.claim(self.clock.now().utc(), BATCH).await?;
            if claimed.is_empty() {
                self.breaker.no_attempt(self.clock.now().utc());
                break;
            }
            let may_be_more = claimed.len() == usize::from(BATCH);
            if may_be_more {
                self.due.notify_one(); // for another connection
            }
            let sending = self.send_batch(&claimed, &mut connection, stop);
            let sent = hold(sending, || self.outbox.renew(&claimed)).await;
            self.breaker.no_attempt(self.clock.now().utc()); // maybe no mail had a recipient
            settled += sent?;
            if !may_be_more {
                break;
            }
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
            self.pace.wait().await;
            let fate = self.send_one(mail, connection).await;
            settled += u32::from(matches!(fate, Ok(SendResult::Settled)));
            if stop.is_cancelled() || !matches!(fate, Ok(SendResult::Settled)) {
                let untried = claimed.get(index + 1..).unwrap_or_default();
                self.outbox.release(untried).await?;
                return fate.map(|_| settled);
            }
        }
        Ok(settled)
    }

    async fn send_one(
        &self,
        claimed: &Claimed,
        connection: &mut Option<Connection>,
    ) -> Result<SendResult, Error> {
        let notice = &claimed.notice;
        let mail = match self.composer.compose(notice).await {
            Ok(Composed::Mail(mail)) => mail,
            Ok(Composed::NoRecipient(why)) => {
                self.finish(notice, "skipped", why).await?;
                return Ok(SendResult::Settled);
            }
            Err(ComposeError::Never(why)) => {
                self.park(claimed, why).await?;
                return Ok(SendResult::Settled);
            }
            Err(ComposeError::Unavailable(cause)) => {
                self.outbox.release(std::slice::from_ref(claimed)).await?;
                return Err(Error::Compose(cause));
            }
        };
        let sent = match &self.destination {
            Destination::Directory(directory) => directory::write(directory, notice.event_id, &mail)
                .await
                .map_err(|cause| SendError::ServerUnavailable(cause.to_string())),
            Destination::Server(server) => send_over(server, &mail, connection).await,
        };
        self.settle(claimed, sent).await
    }

    async fn settle(&self, claimed: &Claimed, sent: Result<(), SendError>) -> Result<SendResult, Error> {
        let now = self.clock.now().utc();
        match sent {
            Ok(()) => {
                self.breaker.worked();
                self.record_sent(&claimed.notice).await?;
                Ok(SendResult::Settled)
            }
            Err(SendError::Rejected(why)) => {
                self.breaker.worked();
                self.park(claimed, &why).await?;
                Ok(SendResult::Settled)
            }
            Err(SendError::Deferred(why)) => {
                self.breaker.worked();
                self.retry(claimed, &why).await?;
                Ok(SendResult::Settled)
            }
            Err(SendError::ServerUnavailable(why)) => {
                self.breaker.failed(now);
                tracing::warn!(error = why, "cannot use the mail server; mail waits");
                self.retry(claimed, &why).await?;
                Ok(SendResult::ServerUnavailable)
            }
        }
    }

    /// Tries for long, because without the record the mail would be sent again.
    async fn record_sent(&self, notice: &Notice) -> Result<(), Error> {
        let mut attempts_left = RECORD_ATTEMPTS;
        loop {
            attempts_left -= 1;
            let sent = Finished { notice: *notice, state: "sent", why: None };
            match self.recorder.record(sent).await {
                Ok(()) => break,
                Err(cause) if attempts_left == 0 => {
                    let event_id = notice.event_id;
                    tracing::error!(%event_id, "cannot record that the mail of {event_id} was sent; it will be sent again");
                    return Err(cause.into());
                }
                Err(_) => sleep(RECORD_DELAY).await,
            }
        }
        count(notice, "sent");
        Ok(())
    }

    async fn retry(&self, claimed: &Claimed, why: &str) -> Result<(), Error> {
        match delay_after(claimed.attempts) {
            Some(delay) => {
                let next = self.clock.now().utc() + delay;
                self.outbox.defer(&claimed.notice, why, next).await?;
                count(&claimed.notice, "retried");
                Ok(())
            }
            None => self.park(claimed, &format!("given up after {} attempts: {why}", claimed.attempts)).await,
        }
    }

    /// Parks the mail, then sets its state: in this order, so that a crash parks it twice rather than never.
    async fn park(&self, claimed: &Claimed, why: &str) -> Result<(), Error> {
        let Notice { event_id, position, kind, aggregate_id, .. } = claimed.notice;
        let unhandled = Unhandled {
            position,
            subject: format!("mail.{}", kind.into_str()),
            event_id: Some(event_id),
            aggregate_id: Some(aggregate_id),
            attempts: i64::from(claimed.attempts),
            reason: why.to_owned(),
        };
        self.parked.keep(PARKED_AS, &unhandled).await?;
        tracing::error!(%event_id, reason = why, "parking the mail of {event_id}");
        self.finish(&claimed.notice, "parked", why).await
    }

    async fn finish(&self, notice: &Notice, state: &'static str, why: &str) -> Result<(), Error> {
        self.recorder.record(Finished { notice: *notice, state, why: Some(why.to_owned()) }).await?;
        count(notice, state);
        Ok(())
    }
}

/// Sends `mail` over `connection`, or over a new one.
async fn send_over(
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
    metrics::counter!("offers_mails_total", "mail" => notice.kind.into_str(), "outcome" => outcome)
        .increment(1);
}

/// Whether there was an error.
fn log_error(ended: Result<Result<u32, Error>, JoinError>) -> bool {
    match ended {
        Ok(Ok(_)) => return false,
        Ok(Err(cause)) => {
            tracing::warn!(error = %chain(&cause), "cannot send mail; retrying");
        }
        Err(cause) => tracing::error!(error = %chain(&cause), "sending mail panicked"),
    }
    true
}
