//! A purchase for a user who is named by username.

use super::{activate, float, is_replayed, with};
use crate::support::service::{Service, Setting};
use crate::support::stack::Stack;
use domain::OfferId;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

fn wish_for(name: &str, offer: OfferId) -> Value {
    json!({"username": name, "offer_id": offer, "amount": "10.00"})
}

#[tokio::test]
async fn a_partner_names_the_user_exactly() {
    let service = Service::start().await;
    let shop = service.shop("Shop", 5000).await;
    let alice = service.person("alice", &["user"]).await;
    let tv = service.offer("TV", 1000).await;
    for name in ["alice", "\u{ff41}lice"] {
        let bought = activate(&service, &shop, &wish_for(name, tv)).await;
        assert_eq!(bought.status, 201, "{name}: {}", bought.text);
        let path = format!("/activation/status/{}/", bought.id("transaction_id"));
        assert_eq!(
            service.get(&alice, &path).await.json()["user_id"],
            json!(alice.id),
            "NFKC of {name} is alice"
        );
    }
    for nobody in ["Alice", "alic", "alice.", "al ice", "nobody"] {
        activate(&service, &shop, &wish_for(nobody, tv)).await.is(400, "user_not_found");
    }
    assert_eq!(float(&service, &shop).await, "30.00");
}

#[tokio::test]
async fn a_user_is_named_or_told_by_id_and_neither_is_missing_and_both_are_wrong() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 5000).await, service.person("alice", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let neither = activate(&service, &shop, &json!({"offer_id": tv, "amount": "10.00"})).await;
    neither.is(400, "missing_fields");
    assert_eq!(neither.fields(), ["user_id"]);
    let named_alone = activate(&service, &shop, &json!({"username": "alice"})).await;
    named_alone.is(400, "missing_fields");
    assert_eq!(named_alone.fields(), ["offer_id", "amount"]);
    let both = with(&wish_for("alice", tv), "user_id", json!(alice.id));
    let refused = activate(&service, &shop, &both).await;
    refused.is(400, "invalid_request");
    assert_eq!(refused.fields(), ["username"]);
    for wrong in [json!(7), json!("a\u{0}"), json!("x".repeat(151))] {
        let reply = activate(&service, &shop, &with(&wish_for("", tv), "username", wrong)).await;
        reply.is(400, "invalid_request");
    }
    let null = with(&wish_for("alice", tv), "user_id", Value::Null);
    assert_eq!(activate(&service, &shop, &null).await.status, 201, "null is not given");
    let null = with(&with(&null, "username", Value::Null), "user_id", json!(alice.id));
    assert_eq!(activate(&service, &shop, &null).await.status, 201, "null is not given");
}

#[tokio::test]
async fn a_user_may_say_its_own_name_and_no_other() {
    let service = Service::start().await;
    let (alice, _bob) = (service.rich("alice").await, service.rich("bob").await);
    let tv = service.offer("TV", 1000).await;
    assert_eq!(service.post(&alice, "/partner/activate/", &wish_for("alice", tv)).await.status, 201);
    assert_eq!(service.balance(&alice).await, "990.00");
    for other in ["bob", "ALICE", "nobody"] {
        let reply = service.post(&alice, "/partner/activate/", &wish_for(other, tv)).await;
        reply.is(403, "not_authorized_for_user");
    }
}

#[tokio::test]
async fn a_repeat_says_what_was_said_and_no_name_is_recorded() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let (shop, alice) = (service.shop("Shop", 5000).await, service.person("alice", &["user"]).await);
    let _bob = service.person("bob", &["user"]).await;
    let tv = service.offer("TV", 1000).await;
    let order = with(&wish_for("alice", tv), "partner_reference", "order-1");
    let first = activate(&service, &shop, &order).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let by_id =
        json!({"user_id": alice.id, "offer_id": tv, "amount": "10.00", "partner_reference": "order-1"});
    for another in [
        with(&order, "username", "bob"),
        with(&order, "username", "Alice"),
        with(&order, "username", "nobody"),
        with(&order, "offer_id", json!(Uuid::now_v7())),
        by_id,
    ] {
        activate(&service, &shop, &another).await.is(422, "idempotency_key_reused");
    }
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    let named: i64 = sqlx::query_scalar(
        "select count(*) from events where payload::text || metadata::text like '%alice%'",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!(named, 0, "events are kept for ever");
    sqlx::query("update users set is_active = false where username = 'alice'")
        .execute(&mut owner)
        .await
        .unwrap();
    let again = activate(&service, &shop, &order).await;
    assert_eq!((again.json(), is_replayed(&again)), (first.json(), true), "whatever became of the user");
    assert_eq!(float(&service, &shop).await, "40.00");
}
