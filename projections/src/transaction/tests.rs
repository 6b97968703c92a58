//! Events in, fields out.

use super::*;
use crate::page::Page;
use domain::transaction::{Answer, AttemptKind, Evidence, Kind};
use domain::{AccountId, FIRST_VERSION, Money, OfferId, PartnerId, Record, UserId};
use uuid::Uuid;

const ID: TransactionId = TransactionId(Uuid::from_u128(7));

/// The first moment, and one second more for each position.
fn at(position: i64) -> Timestamp {
    chrono::DateTime::from_timestamp(1_800_000_000 + position, 0).unwrap().into()
}

fn recorded(position: i64, event: &Event, metadata: &str) -> Recorded {
    use cqrs_es::DomainEvent;
    Recorded::from(Record {
        position,
        event_id: Uuid::from_u128(position.unsigned_abs().into()),
        aggregate_type: "Transaction".into(),
        aggregate_id: ID.to_string(),
        sequence: position,
        event_type: event.event_type(),
        event_version: FIRST_VERSION.into(),
        recorded_at: at(position),
        payload: serde_json::to_string(event).unwrap(),
        metadata: metadata.into(),
        commit_end: position,
    })
}

fn request() -> ActivationRequested {
    ActivationRequested {
        kind: Kind::Partner,
        user_id: UserId(Uuid::from_u128(1)),
        account_id: AccountId(Uuid::from_u128(2)),
        partner_id: Some(PartnerId(Uuid::from_u128(2))),
        subscription_id: None,
        offer_id: OfferId(Uuid::from_u128(3)),
        offer_name: "TV".into(),
        duration_days: 30,
        amount: Money::from_hundredths(1_999),
        partner_reference: Some("order-1".into()),
        reference: Some("REF-ABCDEF123456".into()),
    }
}

/// A stream with these events after the request.
fn stream(events: &[Event]) -> Vec<Recorded> {
    let metadata = r#"{"actor":"user:1","callback_url":"https://p.example/"}"#;
    let first = recorded(1, &Event::ActivationRequested(request()), metadata);
    let later = (2..).zip(events).map(|(position, event)| recorded(position, event, "{}"));
    [first].into_iter().chain(later).collect()
}

fn failure() -> [Event; 4] {
    let request = request();
    [
        Event::Processing { attempt: 1 },
        Event::Processing { attempt: 2 },
        Event::Failed { code: "rejected".into(), message: "no".into() },
        Event::Refunded { account_id: request.account_id, amount: request.amount },
    ]
}

fn shown(events: &[Event]) -> Vec<(String, String)> {
    let view = fold(&stream(events)).unwrap().unwrap();
    let hash = TransactionHash::from(&view);
    hash.shown().map(|(name, value)| (name.into(), value.into())).collect()
}

fn value(shown: &[(String, String)], name: &str) -> Option<String> {
    shown.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

#[test]
fn a_request_is_pending_with_all_that_was_asked_for() {
    let names: Vec<_> = shown(&[]).into_iter().map(|(name, _)| name).collect();
    let expected = [
        "transaction_id",
        "user_id",
        "offer_id",
        "amount",
        "status",
        "created_at",
        "updated_at",
        "kind",
        "partner_id",
    ];
    assert_eq!(names, expected);
    let shown = shown(&[]);
    assert_eq!(value(&shown, "amount").as_deref(), Some("19.99"));
    assert_eq!(value(&shown, "status").as_deref(), Some("PENDING"));
    assert_eq!(value(&shown, "created_at").as_deref(), Some("2027-01-15T08:00:01.000000Z"));
    let view = fold(&stream(&[])).unwrap().unwrap();
    assert_eq!((view.request, view.callback_url.as_deref()), (request(), Some("https://p.example/")));
}

#[test]
fn a_success_carries_the_external_reference_and_when() {
    let success = Event::Succeeded { reference: "EXT-1".into() };
    let shown = shown(&[Event::Processing { attempt: 1 }, success]);
    assert_eq!(value(&shown, "status").as_deref(), Some("SUCCESS"));
    assert_eq!(value(&shown, "reference").as_deref(), Some("EXT-1"));
    assert_eq!(value(&shown, "completed_at"), Some(at(3).to_string()));
    assert_eq!(value(&shown, "refunded_at"), None);
}

#[test]
fn a_failure_says_why_and_when_the_money_went_back() {
    let shown = shown(&failure());
    assert_eq!(value(&shown, "status").as_deref(), Some("FAILED"));
    assert_eq!(value(&shown, "error_message").as_deref(), Some("no"));
    assert_eq!(value(&shown, "completed_at"), Some(at(4).to_string()));
    assert_eq!(value(&shown, "refunded_at"), Some(at(5).to_string()));
    let view = fold(&stream(&failure())).unwrap().unwrap();
    assert_eq!((view.attempts, view.error_code.as_deref(), view.position), (2, Some("rejected"), 5));
}

#[test]
fn however_a_stream_is_cut_the_view_is_the_same() {
    let stream = stream(&failure());
    let whole = fold(&stream).unwrap();
    for cut in 1..stream.len() {
        let mut first = Page::fold(&stream[..cut]).unwrap().unwrap();
        let mut second = Page::fold(&stream[cut..]).unwrap().unwrap();
        let mut view = first.transactions.remove(0).into_view().unwrap();
        view.advance(second.transactions.remove(0).progress);
        assert_eq!(Some(view), whole, "cut after {cut}");
    }
}

#[test]
fn a_final_hash_has_no_pending_reason_however_much_happens_in_one_page() {
    let unanswered = Event::AttemptFailed {
        attempt: 2,
        kind: AttemptKind::Activate,
        evidence: Evidence::SentNoAnswer,
        detail: "no answer".into(),
    };
    let late =
        Event::Contradicted { kind: AttemptKind::LookUp, answer: Answer::Activated, detail: "EXT-1".into() };
    let [one, two, failed, refunded] = failure();
    let stream = stream(&[one, two, unanswered, failed, refunded, late]);
    let change = |from: usize, to: usize| {
        let page = Page::fold(&stream[from..to]).unwrap().unwrap();
        let change = page.transactions[0].clone();
        let shown = fields(&change).into_iter().find(|(name, _)| *name == "pending_reason");
        (shown.map(|(_, value)| value), removed_field(&change))
    };
    assert_eq!(change(3, 4), (Some("outcome_unknown".to_owned()), ""));
    assert_eq!(change(4, 6), (None, "pending_reason"));
    assert_eq!(change(4, 7), (None, "pending_reason"));
    assert_eq!(change(6, 7), (None, "pending_reason"));
    assert_eq!(fold(&stream).unwrap().unwrap().pending_reason.as_deref(), Some("contradicted"));
}

#[test]
fn a_change_names_only_what_moved() {
    let stream = stream(&failure());
    let page = Page::fold(&stream[1..2]).unwrap().unwrap();
    let names: Vec<_> = fields(&page.transactions[0]).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["status", "updated_at", "position"]);
    assert_eq!(page.transactions[0].clone().into_view(), None, "half a transaction is none");
}

#[test]
fn several_events_of_one_transaction_in_a_page_are_one_change_and_each_move_of_its_buyer() {
    let page = Page::fold(&stream(&failure())).unwrap().unwrap();
    assert_eq!((page.transactions.len(), page.first, page.last), (1, 1, 5));
    let amounts: Vec<_> = page.entries.iter().map(|entry| (entry.position, entry.amount)).collect();
    let amount = request().amount;
    assert_eq!(amounts, [(1, -amount), (5, amount)]);
}

#[test]
fn a_hash_with_a_field_missing_is_none() {
    let view = fold(&stream(&[])).unwrap().unwrap();
    let hash = TransactionHash::from(&view);
    let whole: std::collections::HashMap<_, _> =
        hash.fields().iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let read =
        |fields: &std::collections::HashMap<_, _>| TransactionHash::read(|name| fields.get(name).cloned());
    assert_eq!(read(&whole), Some(hash));
    for name in whole.keys().filter(|name| *name != "partner_id") {
        let mut half = whole.clone();
        half.remove(name);
        assert_eq!(read(&half), None, "without {name}");
    }
}
