//! Can the log be written? What the last try has shown.

use crate::event_log::error::LogError;
use crate::telemetry::chain;
use parking_lot::Mutex;
use std::sync::Arc;

/// The outcome of the writer's last write. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::event_log) struct WriterVerdict(Arc<Mutex<Option<String>>>);

impl WriterVerdict {
    pub(super) fn succeeded(&self) {
        *self.0.lock() = None;
    }

    pub(super) fn failed(&self, cause: &LogError) {
        *self.0.lock() = Some(chain(cause));
    }

    /// Why the last write failed; `None` if it did not, and before the first one.
    pub(in crate::event_log) fn failure(&self) -> Option<String> {
        self.0.lock().clone()
    }
}
