//! A person decides about a purchase that makes no progress.

use crate::support::service::{Person, Service};
use domain::TransactionId;
use domain::transaction::{Answer, AttemptKind, Command, Evidence};
use offers::event_log::{AggregateCommand, Plan};
use serde_json::{Value, json};
use uuid::Uuid;

impl Service {
    /// Buys for 10.00, and attempts it without an answer.
    async fn bought_and_unanswered(&self, person: &Person) -> TransactionId {
        let tv = self.offer("TV", 1000).await;
        let id = self.post(person, "/activation/", &json!({"offer_id": tv})).await.id("transaction_id");
        let id = TransactionId(id);
        self.begin(id).await;
        self.fail_attempt(id, AttemptKind::Activate, Evidence::SentNoAnswer).await;
        self.fail_attempt(id, AttemptKind::LookUp, Evidence::Answered).await;
        self.all_listed().await;
        id
    }

    async fn fail_attempt(&self, id: TransactionId, kind: AttemptKind, evidence: Evidence) {
        let detail = "no answer within 10000 ms".to_owned();
        let failed = Command::RecordFailedAttempt { attempt: 1, kind, evidence, detail };
        self.execute(Plan::new().command(AggregateCommand::Transaction(id, failed))).await;
    }

    async fn status_of(&self, person: &Person, id: TransactionId) -> Value {
        self.get(person, &format!("/activation/status/{id}/")).await.json()
    }

    /// The one in the list of those in doubt; null if there is none.
    async fn in_doubt(&self, root: &Person) -> Value {
        self.all_listed().await;
        self.walk(root, "/admin/transactions/?in_doubt=true").await.pop().unwrap_or_default()
    }
}

fn path(id: impl std::fmt::Display, order: &str) -> String {
    format!("/admin/transactions/{id}/{order}/")
}

#[tokio::test]
async fn what_is_in_doubt_says_so_and_is_listed_with_its_whole_evidence() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let id = service.bought_and_unanswered(&alice).await;
    let status = service.status_of(&alice, id).await;
    assert_eq!(
        (&status["status"], &status["pending_reason"]),
        (&json!("PROCESSING"), &json!("outcome_unknown"))
    );
    let listed = service.in_doubt(&root).await;
    assert_eq!(
        (&listed["transaction_id"], &listed["pending_reason"]),
        (&json!(id), &json!("outcome_unknown"))
    );
    let attempts = listed["attempts"].as_array().unwrap();
    let told: Vec<_> = attempts.iter().map(|attempt| [&attempt["kind"], &attempt["evidence"]]).collect();
    assert_eq!(told, [["activate", "sent_no_answer"], ["look_up", "answered"]]);
    assert!(attempts.iter().all(|attempt| attempt["detail"] == "no answer within 10000 ms"));
    let backlog = service.resources.readers.backlog().await.unwrap();
    assert_eq!((backlog.unfinished, backlog.in_doubt), (1, 1));
    assert_eq!(backlog.oldest_in_doubt, backlog.oldest);
}

#[tokio::test]
async fn a_cancellation_is_listed_while_it_is_under_way_and_with_its_end() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let id = service.bought_and_unanswered(&alice).await;
    let begin = AggregateCommand::Transaction(id, Command::BeginCancellation);
    service.execute(Plan::new().command(begin)).await;
    let ends = async || {
        let listed = service.in_doubt(&root).await;
        let cancellations = listed["attempts"].as_array().unwrap().iter().skip(2);
        cancellations
            .map(|attempt| [attempt["kind"].clone(), attempt["evidence"].clone()])
            .collect::<Vec<_>>()
    };
    assert_eq!(ends().await, [[json!("cancel"), Value::Null]]);
    service.fail_attempt(id, AttemptKind::Cancel, Evidence::Answered).await;
    assert_eq!(ends().await, [["cancel", "answered"]]);
    service.fail_attempt(id, AttemptKind::Cancel, Evidence::SentNoAnswer).await;
    assert_eq!(ends().await, [["cancel", "answered"], ["cancel", "sent_no_answer"]]);
}

#[tokio::test]
async fn a_person_resolves_it_as_failed_and_the_money_is_back() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let id = service.bought_and_unanswered(&alice).await;
    let before = service.balance(&alice).await;
    let body = json!({"outcome": "failed", "reason": "not in their list"});
    let reply = service.post(&root, &path(id, "resolve"), &body).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (202, &json!("FAILED")), "{}", reply.text);
    assert_eq!(reply.headers["location"], format!("/api/v1/audit/transactions/{id}/"));
    assert_ne!(service.balance(&alice).await, before);
    let status = service.status_of(&alice, id).await;
    assert_eq!((&status["status"], status.get("pending_reason")), (&json!("FAILED"), None));
    assert_eq!(service.in_doubt(&root).await, Value::Null);
    let events = service.get(&root, &format!("/audit/transactions/{id}/")).await.json();
    let resolved =
        events["events"].as_array().unwrap().iter().find(|event| event["event_type"] == "Resolved");
    let metadata = &resolved.unwrap()["metadata"];
    let by = (&metadata["actor"], &metadata["reason"]);
    assert_eq!(by, (&json!(format!("user:{}", root.id)), &json!("not in their list")));
    service.post(&root, &path(id, "resolve"), &body).await.is(409, "conflict");
    service.post(&root, &path(id, "retry"), &json!({})).await.is(409, "conflict");
}

#[tokio::test]
async fn a_resolution_that_is_repeated_with_its_key_is_answered_again() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let id = service.bought_and_unanswered(&alice).await;
    let body = json!({"outcome": "failed", "reason": "not in their list"});
    for replayed in [false, true, true] {
        let reply = service.post_once(&root, &path(id, "resolve"), &body, "key-1").await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["status"]),
            (202, &json!("FAILED")),
            "{}",
            reply.text
        );
        assert_eq!(reply.headers.contains_key("idempotent-replayed"), replayed);
    }
    let otherwise = json!({"outcome": "succeeded", "reason": "they did it"});
    let reused = service.post_once(&root, &path(id, "resolve"), &otherwise, "key-1").await;
    reused.is(422, "idempotency_key_reused");
    service.post_once(&root, &path(id, "resolve"), &body, "key-2").await.is(409, "conflict");
}

#[tokio::test]
async fn a_person_resolves_it_as_done_and_the_subscription_begins() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let id = service.bought_and_unanswered(&alice).await;
    let body = json!({"outcome": "succeeded", "reference": "EXT-7", "reason": "they did it"});
    assert_eq!(service.post(&root, &path(id, "resolve"), &body).await.status, 202);
    let status = service.status_of(&alice, id).await;
    assert_eq!((&status["status"], &status["reference"]), (&json!("SUCCESS"), &json!("EXT-7")));
    service.all_listed().await;
    let subscriptions = service.walk(&alice, "/account/subscriptions/").await;
    assert_eq!(subscriptions.len(), 1);
    assert_eq!(subscriptions[0]["transaction_id"], json!(id));
}

#[tokio::test]
async fn a_success_found_after_the_refund_is_listed_until_a_person_settles_it() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let id = service.bought_and_unanswered(&alice).await;
    let resolve = json!({"outcome": "failed", "reason": "not in their list"});
    assert_eq!(service.post(&root, &path(id, "resolve"), &resolve).await.status, 202);
    let balance = service.balance(&alice).await;
    let kind = AttemptKind::LookUp;
    let late = Command::RecordLateAnswer { kind, answer: Answer::Activated, detail: "EXT-9".to_owned() };
    service.execute(Plan::new().command(AggregateCommand::Transaction(id, late))).await;
    let listed = service.in_doubt(&root).await;
    assert_eq!((&listed["status"], &listed["pending_reason"]), (&json!("FAILED"), &json!("contradicted")));
    assert_eq!(listed["attempts"].as_array().unwrap().last().unwrap()["detail"], "EXT-9");
    assert_eq!(service.status_of(&alice, id).await.get("pending_reason"), None, "users see a final status");
    assert_eq!(service.balance(&alice).await, balance);
    let otherwise = json!({"outcome": "succeeded", "reason": "they did it"});
    service.post(&root, &path(id, "resolve"), &otherwise).await.is(409, "conflict");
    assert_eq!(service.post(&root, &path(id, "resolve"), &resolve).await.status, 202);
    assert_eq!(service.in_doubt(&root).await, Value::Null);
}

#[tokio::test]
async fn an_order_that_cannot_be_followed_changes_nothing() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let id = service.bought_and_unanswered(&alice).await;
    let head = service.resources.log.head().await.unwrap();
    for body in [
        json!({}),
        json!({"outcome": "failed"}),
        json!({"outcome": "failed", "reason": " "}),
        json!({"outcome": "FAILED", "reason": "x"}),
        json!({"outcome": "failed", "reason": "x", "reference": "EXT-1"}),
        json!({"outcome": "failed", "reason": "x", "amount": "1.00"}),
    ] {
        service.post(&root, &path(id, "resolve"), &body).await.is(400, "invalid_request");
    }
    for (order, body) in [("retry", json!({})), ("resolve", json!({"outcome": "failed", "reason": "x"}))] {
        service.post(&alice, &path(id, order), &body).await.is(403, "forbidden");
        service.post(&root, &path(Uuid::now_v7(), order), &body).await.is(404, "transaction_not_found");
        service.post(&root, &path("x", order), &body).await.is(400, "malformed_id");
    }
    assert_eq!(service.resources.log.head().await.unwrap(), head);
    let retried = service.post(&root, &path(id, "retry"), &json!({"reason": "it is up again"})).await;
    assert_eq!((retried.status.as_u16(), &retried.json()["status"]), (202, &json!("PROCESSING")));
    assert_eq!(service.resources.log.head().await.unwrap(), head + 1);
}
