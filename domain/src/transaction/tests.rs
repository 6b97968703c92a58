//! What a transaction does with each command in each state.

use super::{
    ActivationRequested, Answer, AttemptKind, Command, Error, Event, Evidence, Kind, Outcome, Status,
    Transaction,
};
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
    Command::BeginCancellation,
    Command::RecordFailedAttempt { .. },
    Command::GiveUp,
    Command::RequestRetry,
    Command::Resolve { .. },
    Command::RecordLateAnswer { .. },
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

fn record(attempt: u32, kind: AttemptKind, evidence: Evidence) -> Command {
    Command::RecordFailedAttempt { attempt, kind, evidence, detail: "why".to_owned() }
}

fn unanswered(attempt: u32) -> Command {
    record(attempt, AttemptKind::Activate, Evidence::SentNoAnswer)
}

fn refused(attempt: u32) -> Command {
    record(attempt, AttemptKind::Activate, Evidence::NotSent)
}

fn resolve(done_as: Option<&str>) -> Command {
    Command::Resolve { done_as: done_as.map(str::to_owned) }
}

fn late(answer: Answer, detail: &str) -> Command {
    Command::RecordLateAnswer { kind: AttemptKind::LookUp, answer, detail: detail.to_owned() }
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

fn attempt_failed(attempt: u32, kind: AttemptKind, evidence: Evidence) -> Event {
    Event::AttemptFailed { attempt, kind, evidence, detail: "why".to_owned() }
}

fn was_unanswered(attempt: u32) -> Event {
    attempt_failed(attempt, AttemptKind::Activate, Evidence::SentNoAnswer)
}

fn was_refused(attempt: u32) -> Event {
    attempt_failed(attempt, AttemptKind::Activate, Evidence::NotSent)
}

fn look_up_unanswered(attempt: u32) -> Event {
    attempt_failed(attempt, AttemptKind::LookUp, Evidence::SentNoAnswer)
}

fn cancellation_unanswered() -> Event {
    attempt_failed(1, AttemptKind::Cancel, Evidence::SentNoAnswer)
}

fn ended(code: &str, message: &str) -> Vec<Event> {
    vec![
        Event::Failed { code: code.to_owned(), message: message.to_owned() },
        Event::Refunded { account_id: purchase().account_id, amount: purchase().amount },
    ]
}

fn given_up() -> Vec<Event> {
    ended("deadline_exceeded", "It could not be activated in time")
}

fn resolved(outcome: Outcome) -> Event {
    Event::Resolved { outcome }
}

fn contradicted(answer: Answer, detail: &str) -> Event {
    Event::Contradicted { kind: AttemptKind::LookUp, answer, detail: detail.to_owned() }
}

fn resolved_as_failed() -> Vec<Event> {
    [vec![resolved(Outcome::Failed)], ended("resolved", "It was not activated")].concat()
}

fn resolved_as_done() -> Vec<Event> {
    vec![resolved(Outcome::Succeeded), done("ext-1")]
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

    // --- an attempt without a definite answer
    an_attempt_without_an_answer_is_recorded_with_its_evidence:
        given processing(), when unanswered(1), then Ok(vec![was_unanswered(1)]);
    an_attempt_that_was_not_sent_is_recorded_with_its_evidence:
        given processing(), when refused(1), then Ok(vec![was_refused(1)]);
    the_end_of_an_attempt_is_recorded_once:
        given [processing(), vec![was_unanswered(1)]].concat(), when unanswered(1), then Ok(vec![]);
    the_end_of_an_earlier_attempt_is_recorded_when_it_comes_late:
        given processing_again(), when unanswered(1), then Ok(vec![was_unanswered(1)]);
    no_attempt_ends_before_it_has_begun:
        given processing(), when unanswered(2), then Err(Error::AttemptOutOfOrder);
    a_look_up_that_goes_wrong_like_the_last_one_says_nothing_new:
        given [processing(), vec![was_unanswered(1), look_up_unanswered(1)]].concat(),
        when record(1, AttemptKind::LookUp, Evidence::SentNoAnswer), then Ok(vec![]);
    a_look_up_that_goes_wrong_in_another_way_is_recorded:
        given [processing(), vec![was_unanswered(1), look_up_unanswered(1)]].concat(),
        when record(1, AttemptKind::LookUp, Evidence::NotSent),
        then Ok(vec![attempt_failed(1, AttemptKind::LookUp, Evidence::NotSent)]);
    nothing_goes_wrong_before_the_request:
        given nothing(), when unanswered(1), then Err(Error::NeverRequested);
    nothing_goes_wrong_before_the_first_attempt:
        given pending(), when unanswered(1), then Err(Error::NotProcessing);
    what_went_wrong_before_the_success_is_no_longer_of_interest:
        given succeeded(), when unanswered(1), then Ok(vec![]);
    what_went_wrong_before_the_failure_is_no_longer_of_interest:
        given failed(), when unanswered(1), then Ok(vec![]);

    // --- the deadline
    nothing_is_given_up_before_the_request:
        given nothing(), when Command::GiveUp, then Err(Error::NeverRequested);
    what_was_never_tried_can_be_given_up:
        given pending(), when Command::GiveUp, then Ok(given_up());
    what_never_reached_the_external_system_can_be_given_up:
        given [processing(), vec![was_refused(1), begun(2), was_refused(2)]].concat(),
        when Command::GiveUp, then Ok(given_up());
    an_attempt_under_way_cannot_be_given_up:
        given processing(), when Command::GiveUp, then Err(Error::MayBeDone);
    an_attempt_without_an_answer_cannot_be_given_up:
        given [processing(), vec![was_unanswered(1)]].concat(), when Command::GiveUp, then Err(Error::MayBeDone);
    an_earlier_attempt_without_an_end_cannot_be_given_up:
        given [processing_again(), vec![was_refused(2)]].concat(), when Command::GiveUp, then Err(Error::MayBeDone);
    a_success_is_not_given_up:
        given succeeded(), when Command::GiveUp, then Err(Error::AlreadySucceeded);
    a_failure_is_not_given_up:
        given failed(), when Command::GiveUp, then Err(Error::AlreadyFailed);
    what_was_given_up_is_refunded_once:
        given [pending(), given_up()].concat(), when Command::GiveUp, then Ok(vec![]);

    // --- the cancellation
    nothing_is_cancelled_before_the_request:
        given nothing(), when Command::BeginCancellation, then Err(Error::NeverRequested);
    nothing_is_cancelled_before_the_first_attempt:
        given pending(), when Command::BeginCancellation, then Err(Error::NotProcessing);
    a_cancellation_is_recorded_before_it_is_sent:
        given processing(), when Command::BeginCancellation, then Ok(vec![Event::CancelRequested {}]);
    a_cancellation_that_is_sent_again_is_recorded_once:
        given [processing(), vec![Event::CancelRequested {}, cancellation_unanswered()]].concat(),
        when Command::BeginCancellation, then Ok(vec![]);
    a_cancellation_after_another_attempt_is_recorded_too:
        given [processing(), vec![Event::CancelRequested {}, begun(2)]].concat(),
        when Command::BeginCancellation, then Ok(vec![Event::CancelRequested {}]);
    a_success_is_not_cancelled:
        given succeeded(), when Command::BeginCancellation, then Err(Error::AlreadySucceeded);
    a_failure_is_not_cancelled:
        given failed(), when Command::BeginCancellation, then Err(Error::AlreadyFailed);
    a_person_resolves_what_is_being_cancelled:
        given [processing(), vec![Event::CancelRequested {}]].concat(),
        when resolve(Some("ext-1")), then Ok(resolved_as_done());
    a_cancellation_confirmed_after_a_person_resolved_it_as_done_is_noted:
        given [processing(), vec![Event::CancelRequested {}], resolved_as_done()].concat(),
        when Command::RecordLateAnswer {
            kind: AttemptKind::Cancel, answer: Answer::Rejected, detail: "cancelled".to_owned()
        },
        then Ok(vec![Event::Contradicted {
            kind: AttemptKind::Cancel, answer: Answer::Rejected, detail: "cancelled".to_owned()
        }]);

    // --- a person
    nothing_is_retried_before_the_request:
        given nothing(), when Command::RequestRetry, then Err(Error::NeverRequested);
    a_person_has_it_retried_while_pending:
        given pending(), when Command::RequestRetry, then Ok(vec![Event::RetryRequested {}]);
    a_person_has_it_retried_while_processing:
        given processing(), when Command::RequestRetry, then Ok(vec![Event::RetryRequested {}]);
    a_success_is_not_retried:
        given succeeded(), when Command::RequestRetry, then Err(Error::AlreadySucceeded);
    a_failure_is_not_retried:
        given failed(), when Command::RequestRetry, then Err(Error::AlreadyFailed);
    nothing_is_resolved_before_the_request:
        given nothing(), when resolve(None), then Err(Error::NeverRequested);
    a_person_resolves_what_is_pending_as_failed:
        given pending(), when resolve(None), then Ok(resolved_as_failed());
    a_person_resolves_what_is_processing_as_failed:
        given processing(), when resolve(None), then Ok(resolved_as_failed());
    a_person_resolves_what_is_pending_as_done:
        given pending(), when resolve(Some("ext-1")), then Ok(resolved_as_done());
    a_person_resolves_what_is_processing_as_done:
        given processing(), when resolve(Some("ext-1")), then Ok(resolved_as_done());
    a_success_is_not_resolved:
        given succeeded(), when resolve(Some("ext-1")), then Err(Error::AlreadySucceeded);
    a_failure_is_not_resolved:
        given failed(), when resolve(None), then Err(Error::AlreadyFailed);
    a_person_settles_a_failure_that_was_contradicted:
        given [failed(), vec![contradicted(Answer::Activated, "ext-1")]].concat(),
        when resolve(None), then Ok(vec![resolved(Outcome::Failed)]);
    a_contradicted_failure_is_not_resolved_as_done:
        given [failed(), vec![contradicted(Answer::Activated, "ext-1")]].concat(),
        when resolve(Some("ext-1")), then Err(Error::AlreadyFailed);
    a_person_settles_a_success_that_was_contradicted:
        given [succeeded(), vec![contradicted(Answer::Rejected, "no_stock")]].concat(),
        when resolve(Some("ext-1")), then Ok(vec![resolved(Outcome::Succeeded)]);

    // --- an answer after the end
    no_answer_is_late_before_the_request:
        given nothing(), when late(Answer::Activated, "ext-1"), then Err(Error::NeverRequested);
    no_answer_is_late_while_pending:
        given pending(), when late(Answer::Activated, "ext-1"), then Err(Error::NotFinal);
    no_answer_is_late_while_processing:
        given processing(), when late(Answer::Activated, "ext-1"), then Err(Error::NotFinal);
    a_success_found_after_a_failure_is_noted_and_moves_no_money:
        given failed(), when late(Answer::Activated, "ext-1"),
        then Ok(vec![contradicted(Answer::Activated, "ext-1")]);
    it_is_noted_once:
        given [failed(), vec![contradicted(Answer::Activated, "ext-1")]].concat(),
        when late(Answer::Activated, "ext-1"), then Ok(vec![]);
    a_rejection_after_a_failure_says_nothing_new:
        given failed(), when late(Answer::Rejected, "cancelled"), then Ok(vec![]);
    a_rejection_after_a_success_is_noted:
        given succeeded(), when late(Answer::Rejected, "no_stock"),
        then Ok(vec![contradicted(Answer::Rejected, "no_stock")]);
    the_same_success_again_says_nothing_new:
        given succeeded(), when late(Answer::Activated, "ext-1"), then Ok(vec![]);
    a_success_whose_reference_the_person_did_not_know_is_confirmed_by_the_real_one:
        given vec![requested(purchase()), resolved(Outcome::Succeeded), done("unknown")],
        when late(Answer::Activated, "ext-1"), then Ok(vec![]);
    a_second_success_under_another_reference_is_noted:
        given succeeded(), when late(Answer::Activated, "ext-2"),
        then Ok(vec![contradicted(Answer::Activated, "ext-2")]);

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
