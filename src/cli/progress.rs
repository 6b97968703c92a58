//! How far a verb is, on a terminal, once it has taken longer than a second.

use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::timeout;

/// What takes less shows no progress.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two updates of the line.
const PACE: Duration = Duration::from_millis(200);

/// A line on stderr that is removed at the end.
pub(super) struct Progress {
    unit: &'static str,
    /// 0 if it is not known.
    total: u64,
    done: u64,
    began: Instant,
    next: Instant,
    is_shown: bool,
}

impl Progress {
    /// `total` is 0 if it is not known.
    pub(super) fn of(unit: &'static str, total: u64) -> Self {
        let began = Instant::now();
        Self { unit, total, done: 0, began, next: began + PATIENCE, is_shown: false }
    }

    pub(super) fn add(&mut self, count: u64) {
        self.done += count;
        let Self { unit, done, total, began, .. } = *self;
        self.show(|| line(unit, done, total, began.elapsed()));
    }

    fn show(&mut self, line: impl FnOnce() -> String) {
        let now = Instant::now();
        if now >= self.next && io::stderr().is_terminal() {
            self.next = now + PACE;
            self.is_shown = true;
            let _stderr_may_be_closed = write!(io::stderr(), "\r\x1b[K{}", line());
        }
    }
}

/// Shows how long `work` has taken, and of how long if that is `expected`.
pub(super) async fn while_waiting<T>(
    what: &'static str,
    expected: Option<Duration>,
    work: impl Future<Output = T>,
) -> T {
    let began = Instant::now();
    let mut progress = Progress::of(what, 0);
    let mut work = pin!(work);
    loop {
        match timeout(PACE, &mut work).await {
            Ok(done) => return done,
            Err(_not_yet) => progress.show(|| elapsed(what, began.elapsed(), expected)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _stderr_may_be_closed = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Such as `12,000 of 50,000 events, 40,000/s, 1 s left`.
fn line(unit: &str, done: u64, total: u64, took: Duration) -> String {
    let rate = done as f64 / took.as_secs_f64().max(0.001);
    let rest = match total {
        0 => String::new(),
        total => format!(", {:.0} s left", total.saturating_sub(done) as f64 / rate.max(0.001)),
    };
    let of = if total == 0 { String::new() } else { format!(" of {total}") };
    format!("{done}{of} {unit}, {rate:.0}/s{rest}")
}

/// Such as `filling Redis, 12 s`, or with `of 60 s`.
fn elapsed(what: &str, took: Duration, expected: Option<Duration>) -> String {
    let of = expected.map(|expected| format!(" of {} s", expected.as_secs())).unwrap_or_default();
    format!("{what}, {} s{of}", took.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_how_fast_and_how_long_yet() {
        assert_eq!(
            line("events", 500, 2_000, Duration::from_secs(5)),
            "500 of 2000 events, 100/s, 15 s left"
        );
        assert_eq!(line("lines", 500, 0, Duration::from_secs(5)), "500 lines, 100/s");
        let (took, all) = (Duration::from_millis(12_900), Some(Duration::from_secs(60)));
        assert_eq!(elapsed("filling Redis", took, None), "filling Redis, 12 s");
        assert_eq!(elapsed("posting", took, all), "posting, 12 s of 60 s");
    }
}
