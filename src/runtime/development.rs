//! The clock of a service that `./dev` has started: a file says how far it is ahead.

use crate::clock::Clock;
use crate::config::Serve;
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

/// Between two looks at the file.
const LOOK: Duration = Duration::from_millis(250);

/// The system's, unless a file is given, which the clock then follows as long as the process lives.
pub(super) fn clock(config: &Serve) -> Clock {
    let Some(path) = config.development.clock_file.clone() else { return Clock::system() };
    let clock = Clock::ahead_by(ahead(&path));
    let moved = clock.clone();
    tokio::spawn(async move {
        loop {
            sleep(LOOK).await;
            moved.move_ahead(ahead(&path));
        }
    });
    clock
}

/// Nothing if there is no file.
fn ahead(path: &Path) -> Duration {
    let seconds = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}
