//! A purchase: its status only moves forward, and its money is earned or given back, never both.

use crate::life::{Life, standing};
use crate::orders::{purchase, to_a_transaction};
use domain::transaction::{ActivationRequested, AttemptKind, Command, Event, Evidence, Status, Transaction};
use domain::{Ledger, Money, Rules};
use proptest::prelude::*;
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(0x1d);

/// None, PENDING, PROCESSING, final.
fn stage(status: Option<Status>) -> u8 {
    match status {
        None => 0,
        Some(Status::Pending) => 1,
        Some(Status::Processing) => 2,
        Some(Status::Success | Status::Failed) => 3,
    }
}

/// Where the price stands in this state: at the payer's (as what is gone), held, earned.
fn expected(state: &Transaction, price: Money) -> [Money; 3] {
    match state {
        Transaction::Pending { .. } | Transaction::Processing { .. } => [-price, price, Money::ZERO],
        Transaction::Succeeded { .. } => [-price, Money::ZERO, price],
        Transaction::None | Transaction::Failed { .. } => [Money::ZERO; 3],
    }
}

fn refunds(events: &[Event], request: &ActivationRequested) -> usize {
    let back = Event::Refunded { account_id: request.account_id, amount: request.amount };
    events.iter().filter(|event| **event == back).count()
}

/// From any request to its end: attempts, then success or failure, with repeats and late arrivals.
fn whole_life() -> impl Strategy<Value = (ActivationRequested, Vec<Command>)> {
    (purchase(), to_a_transaction()).prop_map(|(request, noise)| {
        let first = [Command::Request(request.clone()), Command::BeginAttempt { attempt: 1 }];
        (request, first.into_iter().chain(noise).collect())
    })
}

proptest! {
    #[test]
    fn a_status_only_moves_forward(commands in to_a_transaction()) {
        for step in Life::<Transaction>::of(commands).steps {
            prop_assert!(stage(step.before.status()) <= stage(step.after.status()));
            prop_assert_eq!(step.after.is_final(), stage(step.after.status()) == 3);
            if step.before.is_final() {
                prop_assert_eq!(step.before.status(), step.after.status());
                let notes = |event: &Event| matches!(event, Event::Contradicted { .. } | Event::Resolved { .. });
                prop_assert!(step.events().iter().all(notes), "only notes follow the end");
            }
        }
    }

    #[test]
    fn what_was_asked_for_never_changes((request, commands) in whole_life()) {
        for step in Life::<Transaction>::of(commands).steps {
            prop_assert_eq!(step.after.request(), Some(&request));
            prop_assert_eq!(step.after.decide(Command::Request(request.clone())), Ok(vec![]));
        }
    }

    #[test]
    fn attempts_are_counted_one_by_one((_, commands) in whole_life()) {
        let history = Life::<Transaction>::of(commands).history();
        let attempts: Vec<u32> = history
            .iter()
            .filter_map(|event| match event { Event::Processing { attempt } => Some(*attempt), _ => None })
            .collect();
        prop_assert_eq!(&attempts, &(1..).take(attempts.len()).collect::<Vec<u32>>());
    }

    #[test]
    fn it_is_given_up_only_when_every_attempt_certainly_had_no_effect((_, commands) in whole_life()) {
        let mut history: Vec<Event> = Vec::new();
        for step in Life::<Transaction>::of(commands).steps {
            let gave_up = step.command == Command::GiveUp && !step.events().is_empty();
            let begun = history.iter().filter_map(|event| match event {
                Event::Processing { attempt } => Some(*attempt),
                _ => None,
            });
            let certain = |number: u32| {
                let mut ends = history.iter().filter_map(|event| match event {
                    Event::AttemptFailed { attempt, kind: AttemptKind::Activate, evidence, .. } if *attempt == number => Some(*evidence),
                    _ => None,
                }).peekable();
                ends.peek().is_some() && ends.all(|evidence| matches!(evidence, Evidence::NotSent | Evidence::NotTaken))
            };
            let all_certain = begun.collect::<Vec<_>>().into_iter().all(certain);
            prop_assert!(!gave_up || all_certain, "{history:?}");
            history.extend(step.events().iter().cloned());
        }
    }

    #[test]
    fn the_same_failure_of_a_look_up_is_recorded_once_until_the_next_attempt((_, commands) in whole_life()) {
        let history = Life::<Transaction>::of(commands).history();
        let seen = |event: &Event| match event {
            Event::AttemptFailed { kind, evidence, .. } => Some((*kind, *evidence)),
            _ => None,
        };
        for pair in history.windows(2) {
            let repeated = seen(&pair[0]).filter(|(kind, _)| *kind != AttemptKind::Activate);
            prop_assert!(repeated.is_none() || repeated != seen(&pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn a_failure_and_its_refund_are_one_decision((request, commands) in whole_life()) {
        for step in Life::<Transaction>::of(commands).steps {
            let failures = step.events().iter().filter(|event| matches!(event, Event::Failed { .. })).count();
            prop_assert_eq!(refunds(step.events(), &request), failures);
        }
    }

    #[test]
    fn it_is_refunded_once_exactly_when_it_has_failed((request, commands) in whole_life()) {
        let life = Life::<Transaction>::of(commands);
        let failed = life.now.status() == Some(Status::Failed);
        prop_assert_eq!(refunds(&life.history(), &request), usize::from(failed));
        prop_assert_eq!(matches!(life.now, Transaction::Failed { refunded: true, .. }), failed);
    }

    #[test]
    fn what_was_reserved_is_earned_or_given_back((request, commands) in whole_life()) {
        let life = Life::<Transaction>::of(commands);
        let entries = life.entries(ID);
        let payer = Ledger::Owner(request.account_id);
        let stands = [payer, Ledger::Holding, Ledger::Revenue].map(|ledger| standing(&entries, ledger));
        prop_assert_eq!(stands, expected(&life.now, request.amount));
        prop_assert!(entries.iter().all(|entry| [payer, Ledger::Holding, Ledger::Revenue].contains(&entry.ledger)));
    }

    #[test]
    fn nothing_moves_for_a_request_that_was_refused(
        request in purchase(), hundredths in 1..=9_999_999_999_i64
    ) {
        let gift = ActivationRequested { amount: Money::from_hundredths(-hundredths), ..request };
        let life = Life::<Transaction>::of(vec![Command::Request(gift)]);
        prop_assert!(life.steps[0].outcome.is_err());
        prop_assert_eq!(life.entries(ID), vec![]);
    }
}
