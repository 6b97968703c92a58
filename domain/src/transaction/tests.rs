//! What a transaction does with each command in each state.

use super::{ActivationRequested, Command, Error, Event, Kind, Status, Transaction};
use crate::scenarios::{scenarios, state, variants};
use crate::{AccountId, Money, OfferId, PartnerId, SubscriptionId, UserId};
use strum::VariantNames;
use uuid::Uuid;

variants!(STATES, state_of of Transaction:
    Transaction::None,
    Transaction::Pending { .. },
    Transaction::Processing { .. },
    Transaction::Succeeded { .. },
    Transaction::Failed { .. },
);

variants!(COMMANDS, command_of of Command:
    Command::Request(_),
    Command::BeginAttempt { .. },
    Command::Succeed { .. },
    Command::Fail { .. },
);

const USER: Uuid = Uuid::from_u128(0xa11ce);
const PARTNER: Uuid = Uuid::from_u128(0x9a97);

// --- what is asked for

fn purchase() -> ActivationRequested {
    ActivationRequested {
        kind: Kind::Activation,
        user_id: UserId(USER),
        account_id: AccountId(USER),
        partner_id: None,
        subscription_id: None,
        offer_id: OfferId(Uuid::from_u128(0x0ffe4)),
        offer_name: "Data 5 GB".to_owned(),
        duration_days: 30,
        amount: Money::from_hundredths(19_99),
        partner_reference: None,
        reference: None,
    }
}

fn dearer_purchase() -> ActivationRequested {
    ActivationRequested { amount: Money::from_hundredths(20_00), ..purchase() }
}

fn partner_purchase() -> ActivationRequested {
    ActivationRequested {
        kind: Kind::Partner,
        account_id: AccountId(PARTNER),
        partner_id: Some(PartnerId(PARTNER)),
        partner_reference: Some("order-7".to_owned()),
        reference: Some("REF-0123456789AB".to_owned()),
        ..purchase()
    }
}

fn purchase_by_the_user_at_the_partners_door() -> ActivationRequested {
    ActivationRequested { kind: Kind::Partner, reference: Some("REF-0123456789AB".to_owned()), ..purchase() }
}

fn renewal() -> ActivationRequested {
    ActivationRequested {
        kind: Kind::Renewal,
        subscription_id: Some(SubscriptionId(Uuid::from_u128(0x5b))),
        ..purchase()
    }
}

fn free_purchase() -> ActivationRequested {
    ActivationRequested { amount: Money::ZERO, ..purchase() }
}

// --- orders

fn request() -> Command {
    Command::Request(purchase())
}

fn begin(attempt: u32) -> Command {
    Command::BeginAttempt { attempt }
}

fn succeed(reference: &str) -> Command {
    Command::Succeed { reference: reference.to_owned() }
}

fn fail(code: &str, message: &str) -> Command {
    Command::Fail { code: code.to_owned(), message: message.to_owned() }
}

// --- histories

fn requested(request: ActivationRequested) -> Event {
    Event::ActivationRequested(request)
}

fn begun(attempt: u32) -> Event {
    Event::Processing { attempt }
}

fn done(reference: &str) -> Event {
    Event::Succeeded { reference: reference.to_owned() }
}

fn failed_and_refunded(request: &ActivationRequested) -> Vec<Event> {
    vec![
        Event::Failed { code: "no_stock".to_owned(), message: "Sold out".to_owned() },
        Event::Refunded { account_id: request.account_id, amount: request.amount },
    ]
}

fn nothing() -> Vec<Event> {
    vec![]
}

fn pending() -> Vec<Event> {
    vec![requested(purchase())]
}

fn processing() -> Vec<Event> {
    vec![requested(purchase()), begun(1)]
}

fn processing_again() -> Vec<Event> {
    vec![requested(purchase()), begun(1), begun(2)]
}

fn succeeded() -> Vec<Event> {
    vec![requested(purchase()), begun(1), done("ext-1")]
}

fn failed() -> Vec<Event> {
    [processing(), failed_and_refunded(&purchase())].concat()
}

scenarios! { Transaction:
    // --- nobody asked yet
    a_request_reserves_the_money:
        given nothing(), when request(), then Ok(vec![requested(purchase())]);
    a_partner_requests_on_its_own_account:
        given nothing(), when Command::Request(partner_purchase()), then Ok(vec![requested(partner_purchase())]);
    a_user_may_come_through_the_partners_door_on_the_own_account:
        given nothing(), when Command::Request(purchase_by_the_user_at_the_partners_door()),
        then Ok(vec![requested(purchase_by_the_user_at_the_partners_door())]);
    a_renewal_names_what_it_extends:
        given nothing(), when Command::Request(renewal()), then Ok(vec![requested(renewal())]);
    a_free_offer_can_be_requested:
        given nothing(), when Command::Request(free_purchase()), then Ok(vec![requested(free_purchase())]);
    nobody_is_paid_for_buying:
        given nothing(),
        when Command::Request(ActivationRequested { amount: Money::from_hundredths(-1), ..purchase() }),
        then Err(Error::UnsoundRequest);
    nobody_buys_on_anothers_account:
        given nothing(),
        when Command::Request(ActivationRequested { account_id: AccountId(PARTNER), ..purchase() }),
        then Err(Error::UnsoundRequest);
    a_partner_does_not_buy_on_the_users_account:
        given nothing(),
        when Command::Request(ActivationRequested { account_id: AccountId(USER), ..partner_purchase() }),
        then Err(Error::UnsoundRequest);
    what_a_partner_buys_is_no_users_activation:
        given nothing(),
        when Command::Request(ActivationRequested { kind: Kind::Activation, ..partner_purchase() }),
        then Err(Error::UnsoundRequest);
    a_renewal_of_nothing_is_refused:
        given nothing(),
        when Command::Request(ActivationRequested { subscription_id: None, ..renewal() }),
        then Err(Error::UnsoundRequest);
    an_activation_extends_nothing:
        given nothing(),
        when Command::Request(ActivationRequested { kind: Kind::Activation, ..renewal() }),
        then Err(Error::UnsoundRequest);
    no_attempt_begins_before_the_request:
        given nothing(), when begin(1), then Err(Error::NeverRequested);
    nothing_succeeds_before_the_request:
        given nothing(), when succeed("ext-1"), then Err(Error::NeverRequested);
    nothing_fails_before_the_request:
        given nothing(), when fail("no_stock", "Sold out"), then Err(Error::NeverRequested);

    // --- pending
    a_request_repeated_while_pending_changes_nothing:
        given pending(), when request(), then Ok(vec![]);
    another_request_under_the_same_id_is_refused_while_pending:
        given pending(), when Command::Request(dearer_purchase()), then Err(Error::AlreadyRequested);
    the_first_attempt_begins:
        given pending(), when begin(1), then Ok(vec![begun(1)]);
    the_first_attempt_is_not_the_second:
        given pending(), when begin(2), then Err(Error::AttemptOutOfOrder);
    there_is_no_attempt_zero:
        given pending(), when begin(0), then Err(Error::AttemptOutOfOrder);
    a_pending_one_cannot_succeed_because_nobody_was_asked:
        given pending(), when succeed("ext-1"), then Err(Error::NotProcessing);
    a_pending_one_cannot_fail_because_nobody_was_asked:
        given pending(), when fail("no_stock", "Sold out"), then Err(Error::NotProcessing);

    // --- processing
    a_request_repeated_while_processing_changes_nothing:
        given processing(), when request(), then Ok(vec![]);
    another_request_under_the_same_id_is_refused_while_processing:
        given processing(), when Command::Request(dearer_purchase()), then Err(Error::AlreadyRequested);
    an_attempt_that_has_begun_does_not_begin_again:
        given processing(), when begin(1), then Ok(vec![]);
    an_earlier_attempt_that_comes_late_changes_nothing:
        given processing_again(), when begin(1), then Ok(vec![]);
    the_next_attempt_begins:
        given processing(), when begin(2), then Ok(vec![begun(2)]);
    no_attempt_is_skipped:
        given processing(), when begin(3), then Err(Error::AttemptOutOfOrder);
    the_last_attempt_that_can_be_counted_is_not_followed_by_another:
        given vec![requested(purchase()), begun(u32::MAX)], when begin(u32::MAX), then Ok(vec![]);
    it_succeeds_while_processing:
        given processing(), when succeed("ext-1"), then Ok(vec![done("ext-1")]);
    it_succeeds_in_a_later_attempt:
        given processing_again(), when succeed("ext-1"), then Ok(vec![done("ext-1")]);
    a_failure_gives_the_money_back_in_the_same_decision:
        given processing(), when fail("no_stock", "Sold out"), then Ok(failed_and_refunded(&purchase()));
    a_partners_failure_gives_the_money_back_to_the_float:
        given vec![requested(partner_purchase()), begun(1)],
        when fail("no_stock", "Sold out"),
        then Ok(failed_and_refunded(&partner_purchase()));
    a_free_failure_is_refunded_too:
        given vec![requested(free_purchase()), begun(1)],
        when fail("no_stock", "Sold out"),
        then Ok(failed_and_refunded(&free_purchase()));

    // --- succeeded
    a_request_repeated_after_success_changes_nothing:
        given succeeded(), when request(), then Ok(vec![]);
    another_request_under_the_same_id_is_refused_after_success:
        given succeeded(), when Command::Request(dearer_purchase()), then Err(Error::AlreadyRequested);
    no_attempt_begins_after_success:
        given succeeded(), when begin(2), then Err(Error::AlreadySucceeded);
    a_redelivered_attempt_does_not_reopen_a_success:
        given succeeded(), when begin(1), then Err(Error::AlreadySucceeded);
    a_success_repeated_changes_nothing:
        given succeeded(), when succeed("ext-1"), then Ok(vec![]);
    a_second_success_with_another_reference_is_refused:
        given succeeded(), when succeed("ext-2"), then Err(Error::AlreadySucceeded);
    a_success_cannot_fail:
        given succeeded(), when fail("no_stock", "Sold out"), then Err(Error::AlreadySucceeded);

    // --- failed and refunded
    a_request_repeated_after_failure_changes_nothing:
        given failed(), when request(), then Ok(vec![]);
    another_request_under_the_same_id_is_refused_after_failure:
        given failed(), when Command::Request(dearer_purchase()), then Err(Error::AlreadyRequested);
    no_attempt_begins_after_failure:
        given failed(), when begin(2), then Err(Error::AlreadyFailed);
    a_redelivered_attempt_does_not_reopen_a_failure:
        given failed(), when begin(1), then Err(Error::AlreadyFailed);
    a_failure_cannot_succeed:
        given failed(), when succeed("ext-1"), then Err(Error::AlreadyFailed);
    a_failure_repeated_refunds_nothing_more:
        given failed(), when fail("no_stock", "Sold out"), then Ok(vec![]);
    a_failure_repeated_in_other_words_refunds_nothing_more:
        given failed(), when fail("no_stock", "None left"), then Ok(vec![]);
    a_second_failure_for_another_reason_is_refused:
        given failed(), when fail("cancelled", "Too late"), then Err(Error::AlreadyFailed);
}

#[test]
fn each_state_shows_its_status_and_what_was_asked_for() {
    let of = |history| {
        let state = state::<Transaction>(history);
        (state.status().map(|status| status.as_ref().to_owned()), state.is_final(), state.request().cloned())
    };
    assert_eq!(of(nothing()), (None, false, None));
    assert_eq!(of(pending()), (Some("PENDING".to_owned()), false, Some(purchase())));
    assert_eq!(of(processing()), (Some("PROCESSING".to_owned()), false, Some(purchase())));
    assert_eq!(of(succeeded()), (Some("SUCCESS".to_owned()), true, Some(purchase())));
    assert_eq!(of(failed()), (Some("FAILED".to_owned()), true, Some(purchase())));
}

#[test]
fn a_status_is_written_in_one_way() {
    assert_eq!(Status::VARIANTS, ["PENDING", "PROCESSING", "SUCCESS", "FAILED"]);
    assert_eq!(Kind::VARIANTS, ["activation", "renewal", "partner"]);
    for name in Status::VARIANTS {
        let status: Status = name.parse().expect("the name of a status");
        assert_eq!(serde_json::to_string(&status).expect("a status is JSON"), format!("{name:?}"));
    }
    for name in Kind::VARIANTS {
        let kind: Kind = name.parse().expect("the name of a kind");
        assert_eq!(serde_json::to_string(&kind).expect("a kind is JSON"), format!("{name:?}"));
    }
}
