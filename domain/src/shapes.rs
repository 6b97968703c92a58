//! The text of every event, as it has been written since version 1.0.
//!
//! History is never rewritten, so these texts never change: an event that needs another shape gets a
//! new version beside the old one, and the old text here must still be read.

use crate::account::{self, Account};
use crate::offer::{self, Offer, Terms};
use crate::scenarios::variants;
use crate::transaction::{self, ActivationRequested, Transaction};
use crate::user_offer::{self, Period, UserOffer};
use crate::{AccountId, EVENT_VERSION, Event, Money, PartnerId, Recorded, SubscriptionId, TransactionId};
use cqrs_es::{Aggregate, DomainEvent};
use serde::Serialize;
use uuid::Uuid;

variants!(ALL, name_of of Event:
    Event::Transaction(transaction::Event::ActivationRequested(_)),
    Event::Transaction(transaction::Event::Processing { .. }),
    Event::Transaction(transaction::Event::AttemptFailed { .. }),
    Event::Transaction(transaction::Event::RetryRequested {}),
    Event::Transaction(transaction::Event::Resolved { .. }),
    Event::Transaction(transaction::Event::Contradicted { .. }),
    Event::Transaction(transaction::Event::Succeeded { .. }),
    Event::Transaction(transaction::Event::Failed { .. }),
    Event::Transaction(transaction::Event::Refunded { .. }),
    Event::UserOffer(user_offer::Event::Activated(_)),
    Event::UserOffer(user_offer::Event::Renewed(_)),
    Event::UserOffer(user_offer::Event::ExpirySoon { .. }),
    Event::UserOffer(user_offer::Event::Expired { .. }),
    Event::Offer(offer::Event::Created(_)),
    Event::Offer(offer::Event::Changed(_)),
    Event::Offer(offer::Event::Deactivated {}),
    Event::Offer(offer::Event::Reactivated {}),
    Event::Account(account::Event::Opened { .. }),
    Event::Account(account::Event::Credited { .. }),
    Event::Account(account::Event::Debited { .. }),
);

/// The event, its name, and its text.
pub(crate) type Shape = (Event, &'static str, &'static str);

/// `00000000-0000-0000-0000-0000000000nn`.
fn id<T: From<Uuid>>(nn: u128) -> T {
    T::from(Uuid::from_u128(nn))
}

fn purchase() -> ActivationRequested {
    ActivationRequested {
        kind: transaction::Kind::Activation,
        user_id: id(0xa1),
        account_id: id(0xa1),
        partner_id: None,
        subscription_id: None,
        offer_id: id(0x0f),
        offer_name: "Données \"5\u{a0}Go\"".to_owned(),
        duration_days: 30,
        amount: Money::from_hundredths(19_90),
        partner_reference: None,
        reference: None,
    }
}

fn renewal() -> ActivationRequested {
    let subscription_id = Some(id::<SubscriptionId>(0x5b));
    ActivationRequested { kind: transaction::Kind::Renewal, subscription_id, ..purchase() }
}

fn partner_purchase() -> ActivationRequested {
    ActivationRequested {
        kind: transaction::Kind::Partner,
        account_id: id::<AccountId>(0x9a),
        partner_id: Some(id::<PartnerId>(0x9a)),
        partner_reference: Some("order-7".to_owned()),
        reference: Some("REF-0123456789AB".to_owned()),
        ..purchase()
    }
}

fn period() -> Period {
    Period {
        user_id: id(0xa1),
        offer_id: id(0x0f),
        transaction_id: id::<TransactionId>(0x77),
        starts_at: "2026-11-22T08:30:00.123456Z".parse().expect("a moment"),
        expires_at: "2026-12-22T08:30:00.123456Z".parse().expect("a moment"),
    }
}

fn terms() -> Terms {
    Terms {
        name: "Data 5 GB".to_owned(),
        description: "Line one\nline two".to_owned(),
        price: Money::from_hundredths(5),
        duration_days: 3650,
    }
}

fn transaction_shapes() -> Vec<Shape> {
    use transaction::Event as E;
    let amount = Money::from_hundredths(19_90);
    [
        (
            E::ActivationRequested(purchase()),
            "ActivationRequested",
            "{\"type\":\"ActivationRequested\",\"kind\":\"activation\",\
             \"user_id\":\"00000000-0000-0000-0000-0000000000a1\",\
             \"account_id\":\"00000000-0000-0000-0000-0000000000a1\",\
             \"offer_id\":\"00000000-0000-0000-0000-00000000000f\",\
             \"offer_name\":\"Données \\\"5\u{a0}Go\\\"\",\"duration_days\":30,\"amount\":\"19.90\"}",
        ),
        (
            E::ActivationRequested(renewal()),
            "ActivationRequested",
            "{\"type\":\"ActivationRequested\",\"kind\":\"renewal\",\
             \"user_id\":\"00000000-0000-0000-0000-0000000000a1\",\
             \"account_id\":\"00000000-0000-0000-0000-0000000000a1\",\
             \"subscription_id\":\"00000000-0000-0000-0000-00000000005b\",\
             \"offer_id\":\"00000000-0000-0000-0000-00000000000f\",\
             \"offer_name\":\"Données \\\"5\u{a0}Go\\\"\",\"duration_days\":30,\"amount\":\"19.90\"}",
        ),
        (
            E::ActivationRequested(partner_purchase()),
            "ActivationRequested",
            "{\"type\":\"ActivationRequested\",\"kind\":\"partner\",\
             \"user_id\":\"00000000-0000-0000-0000-0000000000a1\",\
             \"account_id\":\"00000000-0000-0000-0000-00000000009a\",\
             \"partner_id\":\"00000000-0000-0000-0000-00000000009a\",\
             \"offer_id\":\"00000000-0000-0000-0000-00000000000f\",\
             \"offer_name\":\"Données \\\"5\u{a0}Go\\\"\",\"duration_days\":30,\"amount\":\"19.90\",\
             \"partner_reference\":\"order-7\",\"reference\":\"REF-0123456789AB\"}",
        ),
        (E::Processing { attempt: 1 }, "Processing", r#"{"type":"Processing","attempt":1}"#),
        (
            E::AttemptFailed {
                attempt: 1,
                kind: transaction::AttemptKind::LookUp,
                evidence: transaction::Evidence::SentNoAnswer,
                detail: "no answer within 10 s".to_owned(),
            },
            "AttemptFailed",
            "{\"type\":\"AttemptFailed\",\"attempt\":1,\"kind\":\"look_up\",\"evidence\":\"sent_no_answer\",\
             \"detail\":\"no answer within 10 s\"}",
        ),
        (E::RetryRequested {}, "RetryRequested", r#"{"type":"RetryRequested"}"#),
        (
            E::Resolved { outcome: transaction::Outcome::Failed },
            "Resolved",
            r#"{"type":"Resolved","outcome":"failed"}"#,
        ),
        (
            E::Contradicted {
                kind: transaction::AttemptKind::LookUp,
                answer: transaction::Answer::Activated,
                detail: "ext-1".to_owned(),
            },
            "Contradicted",
            r#"{"type":"Contradicted","kind":"look_up","answer":"activated","detail":"ext-1"}"#,
        ),
        (
            E::Succeeded { reference: "ext-1".to_owned() },
            "Succeeded",
            r#"{"type":"Succeeded","reference":"ext-1"}"#,
        ),
        (
            E::Failed { code: "no_stock".to_owned(), message: "Sold out".to_owned() },
            "Failed",
            r#"{"type":"Failed","code":"no_stock","message":"Sold out"}"#,
        ),
        (
            E::Refunded { account_id: id(0xa1), amount },
            "Refunded",
            "{\"type\":\"Refunded\",\"account_id\":\"00000000-0000-0000-0000-0000000000a1\",\
             \"amount\":\"19.90\"}",
        ),
    ]
    .map(|(event, name, text)| (Event::Transaction(event), name, text))
    .to_vec()
}

fn user_offer_shapes() -> Vec<Shape> {
    use user_offer::Event as E;
    let (user_id, offer_id, expires_at) = (id(0xa1), id(0x0f), period().expires_at);
    [
        (
            E::Activated(period()),
            "Activated",
            "{\"type\":\"Activated\",\"user_id\":\"00000000-0000-0000-0000-0000000000a1\",\
             \"offer_id\":\"00000000-0000-0000-0000-00000000000f\",\
             \"transaction_id\":\"00000000-0000-0000-0000-000000000077\",\
             \"starts_at\":\"2026-11-22T08:30:00.123456Z\",\"expires_at\":\"2026-12-22T08:30:00.123456Z\"}",
        ),
        (
            E::Renewed(period()),
            "Renewed",
            "{\"type\":\"Renewed\",\"user_id\":\"00000000-0000-0000-0000-0000000000a1\",\
             \"offer_id\":\"00000000-0000-0000-0000-00000000000f\",\
             \"transaction_id\":\"00000000-0000-0000-0000-000000000077\",\
             \"starts_at\":\"2026-11-22T08:30:00.123456Z\",\"expires_at\":\"2026-12-22T08:30:00.123456Z\"}",
        ),
        (
            E::ExpirySoon { user_id, offer_id, expires_at },
            "ExpirySoon",
            "{\"type\":\"ExpirySoon\",\"user_id\":\"00000000-0000-0000-0000-0000000000a1\",\
             \"offer_id\":\"00000000-0000-0000-0000-00000000000f\",\
             \"expires_at\":\"2026-12-22T08:30:00.123456Z\"}",
        ),
        (
            E::Expired { user_id, offer_id, expires_at },
            "Expired",
            "{\"type\":\"Expired\",\"user_id\":\"00000000-0000-0000-0000-0000000000a1\",\
             \"offer_id\":\"00000000-0000-0000-0000-00000000000f\",\
             \"expires_at\":\"2026-12-22T08:30:00.123456Z\"}",
        ),
    ]
    .map(|(event, name, text)| (Event::UserOffer(event), name, text))
    .to_vec()
}

fn offer_shapes() -> Vec<Shape> {
    use offer::Event as E;
    [
        (
            E::Created(terms()),
            "Created",
            "{\"type\":\"Created\",\"name\":\"Data 5 GB\",\"description\":\"Line one\\nline two\",\
             \"price\":\"0.05\",\"duration_days\":3650}",
        ),
        (
            E::Changed(Terms { price: Money::ZERO, ..terms() }),
            "Changed",
            "{\"type\":\"Changed\",\"name\":\"Data 5 GB\",\"description\":\"Line one\\nline two\",\
             \"price\":\"0.00\",\"duration_days\":3650}",
        ),
        (E::Deactivated {}, "Deactivated", r#"{"type":"Deactivated"}"#),
        (E::Reactivated {}, "Reactivated", r#"{"type":"Reactivated"}"#),
    ]
    .map(|(event, name, text)| (Event::Offer(event), name, text))
    .to_vec()
}

fn account_shapes() -> Vec<Shape> {
    use account::Event as E;
    let amount = Money::from_hundredths(999_999_999_999_999_999);
    [
        (E::Opened { kind: account::Kind::User }, "Opened", r#"{"type":"Opened","kind":"user"}"#),
        (E::Opened { kind: account::Kind::Partner }, "Opened", r#"{"type":"Opened","kind":"partner"}"#),
        (E::Credited { amount }, "Credited", r#"{"type":"Credited","amount":"9999999999999999.99"}"#),
        (E::Debited { amount }, "Debited", r#"{"type":"Debited","amount":"9999999999999999.99"}"#),
    ]
    .map(|(event, name, text)| (Event::Account(event), name, text))
    .to_vec()
}

pub(crate) fn shapes() -> Vec<Shape> {
    [transaction_shapes(), user_offer_shapes(), offer_shapes(), account_shapes()].concat()
}

/// What the writer stores of an event: its aggregate, name, version and payload.
pub(crate) fn stored(event: &Event) -> (&'static str, String, String, String) {
    fn parts<E: DomainEvent + Serialize>(
        aggregate: &'static str,
        event: &E,
    ) -> (&'static str, String, String, String) {
        let payload = serde_json::to_string(event).expect("an event is JSON");
        (aggregate, event.event_type(), event.event_version(), payload)
    }
    match event {
        Event::Transaction(event) => parts(Transaction::TYPE, event),
        Event::UserOffer(event) => parts(UserOffer::TYPE, event),
        Event::Offer(event) => parts(Offer::TYPE, event),
        Event::Account(event) => parts(Account::TYPE, event),
    }
}

fn recorded(aggregate_type: &str, event_type: &str, event_version: &str, payload: &str) -> Recorded {
    Recorded {
        position: 7,
        event_id: Uuid::from_u128(1),
        aggregate_type: aggregate_type.to_owned(),
        aggregate_id: Uuid::from_u128(2).to_string(),
        sequence: 1,
        event_type: event_type.to_owned(),
        event_version: event_version.to_owned(),
        recorded_at: period().starts_at,
        payload: payload.to_owned(),
        metadata: "{}".to_owned(),
        commit_end: 7,
    }
}

#[test]
fn every_event_is_written_in_its_frozen_text() {
    for (event, name, text) in shapes() {
        let (_, event_type, version, payload) = stored(&event);
        assert_eq!((event_type.as_str(), version.as_str(), payload.as_str()), (name, "1.0", text));
    }
}

#[test]
fn every_frozen_text_is_read_as_its_event() {
    for (event, name, text) in shapes() {
        let (aggregate, ..) = stored(&event);
        let read = Event::decode(&recorded(aggregate, name, "1.0", text)).expect("a text of version 1.0");
        assert_eq!(read, event);
    }
}

#[test]
fn no_event_is_without_a_frozen_text() {
    let pinned: Vec<_> = shapes().iter().map(|(event, ..)| name_of(event)).collect();
    for name in ALL {
        assert!(pinned.contains(name), "no text is pinned for {name}");
    }
}

#[test]
fn the_aggregates_keep_their_names() {
    let names = [Transaction::TYPE, UserOffer::TYPE, Offer::TYPE, Account::TYPE];
    assert_eq!((names, EVENT_VERSION), (["Transaction", "UserOffer", "Offer", "Account"], "1.0"));
}

#[test]
fn members_that_a_later_version_adds_are_passed_over() {
    let text = r#"{"type":"Processing","attempt":2,"evidence":"timeout"}"#;
    let read = Event::decode(&recorded("Transaction", "Processing", "1.0", text)).expect("readable");
    assert_eq!(read, Event::Transaction(transaction::Event::Processing { attempt: 2 }));
}

#[test]
fn what_this_version_does_not_know_stops_the_reader() {
    let unreadable = [
        ("Voucher", "Created", "1.0", r#"{"type":"Deactivated"}"#), // no such aggregate
        ("Offer", "Vanished", "1.0", r#"{"type":"Vanished"}"#),     // no such event
        ("Offer", "Deactivated", "2.0", r#"{"type":"Deactivated"}"#), // another shape
        ("Offer", "Reactivated", "1.0", r#"{"type":"Deactivated"}"#), // not what the record says
        ("Account", "Credited", "1.0", r#"{"type":"Credited"}"#),   // no amount
        ("Account", "Credited", "1.0", r#"{"type":"Credited","amount":5}"#), // a number
        ("Account", "Credited", "1.0", r#"{"type":"Credited","amount":"5"}"#), // not as we write it
        ("Account", "Credited", "1.0", "[]"),
        ("Account", "Credited", "1.0", ""),
    ];
    for (aggregate, event_type, version, payload) in unreadable {
        let refused = Event::decode(&recorded(aggregate, event_type, version, payload));
        let why = refused.expect_err(payload).to_string();
        assert_eq!(why, format!("the event at position 7 ({aggregate} {event_type}) cannot be read"));
    }
}
