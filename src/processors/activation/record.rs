//! Records what a call came to: evidence, the end, or an answer after the end.

use super::next::{LOG_RETRY, Next};
use super::{ActivationProcessor, Work, success};
use crate::event_log::{self, ExecuteError, Plan, Rejection as Rejected};
use crate::external::{Inconclusive, Rejection};
use crate::failpoint::{Step, failpoint};
use crate::telemetry::chain;
use domain::transaction::{Answer, AttemptKind, Command, Error};
use tokio::time::sleep;

/// How often a late answer is written before it is given up.
const LATE_TRIES: u32 = 5;

impl ActivationProcessor {
    /// Records a call without a definite answer.
    pub(super) async fn record(
        &self,
        work: &Work,
        kind: AttemptKind,
        call: Inconclusive,
    ) -> Result<Next, ExecuteError> {
        let (id, attempt, not_before) = (work.id, work.attempt, call.retry_after);
        let Inconclusive { evidence, detail, .. } = call;
        tracing::info!(transaction_id = %id, attempt, kind = kind.as_ref(), detail, "attempt {attempt} of {id}: {detail}");
        let failed = Command::RecordFailedAttempt { attempt, kind, evidence, detail };
        self.0.log.commit(&work.metadata, work.plan(failed)).await?;
        failpoint(Step::AttemptRecorded);
        Ok(Next::Retry { not_before })
    }

    /// Records a success that `told` was answered with.
    pub(super) async fn succeed(
        &self,
        work: &Work,
        told: AttemptKind,
        reference: String,
    ) -> Result<Next, ExecuteError> {
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
    pub(super) async fn fail(
        &self,
        work: &Work,
        told: AttemptKind,
        rejection: Rejection,
    ) -> Result<Next, ExecuteError> {
        let Rejection { code, message } = rejection;
        let end = Command::Fail { code: code.clone(), message };
        match self.finish(work, work.plan(end), "FAILED").await {
            Err(error) if is_final(&error) => self.record_late(work, told, Answer::Rejected, code).await,
            finished => finished,
        }
    }

    pub(super) async fn finish(
        &self,
        work: &Work,
        plan: Plan,
        status: &'static str,
    ) -> Result<Next, ExecuteError> {
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
    pub(super) async fn record_late(
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

fn is_final(error: &ExecuteError) -> bool {
    use Error::{AlreadyFailed, AlreadySucceeded};
    matches!(error, ExecuteError::Rejected(Rejected::Transaction(AlreadySucceeded | AlreadyFailed)))
}
