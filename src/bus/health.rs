//! Which parts of the bus work.

use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// A part of the bus that can fail on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The connection to the server.
    Connection,
    Relay,
    Mirror,
    Consumer,
}

const PARTS: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Connected,
    /// A part does not work, for this reason; the rest of the service does.
    Degraded(String),
}

impl State {
    /// True when a part does not work.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        matches!(self, Self::Degraded(_))
    }
}

/// The problem of each part that has one. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Health(Arc<Mutex<[Option<Problem>; PARTS]>>);

struct Problem {
    reason: String,
    logged: bool,
}

impl Health {
    pub(super) fn state(&self) -> State {
        let problems = self.0.lock();
        let first = problems.iter().flatten().next();
        first.map_or(State::Connected, |problem| State::Degraded(problem.reason.clone()))
    }

    /// Whether events come from the log to processors, as far as this process knows.
    pub(super) fn delivers(&self) -> bool {
        let problems = self.0.lock();
        let needed = [Part::Connection, Part::Relay, Part::Consumer];
        needed.iter().all(|part| problems[*part as usize].is_none())
    }

    /// Through it one part reports its health.
    pub(super) fn reporter(&self, part: Part) -> HealthReporter {
        HealthReporter { health: self.clone(), part }
    }
}

/// Reports the health of one part.
#[derive(Clone)]
pub(super) struct HealthReporter {
    health: Health,
    part: Part,
}

impl HealthReporter {
    /// Not connected yet, as at every start: no reason for a warning.
    pub(super) fn connecting(&self, reason: &str) {
        self.set(Some(Problem { reason: reason.to_owned(), logged: false }));
    }

    pub(super) fn degraded(&self, reason: impl fmt::Display) {
        let before = self.set(Some(Problem { reason: reason.to_string(), logged: true }));
        if !before.is_some_and(|before| before.logged) {
            tracing::warn!(part = ?self.part, %reason, "the bus is degraded: {reason}");
        }
    }

    pub(super) fn healthy(&self) {
        if self.set(None).is_some() {
            tracing::info!(part = ?self.part, "the bus works");
        }
    }

    fn set(&self, problem: Option<Problem>) -> Option<Problem> {
        let mut problems = self.health.0.lock();
        let before = std::mem::replace(&mut problems[self.part as usize], problem);
        metrics::gauge!("offers_bus_degraded").set(u8::from(problems.iter().any(Option::is_some)));
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failing_part_degrades_the_bus_until_it_works_again() {
        let health = Health::default();
        assert_eq!(health.state(), State::Connected);
        health.reporter(Part::Mirror).degraded("behind");
        assert!(health.delivers(), "processors do not need the mirror");
        health.reporter(Part::Relay).degraded("full");
        health.reporter(Part::Mirror).healthy();
        assert!(!health.delivers());
        assert_eq!(health.state(), State::Degraded("full".into()));
        health.reporter(Part::Relay).healthy();
        assert_eq!(health.state(), State::Connected);
    }
}
