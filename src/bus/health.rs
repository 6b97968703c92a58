//! Whether the bus works, and if not, what does not.

use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// What can fail on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The connection itself.
    Connection,
    /// Publishing the log.
    Relay,
    /// The analysts' mirror.
    Mirror,
    /// Receiving events.
    Consumer,
}

const PARTS: usize = 4;

/// How the bus is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// All well.
    Connected,
    /// Something does not work; the rest of the service does.
    Degraded(String),
}

impl State {
    /// True when something does not work.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        matches!(self, Self::Degraded(_))
    }
}

/// The reasons to be degraded, one a part. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Health(Arc<Mutex<[Option<Trouble>; PARTS]>>);

struct Trouble {
    reason: String,
    /// It was warned of.
    told: bool,
}

impl Health {
    pub(super) fn state(&self) -> State {
        let troubles = self.0.lock();
        let first = troubles.iter().flatten().next();
        first.map_or(State::Connected, |trouble| State::Degraded(trouble.reason.clone()))
    }

    /// Whether events come from the log to processors, as far as this process knows.
    pub(super) fn delivers(&self) -> bool {
        let troubles = self.0.lock();
        let needed = [Part::Connection, Part::Relay, Part::Consumer];
        needed.iter().all(|part| troubles[*part as usize].is_none())
    }

    /// The place where one part says how it is.
    pub(super) fn at(&self, part: Part) -> Place {
        Place { health: self.clone(), part }
    }
}

/// One part's place in the health.
#[derive(Clone)]
pub(super) struct Place {
    health: Health,
    part: Part,
}

impl Place {
    /// Not well yet, as always at first: nothing to warn of.
    pub(super) fn not_yet(&self, reason: &str) {
        self.set(Some(Trouble { reason: reason.to_owned(), told: false }));
    }

    pub(super) fn degraded(&self, reason: impl fmt::Display) {
        let before = self.set(Some(Trouble { reason: reason.to_string(), told: true }));
        if !before.is_some_and(|before| before.told) {
            tracing::warn!(part = ?self.part, %reason, "the bus is degraded: {reason}");
        }
    }

    pub(super) fn well(&self) {
        if self.set(None).is_some() {
            tracing::info!(part = ?self.part, "the bus works");
        }
    }

    /// What was there before.
    fn set(&self, trouble: Option<Trouble>) -> Option<Trouble> {
        let mut troubles = self.health.0.lock();
        let before = std::mem::replace(&mut troubles[self.part as usize], trouble);
        metrics::gauge!("offers_bus_degraded").set(u8::from(troubles.iter().any(Option::is_some)));
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
        health.at(Part::Mirror).degraded("behind");
        assert!(health.delivers(), "processors do not need the mirror");
        health.at(Part::Relay).degraded("full");
        health.at(Part::Mirror).well();
        assert!(!health.delivers());
        assert_eq!(health.state(), State::Degraded("full".into()));
        health.at(Part::Relay).well();
        assert_eq!(health.state(), State::Connected);
    }
}
