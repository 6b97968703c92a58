//! History as an auditor sees it.

use crate::support::service::{Service, send};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{AccountId, TransactionId};
use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

const RECORD: &str = "position event_id aggregate_type aggregate_id sequence event_type event_version \
                      recorded_at payload metadata";

#[tokio::test]
async fn events_are_listed_in_log_order_with_their_leaf_hashes() {
    let service = Service::start().await;
    let auditor = service.person("auditor", &["auditor"]).await;
    service.rich("alice").await;
    service.offer("TV", 1000).await;
    let events = service.walk(&auditor, "/audit/events/?limit=1").await;
    let log = service.resources.log.page(0, 1000).await.unwrap();
    assert_eq!(events.len(), log.len());
    for (event, recorded) in events.iter().zip(&log) {
        let members: Vec<_> = event.as_object().unwrap().keys().cloned().collect();
        assert_eq!(members.join(" "), format!("{RECORD} leaf_hash"));
        assert_eq!(event["position"], recorded.position);
        let leaf = [b"\0", recorded.line().as_bytes()].concat();
        assert_eq!(event["leaf_hash"], STANDARD.encode(Sha256::digest(leaf)));
    }
}

#[tokio::test]
async fn events_are_narrowed() {
    let service = Service::start().await;
    let auditor = service.person("auditor", &["auditor"]).await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let count = async |query: String| service.walk(&auditor, &format!("/audit/events/?{query}")).await.len();
    assert_eq!(count("after=1&limit=2".into()).await, 3);
    assert_eq!(count("aggregate_type=Account".into()).await, 3);
    assert_eq!(count(format!("aggregate_id={}", alice.id)).await, 2);
    assert_eq!(count("event_type=Credited&limit=1".into()).await, 1);
    assert_eq!(count(format!("aggregate_type=Account&aggregate_id={tv}")).await, 0);
    let reply = service.get(&auditor, "/audit/events/?after=-1&aggregate_id=7").await;
    assert_eq!(reply.fields(), ["after", "aggregate_id"]);
}

#[tokio::test]
async fn the_stream_of_records_is_the_log_line_by_line() {
    let service = Service::start().await;
    let auditor = service.person("auditor", &["auditor"]).await;
    service.person("alice", &["user"]).await;
    let credits = stream::iter(0..1500).map(|_| service.pay_in(AccountId(Uuid::now_v7()), 1));
    credits.buffer_unordered(64).count().await;
    let records = async |query: &str| {
        let request = service.request(&auditor, Method::GET, &format!("/audit/events/{query}"));
        let reply = send(request.header("accept", "application/x-ndjson")).await;
        assert_eq!(reply.headers["content-type"], "application/x-ndjson");
        reply.text
    };
    let text = records("").await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1502);
    assert!(text.ends_with('\n'));
    for (line, position) in lines.iter().zip(1..) {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["position"], position);
        let members: Vec<_> = record.as_object().unwrap().keys().cloned().collect();
        assert_eq!(members.join(" "), RECORD);
    }
    let expected: String = text.lines().skip(1500).flat_map(|line| [line, "\n"]).collect();
    assert_eq!(records("?after=1500").await, expected);
    assert_eq!(records("?after=1502").await, "");
    assert_eq!(records("?event_type=Opened").await.lines().count(), 2);
}

#[tokio::test]
async fn a_transaction_is_shown_with_the_subscription_it_caused() {
    let service = Service::start().await;
    let (auditor, alice) = (service.person("auditor", &["auditor"]).await, service.rich("alice").await);
    let tv = service.offer("TV", 1000).await;
    let accepted = service.post(&alice, "/activation/", &json!({"offer_id": tv})).await;
    let id = accepted.id("transaction_id");
    service.succeed(TransactionId(id), &alice, tv).await;
    let reply = service.get(&auditor, &format!("/audit/transactions/{id}/")).await;
    let shown = reply.json();
    let events = shown["events"].as_array().unwrap();
    let types: Vec<_> = events.iter().map(|event| event["event_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["ActivationRequested", "Processing", "Succeeded", "Activated"]);
    let first = service.resources.log.find(id).await.unwrap().unwrap();
    assert!(reply.text.contains(&first.line()), "a record, byte for byte");
    let path = format!("/audit/transactions/{}/", Uuid::now_v7());
    service.get(&auditor, &path).await.is(404, "transaction_not_found");
    service.get(&alice, &format!("/audit/transactions/{id}/")).await.is(403, "forbidden");
}
