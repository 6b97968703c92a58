//! Adds the notices of many messages with one statement: while one is written, the next ones are collected.

use super::outbox::{Notice, Outbox};
use crate::clock::Clock;
use crate::telemetry::chain;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, oneshot};

/// Notices in one statement.
const BATCH: usize = 256;

type Waiting = (Notice, oneshot::Sender<bool>);

/// The queue of the task that writes. Cheap to clone; the task ends with the last clone.
#[derive(Clone)]
pub(super) struct Collector {
    queue: mpsc::Sender<Waiting>,
}

impl Collector {
    /// Starts the task, which notifies `due` of new notices.
    pub(super) fn start(outbox: Outbox, clock: Clock, due: Arc<Notify>) -> Self {
        let (queue, waiting) = mpsc::channel(BATCH);
        tokio::spawn(write(waiting, outbox, clock, due));
        Self { queue }
    }

    /// True if `notice` is in the table now, added by this or an earlier message.
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
            tracing::warn!(notices = notices.len(), error = %chain(&cause), "cannot add mails to the outbox; their messages will be delivered again");
        }
        for (_, answer) in waiting.drain(..) {
            let _ = answer.send(added.is_ok()); // a receiver that is gone gets its message again
        }
        if added.is_ok_and(|added| added > 0) {
            due.notify_one();
        }
    }
}
