//! Threads for work that uses a whole core and can wait a little longer.
//!
//! They stand behind everything else that wants a core: a flood of logins then costs those who log in
//! time, and nobody else.

use crate::telemetry::chain;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::thread;
use tokio::sync::oneshot;

/// How far behind, as niceness: about a tenth of a core when others want all of it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// Some threads and their queue. They end when it is dropped. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Background(mpsc::Sender<Job>);

impl Background {
    /// `number` threads. The queue has no bound of its own: its users have one.
    ///
    /// # Errors
    /// The system has no more threads.
    pub(super) fn start(name: &str, number: NonZeroUsize) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..number.get() {
            let queue = queue.clone();
            thread::Builder::new().name(name.to_owned()).spawn(move || work(&queue))?;
        }
        Ok(Self(jobs))
    }

    /// Runs `job` and returns its result; `None` if it panicked.
    pub(super) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, result) = oneshot::channel();
        let job = move || drop(answer.send(job())); // a caller that left wants no answer
        self.0.send(Box::new(job)).ok()?;
        result.await.ok()
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>) {
    step_back();
    loop {
        let next = queue.lock().recv();
        let Ok(job) = next else { return };
        // A panic ends the job, not the thread; its caller sees that no answer comes.
        let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

/// Lets others go first. On Linux niceness belongs to the thread, elsewhere to the whole process.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(error = %chain(&error), "a background thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_job_and_no_other() {
        let background = Background::start("test", NonZeroUsize::MIN).expect("a thread");
        assert_eq!(background.run(|| 1).await, Some(1));
        assert_eq!(background.run(|| -> u8 { panic!("a bug") }).await, None);
        assert_eq!(background.run(|| 2).await, Some(2));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn its_threads_step_back_and_no_other_does() {
        let niceness = || rustix::process::nice(0).expect("a niceness");
        let ours = niceness();
        let background = Background::start("test", NonZeroUsize::MIN).expect("a thread");
        assert_eq!(background.run(niceness).await, Some((ours + NICENESS).min(19)));
        assert_eq!(niceness(), ours);
    }
}
