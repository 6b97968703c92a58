//! Tries at once what waits for the activation system when it answers again.

use super::ActivationProcessor;
use crate::processors::Outcome;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

impl ActivationProcessor {
    /// Each time that the activation system answers again: drives what waits in this process for an answer, oldest first,
    /// as many at a time as there may be calls. Until `stop`.
    pub(super) async fn resume(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.0.breaker.answers_again()).await.is_some() {
            let waiting = futures::stream::iter(self.0.in_flight.end_delays()).take_until(stop.cancelled());
            let driven = waiting.for_each_concurrent(self.0.most_calls, |id| async move {
                if let Outcome::Park { .. } = self.drive(id, None).await {
                    self.0.in_flight.clear_delay(id); // its message or the sweeper parks it
                }
            });
            driven.await;
        }
    }
}
