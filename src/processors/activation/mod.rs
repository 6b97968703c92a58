//! Drives one transaction: records the intent, calls the activation system, records the outcome.
//!
//! The intent (`Processing`) is in the log before the first byte is sent, every attempt has the same key, and
//! only a definite answer ends the transaction. Success is one commit with the subscription, rejection is one
//! commit with the refund. After any other answer the transaction stays PROCESSING and is attempted again.

mod attempts;
mod consumer;
mod requeue;
mod sweeper;

pub use consumer::consume_activations;
pub use requeue::RequeuedActivations;
pub use sweeper::Sweeper;

use crate::backoff::{Backoff, jittered};
use crate::clock::Clock;
use crate::event_log::{self, AggregateCommand, EventLog, ExecuteError, LogError, Plan, Rejection, StreamId};
use crate::external::{Activation, ActivationSystem, Request};
use crate::processors::Outcome;
use crate::telemetry::{Kind, Span, chain};
use attempts::InFlight;
use domain::transaction::{ActivationRequested, Command, Error, Transaction};
use domain::{Metadata, SubscriptionId, Timestamp, TransactionId, user_offer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

/// The default limit of concurrent calls.
pub const DEFAULT_CALLS: usize = 256;
/// The delay of a parked transaction in this process: nothing changes by itself.
const PARKED_DELAY: Duration = Duration::from_secs(600);
/// The delay after the log could not be read or written.
const LOG_RETRY: Duration = Duration::from_secs(1);
/// Between attempts without a definite answer.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
const RETRY_JITTER: std::ops::RangeInclusive<f64> = 0.8..=1.2;

fn retry_delay(attempt: u32) -> Duration {
    jittered(RETRY.delay(attempt), RETRY_JITTER)
}

/// The event that requested the transaction.
#[derive(Clone, Debug)]
pub struct Cause {
    pub event_id: Uuid,
    pub requested_at: Timestamp,
    /// Unknown of an old event.
    pub correlation_id: Option<Uuid>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// Drives transactions. Cheap to clone; clones share the table of running attempts.
#[derive(Clone)]
pub struct ActivationProcessor(Arc<Inner>);

struct Inner {
    log: EventLog,
    system: ActivationSystem,
    clock: Clock,
    in_flight: InFlight,
    calls: Semaphore,
}

/// An attempt whose intent was recorded.
struct Attempt {
    id: TransactionId,
    number: u32,
    request: Box<ActivationRequested>,
    cause: Cause,
    metadata: Metadata,
}

impl ActivationProcessor {
    /// `calls` limits concurrent calls.
    #[must_use]
    pub fn new(log: EventLog, system: ActivationSystem, clock: Clock, calls: usize) -> Self {
        let (in_flight, calls) = (InFlight::default(), Semaphore::new(calls));
        Self(Arc::new(Inner { log, system, clock, in_flight, calls }))
    }

    /// Drives the transaction `id` as far as possible now. A missing `cause` is read from the log.
    ///
    /// Safe to call any number of times: nothing happens if the transaction is final, being attempted in
    /// this process or delayed.
    pub async fn drive(&self, id: TransactionId, cause: Option<Cause>) -> Outcome {
        let mut lease = match self.0.in_flight.begin(id) {
            Ok(lease) => lease,
            Err(wait) => return Outcome::RetryAfter(wait),
        };
        let outcome = match self.attempt(id, cause).await {
            Ok(outcome) => outcome,
            Err(error) => after_error(id, &error),
        };
        match &outcome {
            Outcome::Done => {}
            Outcome::RetryAfter(delay) => lease.delay_next(*delay),
            Outcome::Park { .. } => lease.delay_next(PARKED_DELAY),
        }
        outcome
    }

    /// Drives without the delay of an earlier attempt.
    pub async fn drive_now(&self, id: TransactionId) -> Outcome {
        self.0.in_flight.clear_delay(id);
        self.drive(id, None).await
    }

    async fn attempt(&self, id: TransactionId, cause: Option<Cause>) -> Result<Outcome, ExecuteError> {
        let Inner { log, calls, .. } = &*self.0;
        let state = match log.load::<Transaction>(id.0).await?.state {
            Transaction::None => log.reload::<Transaction>(id.0).await?.state,
            known => known,
        };
        let (request, number) = match state {
            Transaction::None => return Ok(park("the log has no such transaction")),
            Transaction::Pending { request } => (request, 1),
            Transaction::Processing { request, attempt } => (request, attempt + 1),
            Transaction::Succeeded { .. } | Transaction::Failed { .. } => return Ok(Outcome::Done),
        };
        let Some(cause) = self.cause_of(id, cause).await? else {
            return Ok(park("the log has no such transaction"));
        };
        let mut span = Span::begin(Kind::Consumer, "activation", cause.traceparent.as_deref());
        span.note("offers.attempt", i64::from(number));
        let metadata = metadata(id, &cause, &span);
        let permit = calls.acquire().await.expect("this semaphore is never closed");
        let intent =
            Plan::new().command(AggregateCommand::Transaction(id, Command::BeginAttempt { attempt: number }));
        match log.commit(&metadata, intent).await? {
            event_log::Outcome::Committed(_) => {
                self.call(Attempt { id, number, request, cause, metadata }, permit).await
            }
            // Another process has just started this attempt; if it dies, the next attempt is ours.
            event_log::Outcome::Unchanged => Ok(Outcome::RetryAfter(retry_delay(number))),
        }
    }

    async fn cause_of(&self, id: TransactionId, cause: Option<Cause>) -> Result<Option<Cause>, LogError> {
        if cause.is_some() {
            return Ok(cause);
        }
        let events = self.0.log.stream(StreamId::of::<Transaction>(id.0)).await?;
        Ok(events.first().map(|first| {
            let metadata = serde_json::from_str::<Metadata>(&first.metadata).ok();
            let correlation_id = metadata.as_ref().map(|metadata| metadata.correlation_id);
            Cause {
                event_id: first.event_id,
                requested_at: first.recorded_at,
                correlation_id: correlation_id.filter(|id| !id.is_nil()),
                traceparent: metadata.and_then(|metadata| metadata.traceparent),
            }
        }))
    }

    /// Calls the activation system and records a definite answer.
    async fn call(&self, attempt: Attempt, permit: SemaphorePermit<'_>) -> Result<Outcome, ExecuteError> {
        let ActivationRequested { user_id, offer_id, amount, kind, .. } = &*attempt.request;
        let request = Request {
            transaction_id: attempt.id.0,
            user_id: user_id.0,
            offer_id: offer_id.0,
            amount: amount.to_string(),
            kind: kind.as_ref(),
        };
        let gauge = metrics::gauge!("offers_activation_calls_in_flight");
        gauge.increment(1);
        let answer = self.0.system.activate(&request, attempt.metadata.traceparent.as_deref()).await;
        gauge.decrement(1);
        drop(permit); // another call may start while the outcome is written
        metrics::counter!("offers_activation_attempts_total", "answer" => answer_label(&answer)).increment(1);
        match answer {
            Activation::Activated { reference } => self.succeed(&attempt, reference).await,
            Activation::Rejected { code, message } => {
                let command = AggregateCommand::Transaction(attempt.id, Command::Fail { code, message });
                self.finish(&attempt, Plan::new().command(command), "FAILED").await
            }
            Activation::RetryAfter(wait) => Ok(Outcome::RetryAfter(wait.max(retry_delay(attempt.number)))),
            Activation::Pending => Ok(Outcome::RetryAfter(retry_delay(attempt.number))),
            Activation::NotSent { detail } | Activation::Unknown { detail } => {
                let (id, number) = (attempt.id, attempt.number);
                tracing::info!(transaction_id = %id, attempt = number, detail, "attempt {number} of {id}: {detail}");
                Ok(Outcome::RetryAfter(retry_delay(number)))
            }
        }
    }

    async fn succeed(&self, attempt: &Attempt, reference: String) -> Result<Outcome, ExecuteError> {
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
    ) -> Result<Outcome, ExecuteError> {
        let outcome = self.0.log.commit(&attempt.metadata, plan).await?;
        if let event_log::Outcome::Committed(committed) = outcome {
            let took = committed.recorded_at.utc() - attempt.cause.requested_at.utc();
            let took = took.to_std().unwrap_or_default().as_secs_f64();
            metrics::histogram!("activation_processing_seconds", "status" => status).record(took);
        }
        Ok(Outcome::Done)
    }
}

/// The metadata of the attempt's events: with the trace context of `span`, or of the cause if tracing is off.
fn metadata(id: TransactionId, cause: &Cause, span: &Span) -> Metadata {
    Metadata {
        causation_id: Some(cause.event_id.to_string()),
        traceparent: span.traceparent().or_else(|| cause.traceparent.clone()),
        ..Metadata::system("activation", cause.correlation_id.unwrap_or(id.0))
    }
}

/// What to do after the log refused an attempt.
fn after_error(id: TransactionId, error: &ExecuteError) -> Outcome {
    match error {
        ExecuteError::Rejected(Rejection::Transaction(Error::AlreadySucceeded | Error::AlreadyFailed)) => {
            Outcome::Done // another process was faster
        }
        ExecuteError::Rejected(Rejection::Transaction(Error::NeverRequested)) => {
            park("the log has no such transaction")
        }
        ExecuteError::Rejected(Rejection::Transaction(Error::AttemptOutOfOrder)) => {
            Outcome::RetryAfter(LOG_RETRY)
        }
        ExecuteError::Rejected(rejection) => park(&rejection.to_string()),
        ExecuteError::Log(LogError::Unreadable(unknown)) => park(&unknown.to_string()),
        ExecuteError::Log(LogError::Broken { .. }) => park(&error.to_string()),
        other => {
            tracing::warn!(transaction_id = %id, error = %chain(&other), "cannot read or write the log for {id}; retrying: {other}");
            Outcome::RetryAfter(LOG_RETRY)
        }
    }
}

fn park(reason: &str) -> Outcome {
    Outcome::Park { reason: reason.to_owned() }
}

/// The label of the answer in metrics.
fn answer_label(answer: &Activation) -> &'static str {
    match answer {
        Activation::Activated { .. } => "activated",
        Activation::Pending => "pending",
        Activation::Rejected { .. } => "rejected",
        Activation::RetryAfter(_) => "retry_after",
        Activation::NotSent { .. } => "not_sent",
        Activation::Unknown { .. } => "unknown",
    }
}
