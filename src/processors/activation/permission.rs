//! The right to make a call: a place among the concurrent ones, and the breaker's admission.

use super::ActivationProcessor;
use super::breaker::Admission;
use crate::external::Inconclusive;
use std::time::{Duration, Instant};
use tokio::sync::SemaphorePermit;

impl ActivationProcessor {
    pub(super) async fn place(&self) -> SemaphorePermit<'_> {
        self.0.calls.acquire().await.expect("this semaphore is never closed")
    }

    /// The right to make a call, or how long to wait for one.
    pub(super) async fn permission(&self) -> Result<Permission<'_>, Duration> {
        let place = self.place().await;
        Ok(Permission { _place: place, admission: self.0.breaker.admit(Instant::now())? })
    }
}

/// The right to make one call.
pub(super) struct Permission<'a> {
    _place: SemaphorePermit<'a>,
    admission: Admission<'a>,
}

impl Permission<'_> {
    /// The call has ended, and `call` is what is known of it when it had no definite answer.
    pub(super) fn ended(self, call: Option<&Inconclusive>) {
        match call {
            Some(call) => self.admission.failed(Instant::now(), call.retry_after),
            None => self.admission.answered(),
        }
    }
}
