//! Brings one purchase a step further: intent, call, outcome.
//!
//! The intent (`Processing`) is in the log before the first byte is sent, every attempt has the same
//! key, and only a certain answer ends the purchase. A certain yes is one commit with the subscription
//! it pays for, a certain no one with the refund; after anything else it stays PROCESSING and is tried
//! again.

mod attempts;
mod consumer;
mod requeue;
mod sweeper;

pub use consumer::consume_activations;
pub use requeue::Resumption;
pub use sweeper::Sweeper;

use crate::backoff::{Backoff, jittered};
use crate::bus::{Delivery, Verdict};
use crate::clock::Clock;
use crate::event_log::{
    AggregateCommand, EventLog, ExecuteError, LogError, Outcome, Plan, Rejection, StreamId,
};
use crate::external::{Activation, ActivationSystem, Request};
use crate::telemetry::{Kind, Span, chain};
use attempts::Attempts;
use domain::transaction::{ActivationRequested, Command, Error, Transaction};
use domain::{Metadata, SubscriptionId, Timestamp, TransactionId, user_offer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

/// How many calls may be under way at once unless configured otherwise.
pub const DEFAULT_CALLS: usize = 256;
/// One that cannot be handled is left alone by this process for so long: nothing changes by itself.
const PARKED_REST: Duration = Duration::from_secs(600);
/// The log could not be read or written: try again after this.
const LOG_PAUSE: Duration = Duration::from_secs(1);
/// Between attempts that brought no certain answer.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
const RETRY_JITTER: std::ops::RangeInclusive<f64> = 0.8..=1.2;

fn retry_delay(attempt: u32) -> Duration {
    jittered(RETRY.delay(attempt), RETRY_JITTER)
}

/// Why a purchase is being worked on: the event that asked for it.
#[derive(Clone, Debug)]
pub struct Cause {
    /// That event.
    pub event_id: Uuid,
    /// When it was recorded.
    pub requested_at: Timestamp,
    /// The chain it belongs to.
    pub correlation_id: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl From<&Delivery> for Cause {
    fn from(delivery: &Delivery) -> Self {
        Self {
            event_id: delivery.event_id,
            requested_at: delivery.recorded_at,
            correlation_id: delivery.correlation_id.clone(),
            traceparent: delivery.traceparent.clone(),
        }
    }
}

/// Drives purchases. Cheap to clone; clones share what they are busy with.
#[derive(Clone)]
pub struct ActivationProcessor(Arc<Inner>);

struct Inner {
    log: EventLog,
    system: ActivationSystem,
    clock: Clock,
    attempts: Attempts,
    calls: Semaphore,
}

/// One attempt that was recorded.
struct Attempt {
    id: TransactionId,
    number: u32,
    request: Box<ActivationRequested>,
    cause: Cause,
    metadata: Metadata,
}

impl ActivationProcessor {
    /// A processor that makes at most `calls` calls at once.
    #[must_use]
    pub fn new(log: EventLog, system: ActivationSystem, clock: Clock, calls: usize) -> Self {
        let (attempts, calls) = (Attempts::default(), Semaphore::new(calls));
        Self(Arc::new(Inner { log, system, clock, attempts, calls }))
    }

    /// Brings the purchase `id` as far as it goes now. `cause` is looked up when it is not known.
    ///
    /// Safe to call any number of times, from anywhere: one that is final, busy in this process or at
    /// rest after an attempt is left alone.
    pub async fn drive(&self, id: TransactionId, cause: Option<Cause>) -> Verdict {
        let mut turn = match self.0.attempts.begin(id) {
            Ok(turn) => turn,
            Err(wait) => return Verdict::RetryAfter(wait),
        };
        let verdict = match self.attempt(id, cause).await {
            Ok(verdict) => verdict,
            Err(error) => self.after(id, &error),
        };
        match &verdict {
            Verdict::Done => {}
            Verdict::RetryAfter(rest) => turn.then_rest(*rest),
            Verdict::Park { .. } => turn.then_rest(PARKED_REST),
        }
        verdict
    }

    /// The same at once, whatever rest it was given.
    pub async fn drive_now(&self, id: TransactionId) -> Verdict {
        self.0.attempts.wake(id);
        self.drive(id, None).await
    }

    async fn attempt(&self, id: TransactionId, cause: Option<Cause>) -> Result<Verdict, ExecuteError> {
        let Inner { log, calls, .. } = &*self.0;
        let state = match log.load::<Transaction>(id.0).await?.state {
            Transaction::None => log.reload::<Transaction>(id.0).await?.state,
            known => known,
        };
        let (request, number) = match state {
            Transaction::None => return Ok(park("the log has no such transaction")),
            Transaction::Pending { request } => (request, 1),
            Transaction::Processing { request, attempt } => (request, attempt + 1),
            Transaction::Succeeded { .. } | Transaction::Failed { .. } => return Ok(Verdict::Done),
        };
        let Some(cause) = self.known_or_found(id, cause).await? else {
            return Ok(park("the log has no such transaction"));
        };
        let mut span = Span::begin(Kind::Consumer, "activation", cause.traceparent.as_deref());
        span.note("offers.attempt", i64::from(number));
        let metadata = metadata(id, &cause, &span);
        let place = calls.acquire().await.expect("nobody closes this semaphore");
        let intent =
            Plan::new().command(AggregateCommand::Transaction(id, Command::BeginAttempt { attempt: number }));
        match log.commit(&metadata, intent).await? {
            Outcome::Committed(_) => self.call(Attempt { id, number, request, cause, metadata }, place).await,
            // Somebody else has just begun this attempt; should that one die, the next is ours.
            Outcome::Unchanged => Ok(Verdict::RetryAfter(retry_delay(number))),
        }
    }

    async fn known_or_found(
        &self,
        id: TransactionId,
        cause: Option<Cause>,
    ) -> Result<Option<Cause>, LogError> {
        if cause.is_some() {
            return Ok(cause);
        }
        let events = self.0.log.stream(StreamId::of::<Transaction>(id.0)).await?;
        Ok(events.first().map(|first| {
            let metadata: Metadata = serde_json::from_str(&first.metadata).unwrap_or_default();
            Cause {
                event_id: first.event_id,
                requested_at: first.recorded_at,
                correlation_id: metadata.correlation_id,
                traceparent: metadata.traceparent,
            }
        }))
    }

    /// Asks the activation system and records what is certain.
    async fn call(&self, attempt: Attempt, place: SemaphorePermit<'_>) -> Result<Verdict, ExecuteError> {
        let ActivationRequested { user_id, offer_id, amount, kind, .. } = &*attempt.request;
        let request = Request {
            transaction_id: attempt.id.0,
            user_id: user_id.0,
            offer_id: offer_id.0,
            amount: amount.to_string(),
            kind: kind.as_str(),
        };
        let gauge = metrics::gauge!("offers_activation_calls_in_flight");
        gauge.increment(1);
        let answer = self.0.system.activate(&request, attempt.metadata.traceparent.as_deref()).await;
        gauge.decrement(1);
        drop(place); // somebody else may call while the outcome is written
        metrics::counter!("offers_activation_attempts_total", "answer" => word(&answer)).increment(1);
        match answer {
            Activation::Activated { reference } => self.succeed(&attempt, reference).await,
            Activation::Rejected { code, message } => {
                let command = AggregateCommand::Transaction(attempt.id, Command::Fail { code, message });
                self.finish(&attempt, Plan::new().command(command), "FAILED").await
            }
            Activation::RetryAfter(wait) => Ok(Verdict::RetryAfter(wait.max(retry_delay(attempt.number)))),
            Activation::Pending => Ok(Verdict::RetryAfter(retry_delay(attempt.number))),
            Activation::NotSent { detail } | Activation::Unknown { detail } => {
                let (id, number) = (attempt.id, attempt.number);
                tracing::info!(transaction_id = %id, attempt = number, detail, "attempt {number} of {id}: {detail}");
                Ok(Verdict::RetryAfter(retry_delay(number)))
            }
        }
    }

    async fn succeed(&self, attempt: &Attempt, reference: String) -> Result<Verdict, ExecuteError> {
        let (id, at) = (attempt.id, self.0.clock.now());
        let ActivationRequested { user_id, offer_id, duration_days, subscription_id, .. } = &*attempt.request;
        let (transaction_id, duration_days) = (id, *duration_days);
        let plan = Plan::new().command(AggregateCommand::Transaction(id, Command::Succeed { reference }));
        let plan = match subscription_id {
            Some(subscription) => plan.command(AggregateCommand::UserOffer(
                *subscription,
                user_offer::Command::Renew { transaction_id, duration_days, at },
            )),
            None => {
                let (user_id, offer_id) = (*user_id, *offer_id);
                let activate =
                    user_offer::Command::Activate { user_id, offer_id, transaction_id, duration_days, at };
                plan.first_command(AggregateCommand::UserOffer(SubscriptionId::started_by(id), activate))
            }
        };
        self.finish(attempt, plan, "SUCCESS").await
    }

    async fn finish(
        &self,
        attempt: &Attempt,
        plan: Plan,
        status: &'static str,
    ) -> Result<Verdict, ExecuteError> {
        let outcome = self.0.log.commit(&attempt.metadata, plan).await?;
        if let Outcome::Committed(committed) = outcome {
            let took = committed.recorded_at.utc() - attempt.cause.requested_at.utc();
            let took = took.to_std().unwrap_or_default().as_secs_f64();
            metrics::histogram!("activation_processing_seconds", "status" => status).record(took);
        }
        Ok(Verdict::Done)
    }

    /// What is to be done about an attempt that the log did not take.
    fn after(&self, id: TransactionId, error: &ExecuteError) -> Verdict {
        match error {
            ExecuteError::Rejected(Rejection::Transaction(
                Error::AlreadySucceeded | Error::AlreadyFailed,
            )) => {
                Verdict::Done // somebody else was faster
            }
            ExecuteError::Rejected(Rejection::Transaction(Error::NeverRequested)) => {
                park("the log has no such transaction")
            }
            ExecuteError::Rejected(Rejection::Transaction(Error::AttemptOutOfOrder)) => {
                Verdict::RetryAfter(LOG_PAUSE)
            }
            ExecuteError::Rejected(rejection) => park(&rejection.to_string()),
            ExecuteError::Log(LogError::Unreadable(unknown)) => park(&unknown.to_string()),
            ExecuteError::Log(LogError::Broken { .. }) => park(&error.to_string()),
            other => {
                tracing::warn!(transaction_id = %id, error = %chain(&other), "{id} waits for the log: {other}");
                Verdict::RetryAfter(LOG_PAUSE)
            }
        }
    }
}

/// What is written on the way belongs to `span`, or to the cause's while tracing is off.
fn metadata(id: TransactionId, cause: &Cause, span: &Span) -> Metadata {
    Metadata {
        correlation_id: Some(cause.correlation_id.clone().unwrap_or_else(|| id.to_string())),
        causation_id: Some(cause.event_id.to_string()),
        traceparent: span.traceparent().or_else(|| cause.traceparent.clone()),
        ..Metadata::system("activation")
    }
}

fn park(reason: &str) -> Verdict {
    Verdict::Park { reason: reason.to_owned() }
}

/// The answer as metrics name it.
fn word(answer: &Activation) -> &'static str {
    match answer {
        Activation::Activated { .. } => "activated",
        Activation::Pending => "pending",
        Activation::Rejected { .. } => "rejected",
        Activation::RetryAfter(_) => "retry_after",
        Activation::NotSent { .. } => "not_sent",
        Activation::Unknown { .. } => "unknown",
    }
}
