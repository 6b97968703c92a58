//! The behaviour of the simulated system, which can be changed while it runs.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The longest latency, and the longest delay of a pending activation: an hour.
const MAX_DELAY_MS: u64 = 3_600_000;

/// The behaviour of the simulated system; the JSON document of `/_control`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// The duration of a call, half of it before and half of it after its effect.
    pub latency_ms: u64,
    /// The latency varies by ± this.
    pub latency_jitter_ms: u64,
    /// The part of all calls, 0 to 1, without a usable answer (5xx, reset, garbage, no answer): half of them
    /// after the effect, half before.
    pub failure_rate: f64,
    /// The part of all activations, 0 to 1, that are accepted (202) and done later.
    pub pending_rate: f64,
    /// They are done at the first call about them after this time.
    pub pending_for_ms: u64,
    /// Offers that are always rejected (422, `offer_rejected`).
    pub reject_offers: HashSet<Uuid>,
    /// Answer 503 to everything, without any effect.
    pub down: bool,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            latency_ms: 0,
            latency_jitter_ms: 0,
            failure_rate: 0.0,
            pending_rate: 0.0,
            pending_for_ms: 500,
            reject_offers: HashSet::new(),
            down: false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BehaviourError {
    #[error("{0} must be between 0 and 1")]
    Rate(&'static str),
    #[error("{0} must be at most {MAX_DELAY_MS}")]
    Delay(&'static str),
    #[error("invalid control document")]
    Document(#[from] serde_json::Error),
}

impl Behaviour {
    /// This behaviour with the members of `changes`.
    pub(super) fn changed(&self, changes: Map<String, Value>) -> Result<Behaviour, BehaviourError> {
        let mut document = serde_json::to_value(self)?;
        if let Value::Object(members) = &mut document {
            members.extend(changes);
        }
        let changed: Behaviour = serde_json::from_value(document)?;
        changed.check()?;
        Ok(changed)
    }

    pub(super) fn check(&self) -> Result<(), BehaviourError> {
        let rates = [("failure_rate", self.failure_rate), ("pending_rate", self.pending_rate)];
        if let Some((name, _)) = rates.iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            return Err(BehaviourError::Rate(name));
        }
        let delays = [
            ("latency_ms", self.latency_ms),
            ("latency_jitter_ms", self.latency_jitter_ms),
            ("pending_for_ms", self.pending_for_ms),
        ];
        match delays.iter().find(|(_, delay_ms)| *delay_ms > MAX_DELAY_MS) {
            Some((name, _)) => Err(BehaviourError::Delay(name)),
            None => Ok(()),
        }
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms)
    }

    pub(super) fn latency_jitter(&self) -> Duration {
        Duration::from_millis(self.latency_jitter_ms)
    }

    pub(super) fn pending_for(&self) -> Duration {
        Duration::from_millis(self.pending_for_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changed(changes: Value) -> Result<Behaviour, BehaviourError> {
        let before = Behaviour { latency_ms: 20, ..Behaviour::default() };
        before.changed(changes.as_object().expect("an object").clone())
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let now = changed(json!({"failure_rate": 0.5, "down": true})).expect("valid");
        assert_eq!((now.latency_ms, now.failure_rate, now.down), (20, 0.5, true));
    }

    #[test]
    fn nonsense_is_refused() {
        for changes in [
            json!({"failure_rate": 1.5}),
            json!({"pending_rate": -0.1}),
            json!({"latency_ms": MAX_DELAY_MS + 1}),
            json!({"latency_ms": "20"}),
            json!({"latncy_ms": 20}),
            json!({"reject_offers": ["x"]}),
        ] {
            assert!(changed(changes.clone()).is_err(), "{changes} was accepted");
        }
    }
}
