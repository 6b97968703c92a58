//! The golden files: every version of every event that was ever stored, in `domain/golden`.
//!
//! `<aggregate>.<event>/<version>.ndjson` has payloads as they were written, a line each, and `<version>.schema.json`
//! their schema. No file ever changes: an event that needs another shape gets a new version with files of its own
//! (`OFFERS_WRITE_GOLDEN=1 cargo test -p domain --all-features golden` writes those that do not exist), and the old
//! payloads must still be read.

use crate::account::{self, Account};
use crate::offer::{self, Offer, Terms};
use crate::scenarios::variants;
use crate::transaction::{self, ActivationRequested, Transaction};
use crate::user_offer::{self, Period, UserOffer};
use crate::versions::{Step, upcast};
use crate::{
    AccountId, Event, FIRST_VERSION, Money, PartnerId, Record, SubscriptionId, TransactionId,
    current_version, dotted,
};
use cqrs_es::{Aggregate, DomainEvent};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use uuid::Uuid;

variants!(ALL, name_of of Event:
    Event::Transaction(transaction::Event::ActivationRequested(_)),
    Event::Transaction(transaction::Event::Processing { .. }),
    Event::Transaction(transaction::Event::AttemptFailed { .. }),
    Event::Transaction(transaction::Event::CancelRequested {}),
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

/// One event for each line of the files of today's versions, in their order.
fn events() -> Vec<Event> {
    [transaction_events(), user_offer_events(), offer_events(), account_events()].concat()
}

fn transaction_events() -> Vec<Event> {
    use transaction::Event as E;
    let events = [
        E::ActivationRequested(purchase()),
        E::ActivationRequested(renewal()),
        E::ActivationRequested(partner_purchase()),
        E::Processing { attempt: 1 },
        E::AttemptFailed {
            attempt: 1,
            kind: transaction::AttemptKind::LookUp,
            evidence: transaction::Evidence::SentNoAnswer,
            detail: "no answer within 10 s".to_owned(),
        },
        E::CancelRequested {},
        E::RetryRequested {},
        E::Resolved { outcome: transaction::Outcome::Failed },
        E::Contradicted {
            kind: transaction::AttemptKind::LookUp,
            answer: transaction::Answer::Activated,
            detail: "ext-1".to_owned(),
        },
        E::Succeeded { reference: "ext-1".to_owned() },
        E::Failed { code: "no_stock".to_owned(), message: "Sold out".to_owned() },
        E::Refunded { account_id: id(0xa1), amount: Money::from_hundredths(19_90) },
    ];
    events.map(Event::Transaction).to_vec()
}

fn user_offer_events() -> Vec<Event> {
    use user_offer::Event as E;
    let (user_id, offer_id, expires_at) = (id(0xa1), id(0x0f), period().expires_at);
    let events = [
        E::Activated(period()),
        E::Renewed(period()),
        E::ExpirySoon { user_id, offer_id, expires_at },
        E::Expired { user_id, offer_id, expires_at },
    ];
    events.map(Event::UserOffer).to_vec()
}

fn offer_events() -> Vec<Event> {
    use offer::Event as E;
    let free = Terms { price: Money::ZERO, ..terms() };
    [E::Created(terms()), E::Changed(free), E::Deactivated {}, E::Reactivated {}].map(Event::Offer).to_vec()
}

fn account_events() -> Vec<Event> {
    use account::Event as E;
    let amount = Money::from_hundredths(999_999_999_999_999_999);
    let events = [
        E::Opened { kind: account::Kind::User },
        E::Opened { kind: account::Kind::Partner },
        E::Credited { amount },
        E::Debited { amount },
    ];
    events.map(Event::Account).to_vec()
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

fn recorded(aggregate_type: &str, event_type: &str, event_version: &str, payload: &str) -> Record {
    Record {
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

/// A payload as it was once stored.
#[derive(Clone, Debug)]
pub(crate) struct Golden {
    pub(crate) aggregate_type: &'static str,
    pub(crate) event_type: String,
    pub(crate) version: String,
    pub(crate) payload: String,
}

impl Golden {
    fn read(&self) -> Event {
        let stored = recorded(self.aggregate_type, &self.event_type, &self.version, &self.payload);
        Event::decode(&stored).unwrap_or_else(|cause| panic!("{self:?}: {cause}"))
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The file of a version of an event: `kind` is `ndjson` or `schema.json`.
fn file(aggregate_type: &str, event_type: &str, version: &str, kind: &str) -> PathBuf {
    folder().join(dotted(aggregate_type, event_type)).join(format!("{version}.{kind}"))
}

/// The kept text. With `OFFERS_WRITE_GOLDEN` a file that does not exist is written.
fn kept(path: PathBuf, text: &str) -> String {
    if !path.exists() && std::env::var_os("OFFERS_WRITE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
    }
    fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// Every payload of every version, in the order of the files.
pub(crate) fn payloads() -> Vec<Golden> {
    let name = |event: &Event| {
        let (aggregate_type, event_type, ..) = stored(event);
        (aggregate_type, event_type)
    };
    let names: BTreeSet<_> = events().iter().map(name).collect();
    let mut all = Vec::new();
    for (aggregate_type, event_type) in names {
        for (version, text) in versions(aggregate_type, &event_type, "ndjson") {
            all.extend(text.lines().map(|payload| Golden {
                aggregate_type,
                event_type: event_type.clone(),
                version: version.clone(),
                payload: payload.to_owned(),
            }));
        }
    }
    all
}

/// The files of one kind of an event, by their versions.
fn versions(aggregate_type: &str, event_type: &str, kind: &str) -> BTreeMap<String, String> {
    let folder = folder().join(dotted(aggregate_type, event_type));
    let files = fs::read_dir(&folder).unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()));
    let one = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name()?.to_str()?.strip_suffix(kind)?.strip_suffix('.')?.to_owned();
        Some((name, fs::read_to_string(path).expect("a file")))
    };
    files.filter_map(one).collect()
}

#[test]
fn an_event_is_written_as_the_file_of_its_version_says() {
    let mut written: BTreeMap<PathBuf, String> = BTreeMap::new();
    for event in events() {
        let (aggregate, event_type, version, payload) = stored(&event);
        let text = written.entry(file(aggregate, &event_type, &version, "ndjson")).or_default();
        text.push_str(&(payload + "\n"));
    }
    for (path, text) in written {
        let name = path.display().to_string();
        assert_eq!(kept(path, &text), text, "another shape needs a new version: {name}");
    }
}

#[test]
#[cfg(feature = "schema")]
fn the_schema_of_an_event_is_that_of_its_version() {
    let mut published = BTreeSet::new();
    for mut event in crate::schema::events() {
        without_descriptions(&mut event.schema);
        let path = file(event.aggregate_type, &event.event_type, event.event_version, "schema.json");
        let name = path.display().to_string();
        let text = kept(path.clone(), &format!("{:#}\n", event.schema));
        let kept: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(event.schema, kept, "another shape needs a new version: {name}");
        published.insert(path);
    }
    for event in events() {
        let (aggregate, event_type, ..) = stored(&event);
        for version in versions(aggregate, &event_type, "schema.json").into_keys() {
            let path = file(aggregate, &event_type, &version, "schema.json");
            assert!(
                published.contains(&path),
                "the schema of an old version is published too: {}",
                path.display()
            );
        }
    }
}

/// Descriptions may be better worded in the same version.
#[cfg(feature = "schema")]
fn without_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.retain(|name, value| name != "description" || !value.is_string());
            members.values_mut().for_each(without_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(without_descriptions),
        _ => {}
    }
}

/// Every line of an older version means the event of the same line of today's.
#[test]
fn every_version_that_was_ever_stored_is_read() {
    let all = payloads();
    for event in events() {
        let (aggregate, event_type, ..) = stored(&event);
        let is_one =
            |golden: &&Golden| (golden.aggregate_type, &golden.event_type) == (aggregate, &event_type);
        assert!(all.iter().filter(is_one).any(|golden| golden.read() == event), "{event_type}");
    }
    let today = events();
    for golden in all {
        assert!(today.contains(&golden.read()), "{golden:?}");
    }
}

#[test]
fn no_event_is_without_a_golden_file() {
    let events = events();
    let pinned: Vec<_> = events.iter().map(name_of).collect();
    for name in ALL {
        assert!(pinned.contains(name), "no payload is kept of {name}");
    }
    let folders = fs::read_dir(folder()).expect("the folder").count();
    let names: BTreeSet<_> = events.iter().map(|event| stored(event).1).collect();
    assert_eq!(folders, names.len(), "an event's name has one aggregate, and no folder is of nothing");
}

#[test]
fn the_aggregates_keep_their_names() {
    let names = [Transaction::TYPE, UserOffer::TYPE, Offer::TYPE, Account::TYPE];
    assert_eq!(names, ["Transaction", "UserOffer", "Offer", "Account"]);
}

#[test]
fn an_old_payload_goes_through_every_step_from_its_version_to_the_current_one() {
    fn renamed(mut payload: Value) -> Value {
        payload["sum"] = payload["value"].take();
        payload.as_object_mut().expect("an object").remove("value");
        payload
    }
    fn as_text(mut payload: Value) -> Value {
        payload["amount"] = format!("{}.00", payload["sum"]).into();
        payload.as_object_mut().expect("an object").remove("sum");
        payload
    }
    let step = |event_type, from, to, change| Step { event_type, from, to, change };
    let steps = [
        step("Credited", "1.0", "1.1", renamed),
        step("Debited", "1.0", "9.0", renamed),
        step("Credited", "1.1", "2.0", as_text),
    ];
    let read = |version, payload| {
        let stored = recorded("Account", "Credited", version, payload);
        let payload = upcast(&steps, &stored)?;
        Some(Event::read(&stored, &payload).expect("an event"))
    };
    let credited = Event::Account(account::Event::Credited { amount: Money::from_hundredths(5_00) });
    for (version, payload) in [
        ("1.0", r#"{"type":"Credited","value":5}"#),
        ("1.1", r#"{"type":"Credited","sum":5}"#),
        ("2.0", r#"{"type":"Credited","amount":"5.00"}"#),
    ] {
        assert_eq!(read(version, payload), Some(credited.clone()), "{version}");
    }
    for (version, payload) in [("3.0", r#"{"type":"Credited","amount":"5.00"}"#), ("0.9", "{}"), ("1.0", "{")]
    {
        assert_eq!(read(version, payload), None, "{version}");
    }
    assert_eq!(current_version("Credited"), FIRST_VERSION);
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
