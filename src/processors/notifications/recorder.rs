//! Mails that finish together are recorded by one statement: while one runs, the next ones gather.

use super::outbox::{Finished, Outbox};
use crate::clock::Clock;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Mails in one statement, at most.
const BATCH: usize = 256;

type Outcome = Result<(), Arc<sqlx::Error>>;
type Waiting = (Finished, oneshot::Sender<Outcome>);

/// Hands mails to the task that records them. Cheap to clone; the task ends with the last clone.
#[derive(Clone)]
pub(super) struct Recorder {
    queue: mpsc::Sender<Waiting>,
}

impl Recorder {
    pub(super) fn start(outbox: Outbox, clock: Clock) -> Self {
        let (queue, waiting) = mpsc::channel(BATCH);
        tokio::spawn(record_all(waiting, outbox, clock));
        Self { queue }
    }

    /// Returns when `finished` is recorded.
    pub(super) async fn record(&self, finished: Finished) -> Outcome {
        let (answer, answered) = oneshot::channel();
        // The task ends after us; if the runtime has ended it, the process ends too.
        let gone = |()| Arc::new(sqlx::Error::WorkerCrashed);
        self.queue.send((finished, answer)).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))?
    }
}

async fn record_all(mut queue: mpsc::Receiver<Waiting>, outbox: Outbox, clock: Clock) {
    let mut waiting: Vec<Waiting> = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut waiting, BATCH).await > 0 {
        let (finished, answers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        let outcome = outbox.finish(&finished, clock.now().utc()).await.map_err(Arc::new);
        for answer in answers {
            let _nobody_waits_any_more = answer.send(outcome.clone());
        }
    }
}
