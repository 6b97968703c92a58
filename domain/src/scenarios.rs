//! Given/when/then for every pair of state and command.
//!
//! The tests of an aggregate are a table of sentences. Two lists of patterns name its states and its
//! commands: a variant missing from them does not compile, and a pair missing from the table fails
//! `every_pair_of_state_and_command_has_a_scenario`.

use crate::Rules;
use cqrs_es::test::TestFramework;

/// Follows `when` on the history `given` through cqrs-es, and expects `then`.
pub(crate) fn check<A: Rules>(given: Vec<A::Event>, when: A::Command, then: Result<Vec<A::Event>, A::Error>)
where
    A::Error: PartialEq,
{
    let outcome = TestFramework::<A>::with(()).given(given).when(when);
    match then {
        Ok(events) => outcome.then_expect_events(events),
        Err(error) => outcome.then_expect_error(error),
    }
}

/// The state that `history` leads to.
pub(crate) fn state<A: Rules>(history: Vec<A::Event>) -> A {
    let mut state = A::default();
    for event in history {
        state.apply(event);
    }
    state
}

/// A function that names the variant of a value, and the list of all its names. The patterns must be
/// exhaustive, so that a new variant does not compile until it is listed.
macro_rules! variants {
    ($all:ident, $name_of:ident of $type:ty: $($pattern:pat),+ $(,)?) => {
        const $all: &[&str] = &[$(stringify!($pattern)),+];

        fn $name_of(value: &$type) -> &'static str {
            match value {
                $($pattern => stringify!($pattern),)+
            }
        }
    };
}

/// One test a sentence, and one that no pair of state and command is missing.
macro_rules! scenarios {
    ($aggregate:ty: $($sentence:ident: given $given:expr, when $when:expr, then $then:expr;)+) => {
        $(
            #[test]
            fn $sentence() {
                crate::scenarios::check::<$aggregate>($given, $when, $then);
            }
        )+

        #[test]
        fn every_pair_of_state_and_command_has_a_scenario() {
            let seen = [$((
                state_of(&crate::scenarios::state::<$aggregate>($given)),
                command_of(&$when),
            )),+];
            for state in STATES {
                for command in COMMANDS {
                    assert!(seen.contains(&(state, command)), "no scenario gives {command} to {state}");
                }
            }
        }
    };
}

pub(crate) use {scenarios, variants};
