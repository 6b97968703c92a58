//! Buying an offer, once, and seeing what became of it.

use crate::support::eventually::eventually;
use crate::support::service::{Person, Reply, Service, Setting, send};
use crate::support::stack::Stack;
use domain::{Metadata, Money, OfferId, TransactionId};
use futures::future::join_all;
use offers::app::catalogue::Change;
use offers::event_log::follow;
use projections::{HashProjector, TableProjector};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

async fn buy(service: &Service, person: &Person, offer: OfferId, key: &str) -> Reply {
    service.post_once(person, "/activation/", &json!({"offer_id": offer}), key).await
}

async fn status(service: &Service, person: &Person, id: Uuid) -> Reply {
    service.get(person, &format!("/activation/status/{id}/")).await
}

/// Waits until the status is `expected`, and gives the whole of it.
async fn becomes(service: &Service, person: &Person, id: Uuid, expected: &str) -> Value {
    eventually(expected, async || status(service, person, id).await.json()["status"] == expected).await;
    status(service, person, id).await.json()
}

fn is_replayed(reply: &Reply) -> bool {
    reply.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn an_activation_reserves_the_money_and_is_there_at_once() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1999).await;
    let body = json!({"offer_id": tv, "price": "0.01", "user_id": Uuid::nil(), "nonsense": {"a": []}});
    let accepted = service.post(&alice, "/activation/", &body).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let id = accepted.id("transaction_id");
    let expected =
        json!({"transaction_id": id, "status": "PENDING", "message": "Activation process started"});
    assert_eq!(accepted.json(), expected);
    let location = format!("/api/v1/activation/status/{id}/");
    assert_eq!(accepted.headers["location"], location.as_str());
    assert!(!is_replayed(&accepted));
    assert_eq!(service.balance(&alice).await, "980.01");
    let shown = send(service.anonymous(Method::GET, &location).bearer_auth(&alice.token)).await;
    assert_eq!(shown.status, 200);
    let shown = shown.json();
    assert_eq!(
        (&shown["status"], &shown["amount"], &shown["kind"]),
        (&json!("PENDING"), &json!("19.99"), &json!("activation"))
    );
    assert_eq!((&shown["user_id"], &shown["offer_id"]), (&json!(alice.id), &json!(tv)));
    assert!(shown.as_object().unwrap().values().all(Value::is_string), "{shown}");
    assert!(shown.get("position").is_none());
}

#[tokio::test]
async fn what_cannot_be_bought_is_refused_and_writes_nothing() {
    let service = Service::start().await;
    let (poor, rich) = (service.person("poor", &["user"]).await, service.rich("rich").await);
    let (tv, gone) = (service.offer("TV", 1).await, service.offer("Gone", 1).await);
    service.change(gone, Change { is_active: Some(false), ..Change::default() }).await;
    let head = service.resources.log.head().await.unwrap();
    let try_to = |person: &Person, offer: Value| {
        let request = service.request(person, Method::POST, "/activation/");
        send(request.json(&json!({"offer_id": offer})))
    };
    try_to(&poor, json!(tv)).await.is(400, "insufficient_balance");
    try_to(&rich, json!(gone)).await.is(404, "offer_not_found");
    try_to(&rich, json!(Uuid::now_v7())).await.is(404, "offer_not_found");
    for malformed in [json!("7"), json!(7), json!(null), json!([tv]), json!("")] {
        let reply = try_to(&rich, malformed.clone()).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), ["offer_id"], "{malformed}");
    }
    service.post(&rich, "/activation/", &json!({})).await.is(400, "invalid_request");
    assert_eq!(service.resources.log.head().await.unwrap(), head);
    assert_eq!(service.balance(&rich).await, "1000.00");
}

#[tokio::test]
async fn an_offer_for_nothing_needs_no_money() {
    let service = Service::start().await;
    let poor = service.person("poor", &["user"]).await;
    let gift = service.offer("Gift", 0).await;
    assert_eq!(service.post(&poor, "/activation/", &json!({"offer_id": gift})).await.status, 202);
}

#[tokio::test]
async fn the_same_key_buys_once_however_it_is_written() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let first = buy(&service, &alice, tv, "key-1").await;
    assert_eq!((first.status.as_u16(), is_replayed(&first)), (202, false));
    for key in ["key-1", "\"key-1\""] {
        let again = buy(&service, &alice, tv, key).await;
        assert_eq!(
            (again.status.as_u16(), again.json(), is_replayed(&again)),
            (202, first.json(), true),
            "{key}"
        );
        assert_eq!(again.headers["location"], first.headers["location"]);
    }
    assert_eq!(service.balance(&alice).await, "990.00");
    let id = first.id("transaction_id");
    service.succeed(TransactionId(id), &alice, tv).await;
    let late = buy(&service, &alice, tv, "key-1").await;
    assert_eq!(late.json(), first.json(), "PENDING as then");
    assert_ne!(buy(&service, &alice, tv, "key-2").await.id("transaction_id"), id);
}

#[tokio::test]
async fn many_twins_at_once_buy_once() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let twins = join_all((0..20).map(|_| buy(&service, &alice, tv, "twin"))).await;
    assert!(twins.iter().all(|twin| twin.status == 202 && twin.json() == twins[0].json()), "{twins:?}");
    assert_eq!(twins.iter().filter(|twin| !is_replayed(twin)).count(), 1);
    assert_eq!(service.balance(&alice).await, "990.00");
}

#[tokio::test]
async fn a_changed_price_or_a_withdrawn_offer_or_an_empty_account_does_not_stop_a_repeat() {
    let service = Service::start().await;
    let alice = service.person("alice", &["user"]).await;
    service.pay_in(alice.id.into(), 1000).await;
    let tv = service.offer("TV", 1000).await;
    let first = buy(&service, &alice, tv, "k").await;
    assert_eq!(buy(&service, &alice, tv, "k").await.json(), first.json(), "the account is empty now");
    service.change(tv, Change { price: Some(Money::from_hundredths(5)), ..Change::default() }).await;
    assert_eq!(buy(&service, &alice, tv, "k").await.json(), first.json());
    service.change(tv, Change { is_active: Some(false), ..Change::default() }).await;
    assert_eq!(buy(&service, &alice, tv, "k").await.json(), first.json());
    assert_eq!(service.balance(&alice).await, "0.00");
}

#[tokio::test]
async fn a_key_belongs_to_one_request_and_one_caller() {
    let service = Service::start().await;
    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let (tv, music) = (service.offer("TV", 1000).await, service.offer("Music", 1000).await);
    let first = buy(&service, &alice, tv, "k").await;
    buy(&service, &alice, music, "k").await.is(422, "idempotency_key_reused");
    let unknown = service.post_once(&alice, "/activation/", &json!({"offer_id": Uuid::now_v7()}), "k").await;
    unknown.is(422, "idempotency_key_reused");
    let other = buy(&service, &bob, tv, "k").await;
    assert_eq!((other.status.as_u16(), is_replayed(&other)), (202, false));
    assert_ne!(other.id("transaction_id"), first.id("transaction_id"));

    let root = service.person("root", &["admin", "user"]).await;
    service.pay_in(root.id.into(), 5000).await;
    assert_eq!(buy(&service, &root, tv, "k").await.status, 202);
    let path = format!("/admin/accounts/{}/credit/", bob.id);
    let body = json!({"amount": "1", "reason": "test"});
    service.post_once(&root, &path, &body, "k").await.is(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_refused_request_does_not_use_up_its_key() {
    let service = Service::start().await;
    let alice = service.person("alice", &["user"]).await;
    let tv = service.offer("TV", 1000).await;
    buy(&service, &alice, tv, "k").await.is(400, "insufficient_balance");
    service.pay_in(alice.id.into(), 1000).await;
    let accepted = buy(&service, &alice, tv, "k").await;
    assert_eq!((accepted.status.as_u16(), is_replayed(&accepted)), (202, false));
}

#[tokio::test]
async fn a_malformed_key_is_reported() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let long = "x".repeat(256);
    for key in ["", "a b", "\"a", "\"\"", &long] {
        buy(&service, &alice, tv, key).await.is(400, "invalid_idempotency_key");
    }
    assert_eq!(buy(&service, &alice, tv, &"x".repeat(255)).await.status, 202);
}

#[tokio::test]
async fn a_status_moves_forward_and_ends_with_the_money_in_its_place() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let done = buy(&service, &alice, tv, "a").await.id("transaction_id");
    let failed = buy(&service, &alice, tv, "b").await.id("transaction_id");
    service.begin(TransactionId(failed)).await;
    becomes(&service, &alice, failed, "PROCESSING").await;
    service.succeed(TransactionId(done), &alice, tv).await;
    let shown = becomes(&service, &alice, done, "SUCCESS").await;
    assert_eq!(shown["reference"], "EXT-1");
    assert!(shown["completed_at"].is_string());
    let fail = domain::transaction::Command::Fail { code: "no".into(), message: "No".into() };
    let command = offers::event_log::AggregateCommand::Transaction(TransactionId(failed), fail);
    service.execute(offers::event_log::Plan::new().command(command)).await;
    let shown = becomes(&service, &alice, failed, "FAILED").await;
    assert!(shown["refunded_at"].is_string() && shown["error_message"] == "No");
    assert_eq!(service.balance(&alice).await, "990.00");
}

#[tokio::test]
async fn a_status_is_the_callers_own() {
    let service = Service::start().await;
    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv, "k").await.id("transaction_id");
    let (foreign, unknown) = (status(&service, &bob, id).await, status(&service, &bob, Uuid::now_v7()).await);
    foreign.is(404, "transaction_not_found");
    unknown.is(404, "transaction_not_found");
    assert_eq!(foreign.json()["detail"], unknown.json()["detail"]);
    service.get(&alice, "/activation/status/7/").await.is(400, "malformed_id");
}

#[tokio::test]
async fn a_lost_redis_changes_nothing() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv, "k").await.id("transaction_id");
    service.succeed(TransactionId(id), &alice, tv).await;
    service.all_listed().await;
    let before = becomes(&service, &alice, id, "SUCCESS").await;
    let redis = redis::Client::open(service.redis_url.as_str()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHDB").exec_async(&mut redis).await.unwrap();
    for _ in 0..20 {
        assert_eq!(status(&service, &alice, id).await.json(), before);
    }
    assert_eq!(buy(&service, &alice, tv, "k").await.id("transaction_id"), id);
}

#[tokio::test]
async fn a_status_never_runs_ahead_of_the_lists() {
    let service = Service::start_with(Setting { projects: false, ..Setting::default() }).await;
    let alice = service.rich("alice").await;
    let (tv, _position) = service.create_offer("TV", 1000).await;
    let accepted = buy(&service, &alice, tv, "k").await;
    let id = accepted.id("transaction_id");
    service.succeed(TransactionId(id), &alice, tv).await;
    assert_eq!(status(&service, &alice, id).await.json()["status"], "PENDING");
    let path = format!("/account/transactions/{id}/");
    let detail = service.get(&alice, &path).await.json();
    assert_eq!((&detail["status"], detail["history"].as_array().unwrap().len()), (&json!("PENDING"), 1));
}

/// The hashes stand still while the read tables go on: what a list or a transaction tells then must be
/// what the status tells afterwards.
#[tokio::test]
async fn a_status_does_not_go_back_when_it_was_read_elsewhere_before() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting { projects: false, ..Setting::default() }).await;
    let Service { resources, .. } = &service;
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    let history = std::sync::Arc::new(resources.log.clone());
    let (connect, checkpoint) =
        (sandbox.database_url.parse().unwrap(), resources.readers.checkpoint().clone());
    let tables = TableProjector::new(&connect, checkpoint, history.clone());
    tokio::spawn(follow(resources.log.feed(), tables, stop.clone()));
    let hour = Duration::from_secs(3600);
    let hashes = HashProjector::open(&sandbox.redis_url, resources.readers.clone(), history, hour).unwrap();
    let hashes_stop = stop.child_token();
    let following = tokio::spawn(follow(resources.log.feed(), hashes, hashes_stop.clone()));

    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let tv = service.offer("TV", 1000).await;
    let watched = buy(&service, &bob, tv, "a").await.id("transaction_id");
    let (listed, alone) = (buy(&service, &alice, tv, "a").await, buy(&service, &alice, tv, "b").await);
    let (listed, alone) = (listed.id("transaction_id"), alone.id("transaction_id"));
    let head = resources.log.head().await.unwrap();
    eventually("the hashes have all", async || resources.hashes.contain(head).await.is_ok_and(|all| all))
        .await;
    hashes_stop.cancel();
    following.await.unwrap();
    for (id, person) in [(listed, &alice), (alone, &alice), (watched, &bob)] {
        service.succeed(TransactionId(id), person, tv).await;
    }
    service.all_listed().await;
    assert_eq!(status(&service, &alice, alone).await.json()["status"], "PENDING", "Redis stands still");

    let detail = service.get(&alice, &format!("/account/transactions/{alone}/")).await.json();
    assert_eq!(detail["status"], "SUCCESS");
    assert_eq!(status(&service, &alice, alone).await.json()["status"], "SUCCESS");
    assert_eq!(
        status(&service, &alice, listed).await.json()["status"],
        "PENDING",
        "Redis still has the old status"
    );
    let list = service.get(&alice, "/account/transactions/").await.json();
    assert_eq!(list["results"][1]["status"], "SUCCESS");
    assert_eq!(status(&service, &alice, listed).await.json()["status"], "SUCCESS");

    let root = service.admin().await;
    let all = service.get(&root, &format!("/admin/transactions/?user_id={}", bob.id)).await.json();
    assert_eq!(all["results"][0]["status"], "SUCCESS");
    assert_eq!(status(&service, &bob, watched).await.json()["status"], "SUCCESS");
}

#[tokio::test]
async fn the_trace_stands_in_the_event_and_the_client_s_request_id_does_not() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = service.request(&alice, Method::POST, "/activation/").json(&json!({"offer_id": tv}));
    let reply = send(request.header("traceparent", traceparent).header("x-request-id", "my-request")).await;
    let event = service.first_event(reply.id("transaction_id")).await;
    let metadata: Metadata = serde_json::from_str(&event.metadata).unwrap();
    assert_eq!(metadata.traceparent.as_deref(), Some(traceparent));
    assert_eq!((metadata.correlation_id.is_nil(), event.metadata.contains("my-request")), (false, false));
    assert_eq!(metadata.actor, Some(format!("user:{}", alice.id)));
    assert!(!event.payload.contains("alice") && !event.metadata.contains("alice"));
}

#[tokio::test]
async fn accepted_and_rejected_requests_are_counted() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    buy(&service, &alice, tv, "k").await;
    buy(&service, &alice, OfferId(Uuid::now_v7()), "l").await.is(404, "offer_not_found");
    let metrics = send(service.anonymous(Method::GET, "/metrics")).await.text;
    for status in ["accepted", "rejected"] {
        let line = format!("activation_requests_total{{status=\"{status}\"}} ");
        assert!(metrics.lines().any(|known| known.starts_with(&line)), "{metrics}");
    }
}
