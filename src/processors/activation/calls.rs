//! The calls to the activation system, and what each answer leads to.

use super::next::{Next, RETRY_LATER};
use super::{ActivationProcessor, Work, metadata};
use crate::event_log::{self, ExecuteError, LogError};
use crate::external::{Activation, Cancellation, LookUp, Rejection, Request};
use crate::failpoint::{Step, failpoint};
use crate::telemetry::{Kind, Span};
use domain::TransactionId;
use domain::transaction::{self, ActivationRequested, Answer, AttemptKind, Command, Evidence, Transaction};
use std::time::Instant;

/// What a user is told of a cancelled activation.
const CANCELLED_MESSAGE: &str = "It could not be activated in time, and was cancelled";

impl ActivationProcessor {
    /// Records the intent, then asks for the activation and records its end.
    pub(super) async fn activate(&self, work: Work) -> Result<Next, ExecuteError> {
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
        self.0.breaker.note_activation(Instant::now(), answer.inconclusive().is_none());
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
    pub(super) async fn look_up(&self, mut work: Work) -> Result<Next, ExecuteError> {
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

    /// Ends what nobody was asked for, by the log itself: another process may have asked since, and then it is cancelled.
    pub(super) async fn give_up(&self, mut work: Work) -> Result<Next, ExecuteError> {
        match self.0.log.reload::<Transaction>(work.id.0).await?.state {
            Transaction::Processing { attempt, calls, .. } if calls.may_be_done() => {
                work.attempt = attempt;
                self.cancel(work).await
            }
            Transaction::Pending { .. } | Transaction::Processing { .. } => {
                self.finish(&work, work.plan(Command::GiveUp), "FAILED").await
            }
            _ => Ok(Next::Nothing),
        }
    }

    /// Records the intent, then asks that the activation never be done: the fence before the refund. If the answer says
    /// nothing definite, a look-up may.
    pub(super) async fn cancel(&self, work: Work) -> Result<Next, ExecuteError> {
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

    pub(super) async fn look_up_failed(&self, id: TransactionId) -> Result<Next, ExecuteError> {
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
