//! The behaviour of the simulated system, which can be changed while it runs.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strum::{AsRefStr, EnumString, VariantNames};
use uuid::Uuid;

/// The longest latency, and the longest delay of a pending activation: an hour.
const MAX_DELAY_MS: u64 = 3_600_000;

/// The latency of a named behaviour, unless it is slow.
const USUAL_LATENCY_MS: u64 = 20;
/// The latency of the behaviour `slow`: below the timeout of a call.
const SLOW_LATENCY_MS: u64 = 3_000;
/// The failure rate of the behaviour `fail`.
const USUAL_FAILURE_RATE: f64 = 0.3;
/// How long an activation is pending in the behaviour `pending`.
const LONG_PENDING_MS: u64 = 5_000;

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
    /// The way in which every call goes wrong.
    pub lie: Option<Lie>,
}

/// A way in which calls go wrong, each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, AsRefStr, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Lie {
    /// No call is taken or answered.
    Silent,
    /// Every call is answered 429 with `Retry-After: 1`, without an effect.
    Busy,
    /// Every activation is rejected.
    Reject,
    /// Activations are not done, and answered 500.
    Error,
    /// Activations are done, and never answered. Look-ups and cancellations are answered.
    DoneThenSilent,
    /// Activations are done, and answered 503. Look-ups and cancellations are answered.
    DoneThenError,
    /// Activations are done, and answered with what is no JSON.
    DoneThenGarbage,
    /// Activations are done, and answered with 100 MB.
    DoneThenHuge,
    /// Activations are done, and answered for another transaction.
    DoneThenAnother,
    /// Activations are done, and answered byte by byte, without an end.
    DoneThenDrip,
    /// A cancellation is confirmed, and the activation done all the same.
    DoneAfterCancel,
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
            lie: None,
        }
    }
}

/// The names of behaviours that are not lies.
const PLAIN: [&str; 5] = ["ok", "down", "slow", "fail", "pending"];

/// Every named behaviour.
pub fn names() -> impl Iterator<Item = &'static str> {
    PLAIN.into_iter().chain(Lie::VARIANTS.iter().copied())
}

/// The changes that make the behaviour `name`, whatever it was before; rejected offers stay.
#[must_use]
pub fn named(name: &str) -> Option<Map<String, Value>> {
    let ok = Behaviour { latency_ms: USUAL_LATENCY_MS, ..Behaviour::default() };
    let behaviour = match name {
        "ok" => ok,
        "down" => Behaviour { down: true, ..ok },
        "slow" => Behaviour { latency_ms: SLOW_LATENCY_MS, ..ok },
        "fail" => Behaviour { failure_rate: USUAL_FAILURE_RATE, ..ok },
        "pending" => Behaviour { pending_rate: 1.0, pending_for_ms: LONG_PENDING_MS, ..ok },
        lie => Behaviour { lie: Some(lie.parse().ok()?), ..ok },
    };
    let Value::Object(mut changes) = json!(behaviour) else { return None };
    changes.remove("reject_offers");
    Some(changes)
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
    fn every_named_behaviour_can_be_set_and_ends_the_one_before() {
        let refused = HashSet::from([Uuid::nil()]);
        let mut now = Behaviour { reject_offers: refused.clone(), ..Behaviour::default() };
        for name in names() {
            now = now.changed(named(name).expect(name)).expect(name);
            let is_lie = now.lie.is_some_and(|lie| lie.as_ref() == name);
            assert_eq!(is_lie, !PLAIN.contains(&name), "{name}");
            assert_eq!((now.down, &now.reject_offers), (name == "down", &refused), "{name}");
        }
        assert_eq!(named("sideways"), None);
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
