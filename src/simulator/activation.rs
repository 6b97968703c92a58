//! One activation in the simulated system: a pure state machine.
//!
//! The one thing to know: once `Activated` or `Cancelled` it never changes again, and a cancelled one
//! is never done, whether the cancellation or the request came first.

/// Where one activation stands. A byte, because millions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(super) enum Activation {
    /// Never asked for; only calls about it have been counted.
    #[default]
    Unseen,
    /// Taken, to be done when its time has come.
    Pending,
    /// Refused for good.
    Rejected,
    /// Done.
    Activated,
    /// Never to be done: the tombstone of a cancellation.
    Cancelled,
}

/// What happens to an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// Somebody asks for it; the verdict counts only the first time.
    Requested(Verdict),
    /// The time of a pending one has come.
    CameDue,
    /// Somebody asks that it never be done.
    CancelRequested,
}

/// What the system decides about a request that it sees for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Do,
    TakeForLater,
    Reject,
}

/// What is written to the log, exactly once each for one activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Effect {
    Activated,
    Cancelled,
}

impl Activation {
    /// The state after `happening`, and the effect it had on the world, if any.
    pub(super) fn after(self, happening: Happening) -> (Activation, Option<Effect>) {
        use Activation::{Activated, Cancelled, Pending, Rejected, Unseen};
        match (self, happening) {
            (Unseen, Happening::Requested(Verdict::Do)) => (Activated, Some(Effect::Activated)),
            (Unseen, Happening::Requested(Verdict::TakeForLater)) => (Pending, None),
            (Unseen, Happening::Requested(Verdict::Reject)) => (Rejected, None),
            (Pending, Happening::CameDue) => (Activated, Some(Effect::Activated)),
            (Unseen | Pending | Rejected, Happening::CancelRequested) => (Cancelled, Some(Effect::Cancelled)),
            // Too late, or once more.
            (Activated | Cancelled, Happening::CancelRequested) => (self, None),
            // The client repeats itself and hears what it heard.
            (Pending | Rejected | Activated | Cancelled, Happening::Requested(_)) => (self, None),
            (Unseen | Rejected | Activated | Cancelled, Happening::CameDue) => (self, None),
        }
    }
}

impl From<Effect> for Activation {
    fn from(effect: Effect) -> Activation {
        match effect {
            Effect::Activated => Activation::Activated,
            Effect::Cancelled => Activation::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(happenings: &[Happening]) -> (Activation, Vec<Effect>) {
        let mut effects = Vec::new();
        let end = happenings.iter().fold(Activation::Unseen, |activation, happening| {
            let (next, effect) = activation.after(*happening);
            effects.extend(effect);
            next
        });
        (end, effects)
    }

    const DO: Happening = Happening::Requested(Verdict::Do);
    const LATER: Happening = Happening::Requested(Verdict::TakeForLater);
    const REJECT: Happening = Happening::Requested(Verdict::Reject);

    #[test]
    fn a_repeated_request_is_done_once() {
        assert_eq!(run(&[DO, DO, DO]), (Activation::Activated, vec![Effect::Activated]));
    }

    #[test]
    fn a_request_that_arrives_after_its_cancellation_is_never_done() {
        let end = run(&[Happening::CancelRequested, DO, LATER, Happening::CameDue]);
        assert_eq!(end, (Activation::Cancelled, vec![Effect::Cancelled]));
    }

    #[test]
    fn a_cancellation_after_the_activation_is_too_late() {
        assert_eq!(run(&[DO, Happening::CancelRequested]), (Activation::Activated, vec![Effect::Activated]));
    }

    #[test]
    fn a_pending_one_is_done_when_due_and_can_be_cancelled_before() {
        assert_eq!(run(&[LATER, Happening::CameDue]), (Activation::Activated, vec![Effect::Activated]));
        let cancelled = run(&[LATER, Happening::CancelRequested, Happening::CameDue]);
        assert_eq!(cancelled, (Activation::Cancelled, vec![Effect::Cancelled]));
    }

    #[test]
    fn a_rejection_stands_even_when_the_system_would_decide_otherwise_now() {
        assert_eq!(run(&[REJECT, DO]), (Activation::Rejected, vec![]));
    }

    proptest! {
        #[test]
        fn whatever_happens_there_is_at_most_one_effect_and_it_agrees_with_the_state(
            happenings in prop::collection::vec(
                prop::sample::select(vec![DO, LATER, REJECT, Happening::CameDue, Happening::CancelRequested]),
                0..20,
            )
        ) {
            let (end, effects) = run(&happenings);
            let told: Vec<Activation> = effects.into_iter().map(Activation::from).collect();
            match end {
                Activation::Activated | Activation::Cancelled => prop_assert_eq!(told, vec![end]),
                _ => prop_assert!(told.is_empty()),
            }
        }
    }
}
