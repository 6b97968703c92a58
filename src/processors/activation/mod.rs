//! Drives one transaction: records the intent, calls the activation system, records the outcome.
//!
//! The intent (`Processing`, `CancelRequested`) is in the log before the first byte is sent, every attempt has the same
//! key, and only a definite answer ends the transaction. Success is one commit with the subscription, rejection is one
//! commit with the refund.
//!
//! An attempt without a definite answer is recorded with its evidence. Unless it certainly had no effect, the
//! activation system is asked how the activation stands before the next attempt. When the deadline has passed, the
//! activation is cancelled there, and only the confirmation refunds; if no attempt can have reached the activation
//! system, the refund needs no cancellation.

mod attempts;
mod breaker;
mod calls;
mod consumer;
mod next;
mod permission;
pub(super) mod rechecks;
mod record;
mod requeue;
mod resume;
mod success;
mod sweeper;

pub use consumer::consume_activations;
pub use rechecks::Rechecks;
pub use requeue::RequeuedActivations;
pub use success::success;
pub use sweeper::Sweeper;

use crate::clock::Clock;
use crate::event_log::{AggregateCommand, EventLog, ExecuteError, LogError, Plan, StreamId};
use crate::external::ActivationSystem;
use crate::processors::Outcome;
use crate::telemetry::{Kind, Span};
use attempts::InFlight;
use breaker::Breaker;
use domain::transaction::{ActivationRequested, Calls, Command, Transaction};
use domain::{Metadata, Recorded, Timestamp, TransactionId};
use next::{Next, outcome, park};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// The default limit of concurrent calls.
pub const DEFAULT_CALLS: usize = 256;

/// The limits of a processor.
#[derive(Clone, Copy, Debug)]
pub struct ActivationLimits {
    /// Concurrent calls.
    pub calls: usize,
    /// From the request, or from a person's order to retry, until it is cancelled and refunded.
    pub deadline: Duration,
}

impl Default for ActivationLimits {
    fn default() -> Self {
        Self { calls: DEFAULT_CALLS, deadline: Duration::from_secs(15 * 60) }
    }
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
    breaker: Breaker,
    calls: Semaphore,
    most_calls: usize,
    deadline: Duration,
}

/// A transaction that is being driven.
struct Work {
    id: TransactionId,
    request: Box<ActivationRequested>,
    /// The last attempt that has begun; 0 before the first.
    attempt: u32,
    cause: Cause,
    metadata: Metadata,
}

impl Work {
    fn traceparent(&self) -> Option<&str> {
        self.metadata.traceparent.as_deref()
    }

    fn plan(&self, command: Command) -> Plan {
        Plan::new().command(AggregateCommand::Transaction(self.id, command))
    }
}

impl ActivationProcessor {
    #[must_use]
    pub fn new(log: EventLog, system: ActivationSystem, clock: Clock, limits: ActivationLimits) -> Self {
        let (in_flight, breaker) = (InFlight::default(), Breaker::default());
        let ActivationLimits { calls: most_calls, deadline } = limits;
        let calls = Semaphore::new(most_calls);
        Self(Arc::new(Inner { log, system, clock, in_flight, breaker, calls, most_calls, deadline }))
    }

    /// Drives the transaction `id` as far as possible now. A missing `cause` is read from the log.
    ///
    /// Safe to call any number of times: nothing happens if the transaction is final, being attempted in
    /// this process or delayed.
    pub async fn drive(&self, id: TransactionId, cause: Option<Cause>) -> Outcome {
        let requested_at = cause.as_ref().map(|cause| cause.requested_at);
        self.with_lease(id, Box::pin(self.next(id, cause, requested_at))).await
    }

    /// The same for a transaction of which it is known when it was requested.
    pub(super) async fn drive_unfinished(&self, id: TransactionId, requested_at: Timestamp) -> Outcome {
        self.with_lease(id, Box::pin(self.next(id, None, Some(requested_at)))).await
    }

    /// Whether it is being attempted in this process.
    pub(super) fn is_running(&self, id: TransactionId) -> bool {
        self.0.in_flight.is_running(id)
    }

    /// Drives without the delay of an earlier attempt.
    pub async fn drive_now(&self, id: TransactionId) -> Outcome {
        self.0.in_flight.clear_delay(id);
        self.drive(id, None).await
    }

    /// Asks the activation system once more about a transaction that has failed without a rejection, and records
    /// a success that it tells of.
    pub async fn recheck(&self, id: TransactionId) -> Outcome {
        self.with_lease(id, Box::pin(self.look_up_failed(id))).await
    }

    /// Does `step` unless the transaction is being attempted in this process or delayed.
    async fn with_lease(
        &self,
        id: TransactionId,
        step: impl Future<Output = Result<Next, ExecuteError>>,
    ) -> Outcome {
        let mut lease = match self.0.in_flight.begin(id) {
            Ok(lease) => lease,
            Err(wait) => return Outcome::RetryAfter(wait),
        };
        outcome(id, &mut lease, step).await
    }

    async fn next(
        &self,
        id: TransactionId,
        cause: Option<Cause>,
        requested_at: Option<Timestamp>,
    ) -> Result<Next, ExecuteError> {
        let log = &self.0.log;
        let state = match log.load::<Transaction>(id.0).await?.state {
            Transaction::None => log.reload::<Transaction>(id.0).await?.state,
            known => known,
        };
        let (request, attempt, calls) = match state {
            Transaction::None => return Ok(park("the log has no such transaction")),
            Transaction::Pending { request } => (request, 0, Calls::default()),
            Transaction::Processing { request, attempt, calls } => (request, attempt, calls),
            Transaction::Succeeded { .. } | Transaction::Failed { .. } => return Ok(Next::Nothing),
        };
        // Only what is given up needs no call. So nothing is read while none would be let through.
        let needs_call = calls.may_be_done() || requested_at.is_some_and(|at| !self.is_past_deadline(at));
        if needs_call && let Err(wait) = self.0.breaker.wait(Instant::now()) {
            return Ok(Next::Wait(wait));
        }
        let Some(cause) = self.cause_of(id, cause).await? else {
            return Ok(park("the log has no such transaction"));
        };
        let mut span = Span::begin(Kind::Consumer, "activation", cause.traceparent.as_deref());
        span.note("offers.attempt", i64::from(attempt + 1));
        let metadata = metadata(id, &cause, &span);
        let work = Work { id, request, attempt, cause, metadata };
        match (self.is_overdue(&work).await?, calls.may_be_done()) {
            (false, false) => self.activate(work).await,
            (false, true) => self.look_up(work).await,
            (true, false) => self.give_up(work).await,
            (true, true) => self.cancel(work).await,
        }
    }

    fn is_past_deadline(&self, from: Timestamp) -> bool {
        let now = self.0.clock.now();
        (now.utc() - from.utc()).to_std().is_ok_and(|age| age >= self.0.deadline)
    }

    /// Whether the deadline has passed, which begins again when a person orders a retry.
    async fn is_overdue(&self, work: &Work) -> Result<bool, LogError> {
        if !self.is_past_deadline(work.cause.requested_at) {
            return Ok(false);
        }
        let events = self.0.log.stream(StreamId::of::<Transaction>(work.id.0)).await?;
        Ok(!events.iter().any(|event| is_retry(event) && !self.is_past_deadline(event.recorded_at)))
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
}

/// Whether a person ordered a retry by this event.
fn is_retry(event: &Recorded) -> bool {
    event.event_type == "RetryRequested"
}

/// The metadata of the attempt's events: with the trace context of `span`, or of the cause if tracing is off.
fn metadata(id: TransactionId, cause: &Cause, span: &Span) -> Metadata {
    Metadata {
        causation_id: Some(cause.event_id.to_string()),
        traceparent: span.traceparent().or_else(|| cause.traceparent.clone()),
        ..Metadata::system("activation", cause.correlation_id.unwrap_or(id.0))
    }
}
