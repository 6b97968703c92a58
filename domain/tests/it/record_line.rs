//! The record line: what the Merkle tree hashes and an auditor reads without anything of ours.

use crate::life::{Life, Subject};
use crate::orders::{to_a_subscription, to_a_transaction, to_an_account, to_an_offer};
use cqrs_es::DomainEvent;
use domain::account::Account;
use domain::offer::Offer;
use domain::transaction::Transaction;
use domain::user_offer::UserOffer;
use domain::{Event, Metadata, Record, Recorded, Timestamp};
use proptest::option;
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use uuid::Uuid;

const MEMBERS: [&str; 10] = [
    "position",
    "event_id",
    "aggregate_type",
    "aggregate_id",
    "sequence",
    "event_type",
    "event_version",
    "recorded_at",
    "payload",
    "metadata",
];

/// The members of a JSON object, in order, each with its bytes.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Reads a line with a JSON parser alone, and insists on the members and their order.
fn read(line: &str) -> Record {
    let Members(members) = serde_json::from_str(line).expect("a record is one JSON object");
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, MEMBERS);
    let raw = |index: usize| members[index].1.get();
    let text = |index: usize| serde_json::from_str::<String>(raw(index)).expect("a string");
    let number = |index: usize| raw(index).parse::<i64>().expect("an integer");
    Record {
        position: number(0),
        event_id: text(1).parse().expect("an id"),
        aggregate_type: text(2),
        aggregate_id: text(3),
        sequence: number(4),
        event_type: text(5),
        event_version: text(6),
        recorded_at: text(7).parse().expect("a moment"),
        payload: raw(8).to_owned(),
        metadata: raw(9).to_owned(),
        commit_end: 0, // not in the line
    }
}

/// Quotes, backslashes, control characters, separators, characters of one to four bytes.
fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\"\\\\/\u{0}-\u{1f}\u{7f}\u{2028}\u{2029}é漢🦀a]{0,16}"]
}

/// JSON objects whose bytes a parser would not write again: spaces, escapes, numbers of any form.
fn odd_object() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        odd_text().prop_map(|text| serde_json::to_string(&text).expect("a text is JSON")),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?",
        r#"true|null|\[ 1, 2\]|"\\u00e9\\/\\ud83e\\udd80"|\{"a":1,"a":1\}"#,
    ];
    proptest::collection::vec(("[a-c]{1,2}", "[ \t]{0,2}", value), 0..5).prop_map(|members| {
        let members = members.iter().map(|(name, space, value)| format!("\"{name}\":{space}{value}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    let ids =
        (any::<u128>(), 1..=i64::MAX, 1..=i64::MAX, -62_167_219_200_000_000..=253_402_300_799_999_999_i64);
    let texts = (odd_text(), odd_text(), odd_text(), odd_text());
    (ids, texts, odd_object(), odd_object()).prop_map(
        |(
            (id, position, sequence, micros),
            (aggregate_type, aggregate_id, event_type, event_version),
            payload,
            metadata,
        )| {
            let recorded_at = chrono::DateTime::from_timestamp_micros(micros).expect("a moment");
            Record {
                position,
                event_id: Uuid::from_u128(id),
                aggregate_type,
                aggregate_id,
                sequence,
                event_type,
                event_version,
                recorded_at: Timestamp::new(recorded_at),
                payload,
                metadata,
                commit_end: 0,
            }
        },
    )
}

fn any_metadata() -> impl Strategy<Value = Metadata> {
    let text = || option::of(odd_text());
    let machine = (any::<u128>().prop_map(Uuid::from_u128), text(), text(), text());
    let people = (text(), text(), text(), text());
    (machine, people).prop_map(
        |((correlation_id, causation_id, actor, traceparent), (request, reason, reference, callback_url))| {
            Metadata {
                correlation_id,
                causation_id,
                actor,
                traceparent,
                request,
                reason,
                reference,
                callback_url,
            }
        },
    )
}

/// Appends what `commands` lead to as the writer does, and expects the line to lead back to each of them.
fn leads_back<A: Subject>(commands: Vec<A::Command>, metadata: &Metadata, wrap: fn(A::Event) -> Event) {
    for (event, number) in Life::<A>::of(commands).history().into_iter().zip(1..) {
        let recorded = Record {
            position: number,
            event_id: Uuid::from_u128(u128::try_from(number).expect("it counts from 1")),
            aggregate_type: A::TYPE.to_owned(),
            aggregate_id: Uuid::from_u128(7).to_string(),
            sequence: number,
            event_type: event.event_type(),
            event_version: event.event_version(),
            recorded_at: "2026-11-22T08:30:00.123456Z".parse().expect("a moment"),
            payload: serde_json::to_string(&event).expect("an event is JSON"),
            metadata: serde_json::to_string(metadata).expect("metadata is JSON"),
            commit_end: 0,
        };
        let read = read(&recorded.line());
        assert_eq!(read, recorded);
        assert_eq!(&serde_json::from_str::<Metadata>(&read.metadata).expect("metadata of ours"), metadata);
        assert_eq!(Recorded::from(read).event().expect("an event of ours"), &wrap(event));
    }
}

fn sample() -> Record {
    Record {
        position: 1,
        event_id: "0193f7c0-0000-7000-8000-0000000000e1".parse().expect("an id"),
        aggregate_type: "Account".to_owned(),
        aggregate_id: "0193f7c0-0000-7000-8000-0000000000a1".to_owned(),
        sequence: 1,
        event_type: "Credited".to_owned(),
        event_version: "1.0".to_owned(),
        recorded_at: "2026-11-22T08:30:00.123456Z".parse().expect("a moment"),
        payload: r#"{"type":"Credited","amount":"1000.00"}"#.to_owned(),
        metadata: r#"{"actor":"user:é","reason":"top\nup"}"#.to_owned(),
        commit_end: 2,
    }
}

#[test]
fn the_line_is_frozen_as_version_1() {
    let expected = concat!(
        r#"{"position":1,"event_id":"0193f7c0-0000-7000-8000-0000000000e1","aggregate_type":"Account","#,
        r#""aggregate_id":"0193f7c0-0000-7000-8000-0000000000a1","sequence":1,"event_type":"Credited","#,
        r#""event_version":"1.0","recorded_at":"2026-11-22T08:30:00.123456Z","#,
        r#""payload":{"type":"Credited","amount":"1000.00"},"#,
        r#""metadata":{"actor":"user:é","reason":"top\nup"}}"#,
    );
    assert_eq!(sample().line(), expected);
}

#[test]
fn what_was_stored_with_white_space_keeps_it() {
    let spaced = Record { payload: " { } ".to_owned(), metadata: "\t{ } ".to_owned(), ..sample() };
    assert!(spaced.line().ends_with(",\"payload\": { } ,\"metadata\":\t{ } }"), "{}", spaced.line());
}

#[test]
fn where_a_commit_ends_is_not_in_the_line() {
    assert_eq!(Record { commit_end: 99, ..sample() }.line(), sample().line());
}

#[test]
fn the_escapes_are_the_shortest_and_in_lower_case() {
    let odd = Record {
        aggregate_id: "\0\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f} \"\\/\u{7f}é\u{2028}🦀".to_owned(),
        ..sample()
    };
    let expected =
        "\"aggregate_id\":\"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f \\\"\\\\/\u{7f}é\u{2028}🦀\",";
    assert!(odd.line().contains(expected), "{}", odd.line());
}

proptest! {
    #[test]
    fn any_record_reads_back_from_its_line(recorded in any_record()) {
        prop_assert_eq!(read(&recorded.line()), recorded);
    }

    #[test]
    fn a_record_is_one_line(recorded in any_record()) {
        prop_assert!(recorded.line().chars().all(|letter| letter == '\t' || letter >= ' '));
    }

    #[test]
    fn the_stored_bytes_stand_in_the_line_untouched(recorded in any_record()) {
        let end = format!(r#","payload":{},"metadata":{}}}"#, recorded.payload, recorded.metadata);
        prop_assert!(recorded.line().ends_with(&end));
    }

    #[test]
    fn different_records_have_different_lines(one in any_record(), other in any_record()) {
        prop_assert_eq!(one.line() == other.line(), one == other);
    }

    #[test]
    fn every_event_of_a_transaction_leads_back(orders in to_a_transaction(), metadata in any_metadata()) {
        leads_back::<Transaction>(orders, &metadata, Event::Transaction);
    }

    #[test]
    fn every_event_of_a_subscription_leads_back(orders in to_a_subscription(), metadata in any_metadata()) {
        leads_back::<UserOffer>(orders, &metadata, Event::UserOffer);
    }

    #[test]
    fn every_event_of_an_offer_leads_back(orders in to_an_offer(), metadata in any_metadata()) {
        leads_back::<Offer>(orders, &metadata, Event::Offer);
    }

    #[test]
    fn every_event_of_an_account_leads_back(orders in to_an_account(), metadata in any_metadata()) {
        leads_back::<Account>(orders, &metadata, Event::Account);
    }
}
