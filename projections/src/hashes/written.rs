//! How far this process has written the hashes, told to its own waiters: they need not ask Redis.

use std::sync::Arc;
use tokio::sync::watch;

/// The last position that a projector of this process has written; 0 if there is no such projector. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Written(Arc<watch::Sender<i64>>);

impl Default for Written {
    fn default() -> Self {
        Self(Arc::new(watch::channel(0).0))
    }
}

impl Written {
    /// The hashes are at `position`: further than before, or, after a loss, further back.
    pub(super) fn is_at(&self, position: i64) {
        self.0.send_replace(position);
    }

    /// Another process may go on writing.
    pub(super) fn stops(&self) {
        self.is_at(0);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<i64> {
        self.0.subscribe()
    }
}
