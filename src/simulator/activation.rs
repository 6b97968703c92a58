//! One activation in the simulated system: a pure state machine.
//!
//! Once `Activated` or `Cancelled` it never changes again. A cancelled activation is never done, whether the
//! cancellation or the request came first.

/// One byte, because millions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(super) enum ActivationState {
    /// Not requested yet; only its calls are counted.
    #[default]
    Unseen,
    /// Accepted, to be done when it is due.
    Pending,
    Rejected,
    Activated,
    Cancelled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// The decision counts only the first time.
    Requested(Decision),
    /// A pending activation is due.
    CameDue,
    CancelRequested,
}

/// The decision about a new request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Do,
    TakeForLater,
    Reject,
}

/// A line of the log; at most one of each for one activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Effect {
    Activated,
    Cancelled,
}

impl ActivationState {
    /// The state after `input`, and its effect, if any.
    pub(super) fn after(self, input: Input) -> (ActivationState, Option<Effect>) {
        use ActivationState::{Activated, Cancelled, Pending, Rejected, Unseen};
        match (self, input) {
            (Unseen, Input::Requested(Decision::Do)) => (Activated, Some(Effect::Activated)),
            (Unseen, Input::Requested(Decision::TakeForLater)) => (Pending, None),
            (Unseen, Input::Requested(Decision::Reject)) => (Rejected, None),
            (Pending, Input::CameDue) => (Activated, Some(Effect::Activated)),
            (Unseen | Pending | Rejected, Input::CancelRequested) => (Cancelled, Some(Effect::Cancelled)),
            // Too late, or a repeat.
            (Activated | Cancelled, Input::CancelRequested) => (self, None),
            // A repeat gets the same answer.
            (Pending | Rejected | Activated | Cancelled, Input::Requested(_)) => (self, None),
            (Unseen | Rejected | Activated | Cancelled, Input::CameDue) => (self, None),
        }
    }
}

impl From<Effect> for ActivationState {
    fn from(effect: Effect) -> ActivationState {
        match effect {
            Effect::Activated => ActivationState::Activated,
            Effect::Cancelled => ActivationState::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(inputs: &[Input]) -> (ActivationState, Vec<Effect>) {
        let mut effects = Vec::new();
        let end = inputs.iter().fold(ActivationState::Unseen, |activation, input| {
            let (next, effect) = activation.after(*input);
            effects.extend(effect);
            next
        });
        (end, effects)
    }

    const DO: Input = Input::Requested(Decision::Do);
    const LATER: Input = Input::Requested(Decision::TakeForLater);
    const REJECT: Input = Input::Requested(Decision::Reject);

    #[test]
    fn a_repeated_request_is_done_once() {
        assert_eq!(run(&[DO, DO, DO]), (ActivationState::Activated, vec![Effect::Activated]));
    }

    #[test]
    fn a_request_that_arrives_after_its_cancellation_is_never_done() {
        let end = run(&[Input::CancelRequested, DO, LATER, Input::CameDue]);
        assert_eq!(end, (ActivationState::Cancelled, vec![Effect::Cancelled]));
    }

    #[test]
    fn a_cancellation_after_the_activation_is_too_late() {
        assert_eq!(run(&[DO, Input::CancelRequested]), (ActivationState::Activated, vec![Effect::Activated]));
    }

    #[test]
    fn a_pending_one_is_done_when_due_and_can_be_cancelled_before() {
        assert_eq!(run(&[LATER, Input::CameDue]), (ActivationState::Activated, vec![Effect::Activated]));
        let cancelled = run(&[LATER, Input::CancelRequested, Input::CameDue]);
        assert_eq!(cancelled, (ActivationState::Cancelled, vec![Effect::Cancelled]));
    }

    #[test]
    fn a_rejection_stands_even_when_the_system_would_decide_otherwise_now() {
        assert_eq!(run(&[REJECT, DO]), (ActivationState::Rejected, vec![]));
    }

    proptest! {
        #[test]
        fn whatever_happens_there_is_at_most_one_effect_and_it_agrees_with_the_state(
            inputs in prop::collection::vec(
                prop::sample::select(vec![DO, LATER, REJECT, Input::CameDue, Input::CancelRequested]),
                0..20,
            )
        ) {
            let (end, effects) = run(&inputs);
            let told: Vec<ActivationState> = effects.into_iter().map(ActivationState::from).collect();
            match end {
                ActivationState::Activated | ActivationState::Cancelled => prop_assert_eq!(told, vec![end]),
                _ => prop_assert!(told.is_empty()),
            }
        }
    }
}
