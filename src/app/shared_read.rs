//! One read for all who ask at the same time.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Reads the same thing for many, at most once at a time.
pub(super) struct SharedRead<T> {
    turn: tokio::sync::Mutex<()>,
    /// The read that has not begun yet.
    next: Mutex<Arc<OnceCell<T>>>,
}

impl<T> Default for SharedRead<T> {
    fn default() -> Self {
        Self { turn: tokio::sync::Mutex::default(), next: Mutex::default() }
    }
}

impl<T: Clone> SharedRead<T> {
    /// What `read` returns, or the same read of another caller. It begins after this call, so it is never older
    /// than what the caller knows.
    pub(super) async fn get(&self, read: impl Future<Output = T>) -> T {
        let cell = self.next.lock().clone();
        let first = cell.get_or_init(async || {
            let _turn = self.turn.lock().await;
            *self.next.lock() = Arc::default();
            read.await
        });
        first.await.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn all_who_ask_during_a_read_share_the_next_one() {
        let (shared, reads) = (SharedRead::default(), AtomicUsize::new(0));
        let (begun, go_on) = (Notify::new(), Notify::new());
        let first = shared.get(async {
            begun.notify_one();
            go_on.notified().await;
            reads.fetch_add(1, Ordering::Relaxed)
        });
        let others = async {
            begun.notified().await;
            let others = (0..1000).map(|_| shared.get(async { reads.fetch_add(1, Ordering::Relaxed) }));
            let asked = async {
                tokio::task::yield_now().await;
                go_on.notify_one();
            };
            tokio::join!(join_all(others), asked).0
        };
        let (first, others) = tokio::join!(first, others);
        assert_eq!((first, others), (0, vec![1; 1000]));
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_leaves_the_read_to_another() {
        let shared = SharedRead::default();
        let mut gone = Box::pin(shared.get(std::future::pending()));
        let mut other = Box::pin(shared.get(async { 7 }));
        assert!(futures::poll!(&mut gone).is_pending() && futures::poll!(&mut other).is_pending());
        drop(gone);
        assert_eq!(other.await, 7);
    }
}
