//! No more than so many mails a second: servers refuse who hurries, and mail must not take from
//! purchases the database that both use.

use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Gives turns at a steady pace.
#[derive(Debug)]
pub(super) struct Pace {
    between: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(per_second: u32) -> Self {
        Self { between: Duration::from_secs(1) / per_second.max(1), next: Mutex::new(Instant::now()) }
    }

    /// Waits for the next turn. Turns that nobody took are gone.
    pub(super) async fn turn(&self) {
        let turn = {
            let mut next = self.next.lock().await;
            let turn = next.max(Instant::now());
            *next = turn + self.between;
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;

    #[tokio::test]
    async fn turns_come_at_their_pace_whoever_asks() {
        let pace = Pace::new(100);
        let began = Instant::now();
        join_all((0..21).map(|_| pace.turn())).await;
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    }
}
