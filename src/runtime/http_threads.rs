//! The threads on which HTTP is answered, apart from those that bring purchases to their end.
//!
//! On shared threads a flood of requests takes all turns, and what was accepted waits for long. Apart, the
//! system's scheduler shares the cores between both: whoever asks is answered more slowly, and what was
//! begun still ends.

use std::thread::available_parallelism;
use tokio::runtime::{Builder, Handle, Runtime};

/// Ends without waiting when dropped: what still runs on it is cut off.
pub(crate) struct Answering(Option<Runtime>);

impl Answering {
    /// One thread a core, or half as many when they are shared with work that must not starve.
    ///
    /// # Errors
    /// The system has no more threads.
    pub(crate) fn start(cores_are_shared: bool) -> std::io::Result<Self> {
        let cores = available_parallelism()?.get();
        let threads = if cores_are_shared { cores.div_ceil(2) } else { cores };
        let mut runtime = Builder::new_multi_thread();
        Ok(Self(Some(runtime.worker_threads(threads).thread_name("answering").enable_all().build()?)))
    }

    /// Where to spawn what answers.
    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is taken by the drop alone").handle()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background(); // a wait is forbidden where the service is dropped
        }
    }
}
