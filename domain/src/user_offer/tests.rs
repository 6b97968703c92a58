//! What a subscription does with each command in each state.

use super::{Command, Error, Event, Period, Subscribed, UserOffer};
use crate::scenarios::{scenarios, state, variants};
use crate::{OfferId, Timestamp, TransactionId, UserId};
use uuid::Uuid;

variants!(STATES, state_of of UserOffer:
    UserOffer::None,
    UserOffer::Subscribed(Subscribed { announced: false, expired: false, .. }),
    UserOffer::Subscribed(Subscribed { announced: true, expired: false, .. }),
    UserOffer::Subscribed(Subscribed { expired: true, .. }),
);

variants!(COMMANDS, command_of of Command:
    Command::Activate { .. },
    Command::Renew { .. },
    Command::AnnounceExpiry { .. },
    Command::Expire { .. },
);

const USER: UserId = UserId(Uuid::from_u128(0xa11ce));
const OFFER: OfferId = OfferId(Uuid::from_u128(0x0ffe4));
const FIRST: u128 = 1;
const SECOND: u128 = 2;
const THIRD: u128 = 3;

/// A day of 2026 at noon; January has 31, so `day(32)` is the first of February.
fn day(of_the_year: u32) -> Timestamp {
    let new_year: Timestamp = "2026-01-01T12:00:00.000000Z".parse().expect("a moment");
    new_year.plus_days(of_the_year - 1)
}

fn period(purchase: u128, starts_at: Timestamp, expires_at: Timestamp) -> Period {
    Period {
        user_id: USER,
        offer_id: OFFER,
        transaction_id: TransactionId(Uuid::from_u128(purchase)),
        starts_at,
        expires_at,
    }
}

// --- orders

/// For ten days.
fn activate(purchase: u128, at: Timestamp) -> Command {
    Command::Activate {
        user_id: USER,
        offer_id: OFFER,
        transaction_id: TransactionId(Uuid::from_u128(purchase)),
        duration_days: 10,
        at,
    }
}

/// For ten days.
fn renew(purchase: u128, at: Timestamp) -> Command {
    Command::Renew { transaction_id: TransactionId(Uuid::from_u128(purchase)), duration_days: 10, at }
}

fn announce(expires_at: Timestamp) -> Command {
    Command::AnnounceExpiry { expires_at }
}

fn expire(at: Timestamp) -> Command {
    Command::Expire { at }
}

// --- histories: active from day 1, to the end of day 11

fn activated() -> Event {
    Event::Activated(period(FIRST, day(1), day(11)))
}

fn renewed(purchase: u128, starts_at: Timestamp, expires_at: Timestamp) -> Event {
    Event::Renewed(period(purchase, starts_at, expires_at))
}

fn announced(expires_at: Timestamp) -> Event {
    Event::ExpirySoon { user_id: USER, offer_id: OFFER, expires_at }
}

fn expired(expires_at: Timestamp) -> Event {
    Event::Expired { user_id: USER, offer_id: OFFER, expires_at }
}

fn nothing() -> Vec<Event> {
    vec![]
}

fn running() -> Vec<Event> {
    vec![activated()]
}

fn running_twice_as_long() -> Vec<Event> {
    vec![activated(), renewed(SECOND, day(11), day(21))]
}

fn ending() -> Vec<Event> {
    vec![activated(), announced(day(11))]
}

fn ended() -> Vec<Event> {
    vec![activated(), announced(day(11)), expired(day(11))]
}

scenarios! { UserOffer:
    // --- not activated yet
    an_activation_starts_now_and_ends_after_its_days:
        given nothing(), when activate(FIRST, day(1)), then Ok(vec![activated()]);
    what_was_never_activated_cannot_be_renewed:
        given nothing(), when renew(FIRST, day(1)), then Err(Error::NeverActivated);
    what_was_never_activated_does_not_end_soon:
        given nothing(), when announce(day(11)), then Err(Error::NeverActivated);
    what_was_never_activated_does_not_end:
        given nothing(), when expire(day(11)), then Err(Error::NeverActivated);

    // --- running
    an_activation_repeated_changes_nothing:
        given running(), when activate(FIRST, day(1)), then Ok(vec![]);
    an_activation_repeated_later_moves_nothing:
        given running(), when activate(FIRST, day(5)), then Ok(vec![]);
    a_second_purchase_does_not_activate_it_again:
        given running(), when activate(SECOND, day(2)), then Err(Error::AlreadyActivated);
    a_renewal_extends_a_running_one_from_its_end:
        given running(), when renew(SECOND, day(5)), then Ok(vec![renewed(SECOND, day(11), day(21))]);
    a_renewal_at_the_very_end_loses_no_time:
        given running(), when renew(SECOND, day(11)), then Ok(vec![renewed(SECOND, day(11), day(21))]);
    renewals_add_up:
        given running_twice_as_long(), when renew(THIRD, day(5)),
        then Ok(vec![renewed(THIRD, day(21), day(31))]);
    a_renewal_repeated_counts_once:
        given running_twice_as_long(), when renew(SECOND, day(5)), then Ok(vec![]);
    a_renewal_repeated_after_another_one_counts_once:
        given [running_twice_as_long(), vec![renewed(THIRD, day(21), day(31))]].concat(),
        when renew(SECOND, day(6)), then Ok(vec![]);
    the_first_purchase_does_not_renew_what_it_started:
        given running(), when renew(FIRST, day(5)), then Ok(vec![]);
    a_renewing_purchase_does_not_activate:
        given running_twice_as_long(), when activate(SECOND, day(5)), then Ok(vec![]);
    a_near_end_is_announced:
        given running(), when announce(day(11)), then Ok(vec![announced(day(11))]);
    an_end_that_has_moved_is_not_announced:
        given running_twice_as_long(), when announce(day(11)), then Ok(vec![]);
    an_end_is_recorded_when_it_has_come:
        given running(), when expire(day(12)), then Ok(vec![expired(day(11))]);
    an_end_has_come_at_its_very_moment:
        given running(), when expire(day(11)), then Ok(vec![expired(day(11))]);
    an_end_that_lies_ahead_is_not_recorded:
        given running(), when expire(day(10)), then Ok(vec![]);
    an_end_that_has_moved_is_not_recorded:
        given running_twice_as_long(), when expire(day(12)), then Ok(vec![]);

    // --- its end was announced
    an_activation_repeated_after_the_announcement_changes_nothing:
        given ending(), when activate(FIRST, day(1)), then Ok(vec![]);
    a_second_purchase_does_not_activate_what_ends_soon:
        given ending(), when activate(SECOND, day(9)), then Err(Error::AlreadyActivated);
    a_renewal_extends_what_ends_soon_from_its_end:
        given ending(), when renew(SECOND, day(9)), then Ok(vec![renewed(SECOND, day(11), day(21))]);
    an_end_is_announced_once:
        given ending(), when announce(day(11)), then Ok(vec![]);
    a_new_end_is_announced_again:
        given [ending(), vec![renewed(SECOND, day(11), day(21))]].concat(),
        when announce(day(21)), then Ok(vec![announced(day(21))]);
    an_announced_end_is_recorded_when_it_has_come:
        given ending(), when expire(day(11)), then Ok(vec![expired(day(11))]);
    an_announced_end_that_lies_ahead_is_not_recorded:
        given ending(), when expire(day(10)), then Ok(vec![]);

    // --- its end was recorded
    an_activation_repeated_after_the_end_changes_nothing:
        given ended(), when activate(FIRST, day(1)), then Ok(vec![]);
    a_second_purchase_does_not_activate_what_has_ended:
        given ended(), when activate(SECOND, day(12)), then Err(Error::AlreadyActivated);
    a_renewal_restarts_an_ended_one_from_now:
        given ended(), when renew(SECOND, day(15)), then Ok(vec![renewed(SECOND, day(15), day(25))]);
    a_renewal_restarts_one_whose_end_nobody_recorded_from_now:
        given running(), when renew(SECOND, day(15)), then Ok(vec![renewed(SECOND, day(15), day(25))]);
    an_end_that_was_recorded_is_not_announced:
        given vec![activated(), expired(day(11))], when announce(day(11)), then Ok(vec![]);
    an_end_is_recorded_once:
        given ended(), when expire(day(12)), then Ok(vec![]);
    a_new_end_is_recorded_again:
        given [ended(), vec![renewed(SECOND, day(15), day(25))]].concat(),
        when expire(day(25)), then Ok(vec![expired(day(25))]);
}

#[test]
fn every_purchase_is_remembered_across_renewals() {
    let UserOffer::Subscribed(now) = state::<UserOffer>(running_twice_as_long()) else {
        panic!("activated and renewed, so subscribed");
    };
    assert_eq!(now.paid_by, [FIRST, SECOND].map(|id| TransactionId(Uuid::from_u128(id))));
    assert_eq!((now.user_id, now.offer_id, now.expires_at), (USER, OFFER, day(21)));
}
