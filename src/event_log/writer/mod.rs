//! Writes: one thread a process puts whatever commits are waiting into one short SQL transaction.
//!
//! Three round trips whatever the batch's size: `BEGIN`, the log's lock and, in a new snapshot, its last event;
//! the write; `COMMIT`. One more reads what the writer does not know of what the batch touches (`memory`). The
//! batch is taken from the queue only when the lock is held, so what arrives while another process writes goes along.

mod batch;
mod judged;
mod memory;
mod open;
mod round_trip;
mod rows;
mod session;
mod state;
mod verdict;

use super::commit::{Commit, Committed, MAX_COMMIT_EVENTS};
use super::error::{AppendError, LogError};
use super::feed::Wake;
use super::recent::Recent;
use crate::clock::Clock;
use crate::failpoint::{Step, failpoint};
use batch::{Batch, Waiting, refuse_all};
pub(super) use open::LOCK;
use session::Session;
use sqlx::postgres::PgConnectOptions;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
pub(super) use verdict::WriterVerdict;

/// Without it nothing can be written, so it is a reason not to start.
const THREADS: &str = "a process that starts can make one more thread";

/// After a failure, the pause before each try whether writing works again.
const PROBE_PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Commits that may wait; one more is refused as overloaded.
    pub queue_commits: usize,
    /// The most commits of one SQL transaction. Larger shares the flush among more, and holds the lock
    /// longer.
    pub batch_commits: usize,
    /// How long a commit may wait for its turn before it is given up, nothing written.
    pub patience: Duration,
    /// The time that events get.
    pub clock: Clock,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            queue_commits: 8_192,
            batch_commits: 512,
            patience: Duration::from_secs(5),
            clock: Clock::system(),
        }
    }
}

/// The door to the writer's thread.
pub(super) struct Writer {
    queue: mpsc::Sender<Waiting>,
    patience: Duration,
    verdict: WriterVerdict,
}

impl Writer {
    /// Starts the thread. It ends when `stop` is cancelled and the queue is empty, or when the last door
    /// is gone.
    pub(super) fn start(
        connect: PgConnectOptions,
        options: WriterOptions,
        recent: Arc<Recent>,
        wake: Wake,
        stop: CancellationToken,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(options.queue_commits);
        let patience = options.patience;
        let verdict = WriterVerdict::default();
        let session = Session::new(connect, recent, verdict.clone());
        let work = run(waiting, session, options, wake, stop);
        thread::Builder::new().name("event log".to_owned()).spawn(|| on_this_thread(work)).expect(THREADS);
        Self { queue, patience, verdict }
    }

    /// How many commits wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Why nothing can be written; `None` if the last write succeeded.
    pub(super) fn failure(&self) -> Option<String> {
        self.verdict.failure()
    }

    /// Asks for `commit` and waits for its verdict.
    pub(super) async fn append(&self, commit: Commit) -> Result<Committed, AppendError> {
        assert!(
            (1..=MAX_COMMIT_EVENTS).contains(&commit.len()),
            "a plan of this system has a handful of events"
        );
        let (answer, verdict) = oneshot::channel();
        let waiting = Waiting { commit, deadline: Instant::now() + self.patience, answer };
        self.queue.try_send(waiting).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => LogError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => LogError::unavailable("the log is shut down"),
        })?;
        verdict.await.unwrap_or(Err(AppendError::Log(LogError::OutcomeUnknown)))
    }
}

/// The writer has a thread of its own: every step of a batch would otherwise wait its turn among all
/// that the process does, while the log's lock is held and everybody waits for it.
fn on_this_thread(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect(THREADS).block_on(work);
}

async fn run(
    mut queue: mpsc::Receiver<Waiting>,
    mut session: Session,
    options: WriterOptions,
    wake: Wake,
    stop: CancellationToken,
) {
    while let Some(first) = next(&mut queue, &mut session, &stop).await {
        let mut waiting = vec![first];
        failpoint(Step::CommitWaiting);
        match session.lock().await {
            Ok(()) => {
                failpoint(Step::CommitLocked);
                take_more(&mut queue, &mut waiting, options.batch_commits);
                let batch = Batch::of(waiting);
                if session.write(batch, &options.clock).await {
                    wake.wake();
                }
            }
            Err(cause) => {
                take_more(&mut queue, &mut waiting, usize::MAX); // each batch would only wait for the same
                refuse_all(waiting, &cause);
            }
        }
    }
}

/// The next commit; after `stop` what is already in the queue is still served. After a failure it is tried meanwhile
/// whether writing works again: without commits nothing else would show it.
async fn next(
    queue: &mut mpsc::Receiver<Waiting>,
    session: &mut Session,
    stop: &CancellationToken,
) -> Option<Waiting> {
    loop {
        tokio::select! {
            biased;
            waiting = queue.recv() => return waiting,
            () = stop.cancelled() => {
                queue.close();
                return queue.recv().await;
            }
            () = sleep(PROBE_PAUSE), if session.has_failed() => session.probe().await,
        }
    }
}

fn take_more(queue: &mut mpsc::Receiver<Waiting>, waiting: &mut Vec<Waiting>, most: usize) {
    while waiting.len() < most {
        match queue.try_recv() {
            Ok(more) => waiting.push(more),
            Err(_) => break,
        }
    }
}
