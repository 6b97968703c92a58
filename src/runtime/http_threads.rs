//! Threads for HTTP, separate from those of the processors.
//!
//! On shared threads a flood of requests would starve the transactions that were accepted before. With separate
//! threads the operating system shares the cores: requests are answered more slowly, and transactions are still
//! finished.

use std::thread::available_parallelism;
use tokio::runtime::{Builder, Handle, Runtime};

/// Dropping it aborts its tasks without waiting.
pub(crate) struct HttpThreads(Option<Runtime>);

impl HttpThreads {
    /// One thread a core, or half as many if the cores are shared with other roles.
    pub(crate) fn start(cores_are_shared: bool) -> std::io::Result<Self> {
        let cores = available_parallelism()?.get();
        let threads = if cores_are_shared { cores.div_ceil(2) } else { cores };
        let mut runtime = Builder::new_multi_thread();
        Ok(Self(Some(runtime.worker_threads(threads).thread_name("http").enable_all().build()?)))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("only the drop takes it").handle()
    }
}

impl Drop for HttpThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background(); // a wait is forbidden where the service is dropped
        }
    }
}
