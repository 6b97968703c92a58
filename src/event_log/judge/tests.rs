//! The judge on its own: a state, some commits in order, the verdicts.

use super::*;
use crate::event_log::commit::{NewEvent, StreamWrite};
use proptest::prelude::*;

const ALICE: AccountId = AccountId(Uuid::from_u128(0xA));
const BOB: AccountId = AccountId(Uuid::from_u128(0xB));

fn cents(hundredths: i64) -> Money {
    Money::from_hundredths(hundredths)
}

fn stream(id: u128) -> StreamId {
    StreamId { aggregate_type: "Transaction", aggregate_id: Uuid::from_u128(id) }
}

fn event(id: u128) -> NewEvent {
    NewEvent {
        event_id: Uuid::from_u128(id),
        event_type: "Processing".into(),
        event_version: "1.0".into(),
        payload: "{}".into(),
    }
}

/// `events` events onto stream `id` at `version`.
fn write(id: u128, version: i64, events: u128) -> StreamWrite {
    StreamWrite {
        stream: stream(id),
        expected_version: version,
        events: (0..events).map(|n| event(id * 1_000 + n)).collect(),
    }
}

/// One event onto the new stream `id`, moving `hundredths` on `account`.
fn activation(id: u128, account: AccountId, hundredths: i64) -> Commit {
    Commit { writes: vec![write(id, 0, 1)], entries: vec![(account, cents(hundredths))], ..Commit::default() }
}

fn with_balances(balances: &[(AccountId, i64)]) -> State {
    let balances = balances.iter().map(|(account, hundredths)| (*account, cents(*hundredths))).collect();
    State { head: 10, balances, ..State::default() }
}

fn accepted(first: i64, last: i64, balances: &[(AccountId, i64)]) -> Verdict {
    let balances = balances.iter().map(|(account, hundredths)| (*account, cents(*hundredths))).collect();
    Verdict::Accepted { first, last, balances }
}

#[test]
fn positions_go_on_from_the_head_without_gaps() {
    let mut state = with_balances(&[(ALICE, 100)]);
    assert_eq!(state.judge(&activation(1, ALICE, -10)), accepted(11, 11, &[(ALICE, 90)]));
    let two = Commit { writes: vec![write(2, 0, 2), write(3, 0, 1)], ..Commit::default() };
    assert_eq!(state.judge(&two), accepted(12, 14, &[]));
    assert_eq!(state.judge(&activation(4, ALICE, -10)), accepted(15, 15, &[(ALICE, 80)]));
}

#[test]
fn the_last_money_goes_to_the_first_in_line() {
    let mut state = with_balances(&[(ALICE, 25)]);
    assert_eq!(state.judge(&activation(1, ALICE, -20)), accepted(11, 11, &[(ALICE, 5)]));
    assert_eq!(state.judge(&activation(2, ALICE, -20)), Verdict::InsufficientFunds(ALICE));
    assert_eq!(state.judge(&activation(3, ALICE, -5)), accepted(12, 12, &[(ALICE, 0)]));
    assert_eq!(state.judge(&activation(4, BOB, -1)), Verdict::InsufficientFunds(BOB));
}

#[test]
fn a_refund_in_the_batch_pays_for_what_follows() {
    let mut state = with_balances(&[(ALICE, 0)]);
    assert_eq!(state.judge(&activation(1, ALICE, -20)), Verdict::InsufficientFunds(ALICE));
    assert_eq!(state.judge(&activation(2, ALICE, 20)), accepted(11, 11, &[(ALICE, 20)]));
    assert_eq!(state.judge(&activation(3, ALICE, -20)), accepted(12, 12, &[(ALICE, 0)]));
}

#[test]
fn a_refused_commit_leaves_no_trace() {
    let mut state = with_balances(&[(ALICE, 100), (BOB, 0)]);
    let both = Commit {
        writes: vec![write(1, 0, 1)],
        entries: vec![(ALICE, cents(-60)), (BOB, cents(-1))],
        ..Commit::default()
    };
    assert_eq!(state.judge(&both), Verdict::InsufficientFunds(BOB));
    assert_eq!(state.judge(&activation(1, ALICE, -100)), accepted(11, 11, &[(ALICE, 0)]));
}

#[test]
fn several_entries_on_one_account_count_together() {
    let mut state = with_balances(&[(ALICE, 10)]);
    let swap = Commit {
        writes: vec![write(1, 0, 1)],
        entries: vec![(ALICE, cents(-20)), (ALICE, cents(15))],
        ..Commit::default()
    };
    assert_eq!(state.judge(&swap), accepted(11, 11, &[(ALICE, 5)]));
}

#[test]
fn a_stream_that_has_moved_is_a_conflict() {
    let mut state = State { versions: [(stream(1), 3)].into(), ..State::default() };
    let onto = |version| Commit { writes: vec![write(1, version, 1)], ..Commit::default() };
    assert_eq!(state.judge(&onto(2)), Verdict::Conflict(stream(1)));
    assert_eq!(state.judge(&onto(3)), accepted(1, 1, &[]));
    assert_eq!(state.judge(&onto(3)), Verdict::Conflict(stream(1))); // the one before has moved it
    assert_eq!(state.judge(&onto(4)), accepted(2, 2, &[]));
}

#[test]
fn a_stream_that_was_only_read_is_checked_too() {
    let mut state = State { versions: [(stream(9), 7)].into(), ..with_balances(&[(ALICE, 50)]) };
    let reading =
        |version| Commit { expected_versions: vec![(stream(9), version)], ..activation(1, ALICE, -10) };
    assert_eq!(state.judge(&reading(6)), Verdict::Conflict(stream(9)));
    assert_eq!(state.judge(&reading(7)), accepted(11, 11, &[(ALICE, 40)]));
}

#[test]
fn a_moved_offer_is_told_before_missing_money() {
    let mut state = State { versions: [(stream(9), 7)].into(), ..with_balances(&[]) };
    let poor = Commit { expected_versions: vec![(stream(9), 6)], ..activation(1, ALICE, -10) };
    assert_eq!(state.judge(&poor), Verdict::Conflict(stream(9)));
}

#[test]
fn a_repeat_is_recognised_before_anything_else() {
    let mut state = with_balances(&[(ALICE, 10)]);
    let twin = Commit { is_idempotent: true, ..activation(1, ALICE, -10) };
    let id = twin.first_event_id().unwrap();
    assert_eq!(state.judge(&twin), accepted(11, 11, &[(ALICE, 0)]));
    assert_eq!(state.judge(&twin), Verdict::Repeated(id)); // not a conflict, not missing money
    let mut later = State { events: [(id, true)].into(), ..State::default() };
    assert_eq!(later.judge(&twin), Verdict::Repeated(id));
}

#[test]
fn a_balance_that_would_not_fit_is_refused() {
    let mut state = with_balances(&[(ALICE, 999_999_999_999_999_999)]);
    assert_eq!(state.judge(&activation(1, ALICE, 1)), Verdict::BalanceTooLarge(ALICE));
}

proptest! {
    /// Any batch: positions are contiguous, no balance is ever below zero, money is moved by accepted
    /// commits only, and each is judged as if it stood alone after those before it.
    #[test]
    fn any_batch_is_judged_one_by_one(
        opening in prop::collection::vec(0_i64..500, 3),
        commits in prop::collection::vec((0_u128..6, 0_i64..3, 1_u128..4, 0_usize..3, -300_i64..300, any::<bool>()), 0..60),
    ) {
        let accounts = [AccountId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)), AccountId(Uuid::from_u128(3))];
        let start = accounts.into_iter().zip(opening.iter().map(|hundredths| cents(*hundredths)));
        let mut state = State { balances: start.clone().collect(), ..State::default() };
        let mut balances: HashMap<AccountId, i64> = accounts.into_iter().zip(opening.iter().copied()).collect();
        let mut versions: HashMap<u128, i64> = HashMap::new();
        let mut head = 0;
        for (id, version, events, account, hundredths, is_idempotent) in commits {
            let account = accounts[account];
            let commit = Commit {
                writes: vec![write(id, version, events)],
                entries: vec![(account, cents(hundredths))],
                is_idempotent,
                ..Commit::default()
            };
            let mut alone = state.clone();
            let verdict = state.judge(&commit);
            prop_assert_eq!(&verdict, &alone.judge(&commit));
            match verdict {
                Verdict::Accepted { first, last, balances: after } => {
                    prop_assert_eq!((first, last), (head + 1, head + i64::try_from(events).unwrap()));
                    prop_assert_eq!(versions.get(&id).copied().unwrap_or(0), version);
                    head = last;
                    *versions.entry(id).or_default() += i64::try_from(events).unwrap();
                    *balances.get_mut(&account).unwrap() += hundredths;
                    prop_assert!(balances[&account] >= 0);
                    prop_assert_eq!(after, vec![(account, cents(balances[&account]))]);
                }
                Verdict::InsufficientFunds(poor) => {
                    prop_assert_eq!(poor, account);
                    prop_assert!(balances[&account] + hundredths < 0);
                }
                Verdict::Conflict(_) => prop_assert_ne!(versions.get(&id).copied().unwrap_or(0), version),
                Verdict::Repeated(_) => prop_assert!(is_idempotent && versions.contains_key(&id)),
                Verdict::BalanceTooLarge(_) => prop_assert!(false, "no such amounts here"),
            }
        }
        prop_assert_eq!(state.head, head);
    }
}
