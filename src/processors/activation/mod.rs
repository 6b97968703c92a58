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
mod consumer;
pub(super) mod rechecks;
mod requeue;
mod resume;
mod success;
mod sweeper;

pub use consumer::consume_activations;
pub use rechecks::Rechecks;
pub use requeue::RequeuedActivations;
pub use success::success;
pub use sweeper::Sweeper;

use crate::backoff::{Backoff, jittered};
use crate::clock::Clock;
use crate::event_log::{
    self, AggregateCommand, EventLog, ExecuteError, LogError, Plan, Rejection as Rejected, StreamId,
};
use crate::external::{Activation, ActivationSystem, Cancellation, Inconclusive, LookUp, Rejection, Request};
use crate::failpoint::{Step, failpoint};
use crate::processors::Outcome;
use crate::telemetry::{Kind, Span, chain};
use attempts::{AttemptLease, InFlight};
use breaker::{Admission, Breaker};
use domain::transaction::{
    self, ActivationRequested, Answer, AttemptKind, Calls, Command, Error, Evidence, Transaction,
};
use domain::{Metadata, Recorded, Timestamp, TransactionId};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;
use uuid::Uuid;

/// The default limit of concurrent calls.
pub const DEFAULT_CALLS: usize = 256;
/// The delay of a parked transaction in this process: nothing changes by itself.
const PARKED_DELAY: Duration = Duration::from_secs(600);
/// The delay after the log could not be read or written.
const LOG_RETRY: Duration = Duration::from_secs(1);
/// Failures of ours in a row, about one transaction, after which it is parked: that takes some four minutes.
const FAULTS_MAX: u32 = 10;
/// How often a late answer is written before it is given up.
const LATE_TRIES: u32 = 5;
/// Between calls without a definite answer, and between failures of ours.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
const RETRY_JITTER: std::ops::RangeInclusive<f64> = 0.8..=1.2;

/// What a user is told of a cancelled activation.
const CANCELLED_MESSAGE: &str = "It could not be activated in time, and was cancelled";

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

/// What is to be done next about a transaction.
enum Next {
    /// It is final.
    Nothing,
    /// Nothing certain was learnt: drive it again, later and later, and not before the activation system wants it.
    Retry {
        not_before: Option<Duration>,
    },
    /// Nothing was tried: drive it again after this delay.
    Wait(Duration),
    /// It failed for a reason of ours, which may pass: drive it again, but not for ever.
    Fault {
        reason: String,
    },
    Park {
        reason: String,
    },
}

/// Nothing certain was learnt.
const RETRY_LATER: Next = Next::Retry { not_before: None };

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
            (true, false) => self.finish(&work, work.plan(Command::GiveUp), "FAILED").await,
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

    /// Records the intent, then asks for the activation and records its end.
    async fn activate(&self, work: Work) -> Result<Next, ExecuteError> {
        let attempt = work.attempt + 1;
        let permission = match self.permission().await {
            Ok(permission) => permission,
            Err(wait) => return Ok(Next::Wait(wait)),
        };
        let intent = work.plan(Command::BeginAttempt { attempt });
        let work = match self.0.log.commit(&work.metadata, intent).await? {
            event_log::Outcome::Committed(_) => Work { attempt, ..work },
            // Another process has just started this attempt; if it dies, the next attempt is ours.
            event_log::Outcome::Unchanged => return Ok(RETRY_LATER),
        };
        failpoint(Step::IntentCommitted);
        let ActivationRequested { user_id, offer_id, amount, kind, .. } = &*work.request;
        let request = Request {
            transaction_id: work.id.0,
            user_id: user_id.0,
            offer_id: offer_id.0,
            amount: amount.to_string(),
            kind: kind.as_ref(),
        };
        let gauge = metrics::gauge!("offers_activation_calls_in_flight");
        gauge.increment(1);
        let answer = self.0.system.activate(&request, work.traceparent()).await;
        failpoint(Step::Called);
        gauge.decrement(1);
        permission.ended(answer.inconclusive()); // another call may start while the outcome is written
        metrics::counter!("offers_activation_attempts_total", "answer" => answer_label(&answer)).increment(1);
        let kind = AttemptKind::Activate;
        match answer {
            Activation::Activated { reference } => self.succeed(&work, kind, reference).await,
            Activation::Rejected(rejection) => self.fail(&work, kind, rejection).await,
            Activation::Pending => Ok(RETRY_LATER),
            Activation::Inconclusive(call) => self.record(&work, kind, call).await,
        }
    }

    /// Asks how the activation stands, and for the activation itself if it has never been seen.
    async fn look_up(&self, mut work: Work) -> Result<Next, ExecuteError> {
        let permission = match self.permission().await {
            Ok(permission) => permission,
            Err(wait) => return Ok(Next::Wait(wait)),
        };
        if !self.is_still_open(&mut work).await? {
            return Ok(Next::Nothing);
        }
        let answer = self.0.system.look_up(work.id.0, work.traceparent()).await;
        failpoint(Step::LookedUp);
        permission.ended(answer.inconclusive());
        let kind = AttemptKind::LookUp;
        match answer {
            LookUp::Activated { reference } => self.succeed(&work, kind, reference).await,
            LookUp::Rejected(rejection) => self.fail(&work, kind, rejection).await,
            LookUp::Pending => Ok(RETRY_LATER),
            LookUp::NotSeen => self.activate(work).await,
            LookUp::Inconclusive(call) => self.record(&work, kind, call).await,
        }
    }

    /// Records the intent, then asks that the activation never be done: the fence before the refund. If the answer says
    /// nothing definite, a look-up may.
    async fn cancel(&self, work: Work) -> Result<Next, ExecuteError> {
        let permission = match self.permission().await {
            Ok(permission) => permission,
            Err(wait) => return Ok(Next::Wait(wait)),
        };
        // Refused if it has ended. Unchanged if a cancellation was begun before: that is decided by the log itself, too.
        self.0.log.commit(&work.metadata, work.plan(Command::BeginCancellation)).await?;
        failpoint(Step::CancelIntentCommitted);
        let answer = self.0.system.cancel(work.id.0, work.traceparent()).await;
        failpoint(Step::Cancelled);
        let looked_up = match answer.inconclusive() {
            Some(call) if call.evidence == Evidence::Answered => {
                Some(self.0.system.look_up(work.id.0, work.traceparent()).await)
            }
            _ => None,
        };
        permission.ended(answer.inconclusive());
        let kind = AttemptKind::Cancel;
        match (answer, looked_up) {
            (_, Some(LookUp::Activated { reference })) => {
                self.succeed(&work, AttemptKind::LookUp, reference).await
            }
            (_, Some(LookUp::Rejected(rejection))) => self.fail(&work, AttemptKind::LookUp, rejection).await,
            (Cancellation::Cancelled, _) => {
                let (code, message) = (transaction::CANCELLED.to_owned(), CANCELLED_MESSAGE.to_owned());
                self.fail(&work, kind, Rejection { code, message }).await
            }
            (Cancellation::TooLate { reference }, _) => self.succeed(&work, kind, reference).await,
            (Cancellation::Rejected(rejection), _) => self.fail(&work, kind, rejection).await,
            (Cancellation::Inconclusive(call), _) => self.record(&work, kind, call).await,
        }
    }

    /// Whether the transaction is still open, by the log itself: no commit goes before a look-up, which would find a
    /// stale state out.
    async fn is_still_open(&self, work: &mut Work) -> Result<bool, LogError> {
        match self.0.log.reload::<Transaction>(work.id.0).await?.state {
            Transaction::Processing { attempt, .. } => {
                work.attempt = attempt;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn look_up_failed(&self, id: TransactionId) -> Result<Next, ExecuteError> {
        let Transaction::Failed { request, .. } = self.0.log.reload::<Transaction>(id.0).await?.state else {
            return Ok(Next::Nothing);
        };
        let Some(cause) = self.cause_of(id, None).await? else { return Ok(Next::Nothing) };
        let span = Span::begin(Kind::Consumer, "recheck", cause.traceparent.as_deref());
        let metadata = metadata(id, &cause, &span);
        let work = Work { id, request, attempt: 0, cause, metadata };
        // Old transactions say nothing about how new ones go: the breaker is obeyed and not told.
        let _place = self.place().await;
        if let Err(wait) = self.0.breaker.wait(Instant::now()) {
            return Ok(Next::Wait(wait));
        }
        match self.0.system.look_up(id.0, work.traceparent()).await {
            LookUp::Activated { reference } => {
                self.record_late(&work, AttemptKind::LookUp, Answer::Activated, reference).await
            }
            LookUp::Rejected(_) | LookUp::NotSeen => Ok(Next::Nothing),
            LookUp::Pending => Ok(RETRY_LATER),
            LookUp::Inconclusive(call) => Ok(Next::Retry { not_before: call.retry_after }),
        }
    }

    async fn place(&self) -> SemaphorePermit<'_> {
        self.0.calls.acquire().await.expect("this semaphore is never closed")
    }

    /// The right to make a call, or how long to wait for one.
    async fn permission(&self) -> Result<Permission<'_>, Duration> {
        let place = self.place().await;
        Ok(Permission { _place: place, admission: self.0.breaker.admit(Instant::now())? })
    }

    /// Records a call without a definite answer.
    async fn record(&self, work: &Work, kind: AttemptKind, call: Inconclusive) -> Result<Next, ExecuteError> {
        let (id, attempt, not_before) = (work.id, work.attempt, call.retry_after);
        let Inconclusive { evidence, detail, .. } = call;
        tracing::info!(transaction_id = %id, attempt, kind = kind.as_ref(), detail, "attempt {attempt} of {id}: {detail}");
        let failed = Command::RecordFailedAttempt { attempt, kind, evidence, detail };
        self.0.log.commit(&work.metadata, work.plan(failed)).await?;
        failpoint(Step::AttemptRecorded);
        Ok(Next::Retry { not_before })
    }

    /// Records a success that `told` was answered with.
    async fn succeed(&self, work: &Work, told: AttemptKind, reference: String) -> Result<Next, ExecuteError> {
        let end = Command::Succeed { reference: reference.clone() };
        let plan = success(work.id, &work.request, end, self.0.clock.now());
        match self.finish(work, plan, "SUCCESS").await {
            Err(error) if is_final(&error) => {
                self.record_late(work, told, Answer::Activated, reference).await
            }
            finished => finished,
        }
    }

    /// Records a failure that `told` was answered with.
    async fn fail(&self, work: &Work, told: AttemptKind, rejection: Rejection) -> Result<Next, ExecuteError> {
        let Rejection { code, message } = rejection;
        let end = Command::Fail { code: code.clone(), message };
        match self.finish(work, work.plan(end), "FAILED").await {
            Err(error) if is_final(&error) => self.record_late(work, told, Answer::Rejected, code).await,
            finished => finished,
        }
    }

    async fn finish(&self, work: &Work, plan: Plan, status: &'static str) -> Result<Next, ExecuteError> {
        let outcome = self.0.log.commit(&work.metadata, plan).await?;
        failpoint(Step::OutcomeCommitted);
        if let event_log::Outcome::Committed(committed) = outcome {
            let took = committed.recorded_at.utc() - work.cause.requested_at.utc();
            let took = took.to_std().unwrap_or_default().as_secs_f64();
            metrics::histogram!("activation_processing_seconds", "status" => status).record(took);
        }
        Ok(Next::Nothing)
    }

    /// Records an answer that came after the end. Nothing else follows from it, and nothing brings it back, so
    /// the commit is tried again here.
    async fn record_late(
        &self,
        work: &Work,
        told: AttemptKind,
        answer: Answer,
        detail: String,
    ) -> Result<Next, ExecuteError> {
        let id = work.id;
        let late = work.plan(Command::RecordLateAnswer { kind: told, answer, detail: detail.clone() });
        for _ in 1..LATE_TRIES {
            match self.0.log.commit(&work.metadata, late.clone()).await {
                Err(ExecuteError::Log(error)) => {
                    tracing::warn!(transaction_id = %id, error = %chain(&error), "cannot record a late answer of {id}; retrying");
                    sleep(LOG_RETRY).await;
                }
                committed => {
                    if let event_log::Outcome::Committed(_) = committed? {
                        tracing::error!(transaction_id = %id, answer = answer.as_ref(), detail, "the activation system contradicts the end of {id}");
                    }
                    return Ok(Next::Nothing);
                }
            }
        }
        self.0.log.commit(&work.metadata, late).await?;
        Ok(Next::Nothing)
    }
}

/// Does `step`, delays what follows, and says what that is. A panic is a defect: it would panic again.
async fn outcome(
    id: TransactionId,
    lease: &mut AttemptLease<'_>,
    step: impl Future<Output = Result<Next, ExecuteError>>,
) -> Outcome {
    let next = match AssertUnwindSafe(step).catch_unwind().await {
        Ok(next) => next.unwrap_or_else(|error| after_error(id, &error)),
        Err(_) => park("handling it panicked"),
    };
    let mut may_end_early = false;
    let outcome = match next {
        Next::Nothing => return Outcome::Done,
        Next::Retry { not_before } => {
            may_end_early = not_before.is_none();
            let delay = jittered(RETRY.delay(lease.count_failure()), RETRY_JITTER);
            Outcome::RetryAfter(delay.max(not_before.unwrap_or_default()))
        }
        Next::Wait(delay) => {
            may_end_early = true;
            Outcome::RetryAfter(delay)
        }
        Next::Fault { reason } => match lease.count_fault() {
            FAULTS_MAX.. => Outcome::Park { reason: format!("failed {FAULTS_MAX} times: {reason}") },
            faults => Outcome::RetryAfter(jittered(RETRY.delay(faults), RETRY_JITTER)),
        },
        Next::Park { reason } => Outcome::Park { reason },
    };
    match &outcome {
        Outcome::RetryAfter(delay) if may_end_early => lease.delay_for_an_answer(*delay),
        Outcome::RetryAfter(delay) => lease.delay_next(*delay),
        Outcome::Done | Outcome::Park { .. } => lease.delay_next(PARKED_DELAY),
    }
    outcome
}

/// The right to make one call.
struct Permission<'a> {
    _place: SemaphorePermit<'a>,
    admission: Admission<'a>,
}

impl Permission<'_> {
    /// The call has ended, and `call` is what is known of it when it had no definite answer.
    fn ended(self, call: Option<&Inconclusive>) {
        match call {
            Some(call) => self.admission.failed(Instant::now(), call.retry_after),
            None => self.admission.answered(),
        }
    }
}

/// Whether a person ordered a retry by this event.
fn is_retry(event: &Recorded) -> bool {
    event.event_type == "RetryRequested"
}

fn is_final(error: &ExecuteError) -> bool {
    use Error::{AlreadyFailed, AlreadySucceeded};
    matches!(error, ExecuteError::Rejected(Rejected::Transaction(AlreadySucceeded | AlreadyFailed)))
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
fn after_error(id: TransactionId, error: &ExecuteError) -> Next {
    match error {
        ExecuteError::Rejected(Rejected::Transaction(refused)) => match refused {
            Error::AlreadySucceeded | Error::AlreadyFailed => Next::Nothing, // another process was faster
            Error::NeverRequested => park("the log has no such transaction"),
            Error::AttemptOutOfOrder | Error::MayBeDone | Error::NotProcessing => fault(id, error),
            other => park(&other.to_string()),
        },
        ExecuteError::Rejected(rejected) => park(&rejected.to_string()),
        ExecuteError::Log(LogError::Unreadable(unknown)) => park(&unknown.to_string()),
        ExecuteError::Log(LogError::Broken { .. }) => park(&error.to_string()),
        ExecuteError::InsufficientFunds { .. }
        | ExecuteError::BalanceTooLarge { .. }
        | ExecuteError::Repeated { .. } => park(&error.to_string()),
        ExecuteError::Conflict => fault(id, error),
        // Not the fault of this transaction: it lasts as long as PostgreSQL is away.
        ExecuteError::Log(
            LogError::Unavailable(_) | LogError::Overloaded | LogError::Timeout | LogError::OutcomeUnknown,
        ) => {
            tracing::warn!(transaction_id = %id, error = %chain(error), "cannot read or write the log for {id}; retrying: {error}");
            Next::Wait(LOG_RETRY)
        }
    }
}

fn fault(id: TransactionId, error: &ExecuteError) -> Next {
    tracing::warn!(transaction_id = %id, error = %chain(error), "cannot drive {id}; retrying: {error}");
    Next::Fault { reason: error.to_string() }
}

fn park(reason: &str) -> Next {
    Next::Park { reason: reason.to_owned() }
}

/// The label of the answer in metrics.
fn answer_label(answer: &Activation) -> &'static str {
    match answer {
        Activation::Activated { .. } => "activated",
        Activation::Pending => "pending",
        Activation::Rejected(_) => "rejected",
        Activation::Inconclusive(call) => match call.evidence {
            Evidence::NotTaken => "retry_after",
            Evidence::NotSent => "not_sent",
            Evidence::SentNoAnswer | Evidence::Answered => "unknown",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;

    /// What follows when `step` is done in a lease of its own, without its delay.
    async fn driven(in_flight: &InFlight, step: Result<Next, ExecuteError>) -> Outcome {
        let id = TransactionId(Uuid::from_u128(1));
        let mut lease = in_flight.begin(id).expect("no delay");
        let outcome = outcome(id, &mut lease, ready(step)).await;
        lease.delay_next(Duration::ZERO);
        outcome
    }

    #[tokio::test]
    async fn a_transaction_that_fails_again_and_again_by_our_fault_is_parked_with_its_reason() {
        let in_flight = InFlight::default();
        for _ in 1..FAULTS_MAX {
            let outcome = driven(&in_flight, Err(ExecuteError::Conflict)).await;
            assert!(matches!(outcome, Outcome::RetryAfter(_)), "{outcome:?}");
        }
        let reason = "failed 10 times: others were faster, too often".to_owned();
        assert_eq!(driven(&in_flight, Err(ExecuteError::Conflict)).await, Outcome::Park { reason });
    }

    #[tokio::test]
    async fn a_call_between_two_faults_begins_a_new_row() {
        let in_flight = InFlight::default();
        for number in 1..=3 * FAULTS_MAX {
            let is_call = number % FAULTS_MAX == 0;
            let step = if is_call { Ok(RETRY_LATER) } else { Err(ExecuteError::Conflict) };
            assert!(matches!(driven(&in_flight, step).await, Outcome::RetryAfter(_)));
        }
    }

    #[tokio::test]
    async fn while_the_log_is_away_nothing_is_parked() {
        let in_flight = InFlight::default();
        for _ in 0..=FAULTS_MAX {
            let away = Err(ExecuteError::Log(LogError::Timeout));
            assert_eq!(driven(&in_flight, away).await, Outcome::RetryAfter(LOG_RETRY));
        }
    }

    #[tokio::test]
    async fn a_panic_parks_the_transaction_and_ends_nothing_else() {
        let (in_flight, id) = (InFlight::default(), TransactionId(Uuid::from_u128(1)));
        let mut lease = in_flight.begin(id).expect("no delay");
        let step = async { panic!("a defect") };
        let reason = "handling it panicked".to_owned();
        assert_eq!(outcome(id, &mut lease, step).await, Outcome::Park { reason });
    }
}
