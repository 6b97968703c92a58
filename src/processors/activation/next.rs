//! What follows a step: nothing, another try, or parking.

use super::attempts::AttemptLease;
use crate::backoff::{Backoff, jittered};
use crate::event_log::{ExecuteError, LogError, Rejection as Rejected};
use crate::processors::Outcome;
use crate::telemetry::chain;
use domain::TransactionId;
use domain::transaction::Error;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// The delay of a parked transaction in this process: nothing changes by itself.
const PARKED_DELAY: Duration = Duration::from_secs(600);
/// The delay after the log could not be read or written.
pub(super) const LOG_RETRY: Duration = Duration::from_secs(1);
/// Failures of ours in a row, about one transaction, after which it is parked: that takes some four minutes.
const FAULTS_MAX: u32 = 10;
/// Between calls without a definite answer, and between failures of ours.
pub(super) const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
const RETRY_JITTER: std::ops::RangeInclusive<f64> = 0.8..=1.2;

/// What is to be done next about a transaction.
pub(super) enum Next {
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
pub(super) const RETRY_LATER: Next = Next::Retry { not_before: None };

/// Does `step`, delays what follows, and says what that is. A panic is a defect: it would panic again.
pub(super) async fn outcome(
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

pub(super) fn park(reason: &str) -> Next {
    Next::Park { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::attempts::InFlight;
    use super::*;
    use std::future::ready;
    use uuid::Uuid;

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
