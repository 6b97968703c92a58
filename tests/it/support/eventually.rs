//! Waits for a condition, with a deadline: never for luck.

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a condition may take to come true on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Returns as soon as `condition` is true; fails the test when it does not become true.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited {} s in vain: {what}", DEADLINE.as_secs());
        sleep(LOOK_EVERY).await;
    }
}
