//! Whether the bus works, and if not, what does not.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

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
pub(super) struct Health(Arc<Mutex<[Option<String>; PARTS]>>);

impl Health {
    pub(super) fn state(&self) -> State {
        let reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.iter().flatten().next().map_or(State::Connected, |reason| State::Degraded(reason.clone()))
    }

    /// Whether events come from the log to processors, as far as this process knows.
    pub(super) fn delivers(&self) -> bool {
        let reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = [Part::Connection, Part::Relay, Part::Consumer];
        needed.iter().all(|part| reasons[*part as usize].is_none())
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
    pub(super) fn well(&self) {
        self.set(None);
    }

    pub(super) fn degraded(&self, reason: impl fmt::Display) {
        self.set(Some(reason.to_string()));
    }

    fn set(&self, reason: Option<String>) {
        let mut reasons = self.health.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut reasons[self.part as usize];
        if place.is_some() != reason.is_some() {
            match &reason {
                Some(reason) => tracing::warn!(part = ?self.part, %reason, "the bus is degraded: {reason}"),
                None => tracing::info!(part = ?self.part, "the bus works again"),
            }
        }
        *place = reason;
        let degraded = reasons.iter().any(Option::is_some);
        metrics::gauge!("offers_bus_degraded").set(u8::from(degraded));
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
