//! Notices of many deliveries become one statement: while one is being written, the next ones gather.

use super::outbox::{Notice, Outbox};
use crate::clock::Clock;
use crate::telemetry::chain;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, oneshot};

/// The most notices of one statement.
const BATCH: usize = 256;

type Waiting = (Notice, oneshot::Sender<bool>);

/// The door to the task that writes. Cheap to clone; the task ends with the last one.
#[derive(Clone)]
pub(super) struct Collector {
    queue: mpsc::Sender<Waiting>,
}

impl Collector {
    /// Starts the task; `due` is told of everything new.
    pub(super) fn start(outbox: Outbox, clock: Clock, due: Arc<Notify>) -> Self {
        let (queue, waiting) = mpsc::channel(BATCH);
        tokio::spawn(write(waiting, outbox, clock, due));
        Self { queue }
    }

    /// Whether `notice` is in the table now, by this or an earlier delivery.
    pub(super) async fn add(&self, notice: Notice) -> bool {
        let (answer, answered) = oneshot::channel();
        self.queue.send((notice, answer)).await.is_ok() && answered.await.unwrap_or(false)
    }
}

async fn write(mut queue: mpsc::Receiver<Waiting>, outbox: Outbox, clock: Clock, due: Arc<Notify>) {
    let mut waiting: Vec<Waiting> = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut waiting, BATCH).await > 0 {
        let notices: Vec<Notice> = waiting.iter().map(|(notice, _)| *notice).collect();
        let added = outbox.add(&notices, clock.now().utc()).await;
        if let Err(cause) = &added {
            tracing::warn!(notices = notices.len(), error = %chain(&cause), "mails could not be noted; they come again");
        }
        for (_, answer) in waiting.drain(..) {
            let _ = answer.send(added.is_ok()); // whoever left gets its message again
        }
        if added.is_ok_and(|added| added > 0) {
            due.notify_one();
        }
    }
}
