//! What holds for every aggregate alike.

use crate::life::{Life, Step, Subject, replay};
use crate::orders;
use cqrs_es::test::TestFramework;
use domain::account::{self, Account};
use domain::offer::Offer;
use domain::transaction::{AttemptKind, Command, Transaction};
use domain::user_offer::UserOffer;
use domain::{Entry, Money};
use proptest::prelude::*;
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(0x1d);

/// Who replays history, in memory or from its stored text, stands where who lived it stands.
fn replaying_gives_the_state_that_was_lived<A: Subject>(life: &Life<A>) {
    let history = life.history();
    let stored = serde_json::to_string(&history).expect("events are JSON");
    let read: Vec<A::Event> = serde_json::from_str(&stored).expect("what was written is read");
    assert_eq!(serde_json::to_string(&read).expect("events are JSON"), stored, "in the same bytes");
    assert_eq!(replay::<A>(history), life.now);
    assert_eq!(replay::<A>(read), life.now);
}

fn a_state_survives_being_written_down<A: Subject>(life: &Life<A>) {
    let stored = serde_json::to_string(&life.now).expect("a state is JSON");
    assert_eq!(serde_json::from_str::<A>(&stored).expect("what was written is read"), life.now);
}

fn what_yields_no_events_changes_nothing<A: Subject>(life: &Life<A>) {
    for step in life.steps.iter().filter(|step| step.events().is_empty()) {
        assert_eq!(step.before, step.after, "{:?}", step.command);
    }
}

/// In every state that was reached, whatever event came, even one that no rule writes there.
fn postings_sum_to_zero<A: Subject>(life: &Life<A>) {
    for event in life.history() {
        for step in &life.steps {
            let entries = step.before.postings(ID, &event);
            assert_eq!(total(&entries), Money::ZERO, "{event:?} moves {entries:?}");
            assert!(entries.iter().all(|entry| entry.amount.to_string() != "-0.00"), "{entries:?}");
        }
    }
    assert_eq!(total(&life.entries(ID)), Money::ZERO);
}

fn total(entries: &[Entry]) -> Money {
    entries.iter().map(|entry| entry.amount).sum()
}

/// cqrs-es's `handle` only forwards to the rule.
fn cqrs_es_sees_the_same_decision<A: Subject>(life: &Life<A>) {
    let Some(last) = life.steps.last() else { return };
    let before = Life::<A>::of(
        life.steps.iter().map(|step| step.command.clone()).take(life.steps.len() - 1).collect(),
    );
    let handled = TestFramework::<A>::with(()).given(before.history()).when(last.command.clone());
    assert_eq!(handled.inspect_result(), last.outcome);
}

fn every_law<A: Subject>(life: &Life<A>) {
    replaying_gives_the_state_that_was_lived(life);
    a_state_survives_being_written_down(life);
    what_yields_no_events_changes_nothing(life);
    postings_sum_to_zero(life);
    cqrs_es_sees_the_same_decision(life);
}

/// What was accepted and is said again at once yields nothing and is not refused.
fn an_immediate_repeat_yields_nothing<A: Subject>(life: &Life<A>, repeatable: fn(&A::Command) -> bool) {
    for step in life.steps.iter().filter(|step| step.outcome.is_ok() && repeatable(&step.command)) {
        assert_eq!(step.after.decide(step.command.clone()), Ok(vec![]), "{:?} repeated", step.command);
    }
}

/// What led to something never leads to anything again, however much later it is repeated.
fn a_late_repeat_yields_nothing<A: Subject>(life: &Life<A>, repeatable: fn(&A::Command) -> bool) {
    let fruitful = |step: &Step<A>| !step.events().is_empty() && repeatable(&step.command);
    for (index, step) in life.steps.iter().enumerate().filter(|(_, step)| fruitful(step)) {
        for later in &life.steps[index..] {
            let again = later.after.decide(step.command.clone()).unwrap_or_default();
            assert_eq!(again, [], "{:?} repeated after {:?}", step.command, later.command);
        }
    }
}

/// A person may want another retry, and is told that a transaction is final.
fn is_of_a_person(command: &Command) -> bool {
    matches!(command, Command::RequestRetry | Command::Resolve { .. })
}

/// A look-up can go wrong and a cancellation begin in every attempt, and an answer can come again after a person
/// settled it.
fn can_come_again(command: &Command) -> bool {
    match command {
        Command::RecordFailedAttempt { kind, .. } => *kind != AttemptKind::Activate,
        other => matches!(other, Command::BeginCancellation | Command::RecordLateAnswer { .. }),
    }
}

proptest! {
    #[test]
    fn a_transaction_keeps_the_laws(commands in orders::to_a_transaction()) {
        let life = Life::<Transaction>::of(commands);
        every_law(&life);
        an_immediate_repeat_yields_nothing(&life, |command| !is_of_a_person(command));
        a_late_repeat_yields_nothing(&life, |command| !is_of_a_person(command) && !can_come_again(command));
    }

    #[test]
    fn a_subscription_keeps_the_laws(commands in orders::to_a_subscription()) {
        let life = Life::<UserOffer>::of(commands);
        every_law(&life);
        an_immediate_repeat_yields_nothing(&life, |_| true);
    }

    #[test]
    fn a_subscription_whose_clock_goes_forward_never_repeats_itself(
        commands in orders::to_a_subscription_in_time()
    ) {
        a_late_repeat_yields_nothing(&Life::<UserOffer>::of(commands), |_| true);
    }

    #[test]
    fn a_subscription_keeps_the_laws_at_the_end_of_time(
        commands in orders::to_a_subscription_near_the_end_of_time()
    ) {
        let life = Life::<UserOffer>::of(commands);
        every_law(&life);
        an_immediate_repeat_yields_nothing(&life, |_| true);
    }

    #[test]
    fn an_offer_keeps_the_laws(commands in orders::to_an_offer()) {
        let life = Life::<Offer>::of(commands);
        every_law(&life);
        an_immediate_repeat_yields_nothing(&life, |_| true); // later ones may: terms can change back
    }

    /// Two equal credits are two credits: a repeated one is known by its event's id, not by the state.
    #[test]
    fn an_account_keeps_the_laws(commands in orders::to_an_account()) {
        let life = Life::<Account>::of(commands);
        every_law(&life);
        an_immediate_repeat_yields_nothing(&life, |command| {
            matches!(command, account::Command::Open { .. })
        });
    }
}
