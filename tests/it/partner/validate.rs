//! What became of it: by our reference, by the partner's own, and all of them.

use super::{activate, float, get, wish, with};
use crate::support::service::{Service, Setting};
use domain::TransactionId;
use serde_json::{Value, json};

#[tokio::test]
async fn a_reference_tells_what_became_of_it() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 1000).await, service.person("alice", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let order = with(&wish(&alice, tv), "partner_reference", "order-1");
    let bought = activate(&service, &shop, &order).await.json();
    let path = format!("/partner/validate/{}/", bought["reference"].as_str().unwrap());
    let shown = get(&service, &shop, &path).await.json();
    let members: Vec<_> = shown.as_object().unwrap().keys().cloned().collect();
    let expected = "reference partner_reference transaction_id user_id offer_id amount status created_at \
                    updated_at is_valid";
    assert_eq!(members.join(" "), expected);
    assert_eq!(
        (&shown["reference"], &shown["transaction_id"], &shown["partner_reference"], &shown["is_valid"]),
        (&bought["reference"], &bought["transaction_id"], &json!("order-1"), &json!(true))
    );
    assert_eq!(
        (&shown["user_id"], &shown["offer_id"], &shown["amount"], &shown["status"]),
        (&json!(alice.id), &json!(tv), &json!("10.00"), &json!("PENDING"))
    );
    let id = TransactionId(bought["transaction_id"].as_str().unwrap().parse().unwrap());
    service.succeed(id, &alice, tv).await;
    assert_eq!(get(&service, &shop, &path).await.json()["status"], "SUCCESS");
    let hers = service.get(&alice, &path).await.json();
    assert_eq!(hers["is_valid"], true, "it was bought for her");
    assert_eq!(hers["partner_reference"], json!(null), "what the shop calls its order is the shop's");
}

#[tokio::test]
async fn anothers_reference_looks_like_none() {
    let service = Service::start().await;
    let (shop, other) = (service.shop("Shop", 1000).await, service.shop("Other", 0).await);
    let (alice, bob) = (service.rich("alice").await, service.person("bob", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let by_shop = activate(&service, &shop, &wish(&alice, tv)).await.json()["reference"].clone();
    let by_alice = service.post(&alice, "/partner/activate/", &wish(&alice, tv)).await.json();
    let by_alice = by_alice["reference"].clone();
    let path = |reference: &Value| format!("/partner/validate/{}/", reference.as_str().unwrap());
    for reply in [
        get(&service, &other, &path(&by_shop)).await,
        get(&service, &other, &path(&json!("REF-ABCDEFGHIJKL"))).await,
        get(&service, &shop, &path(&by_alice)).await,
        service.get(&bob, &path(&by_shop)).await,
        service.get(&bob, &path(&by_alice)).await,
    ] {
        reply.is(404, "transaction_not_found");
        let body = reply.json();
        assert_eq!((&body["is_valid"], &body["error"]), (&json!(false), &json!("Transaction not found")));
        assert!(body["reference"].as_str().unwrap().starts_with("REF-"));
    }
    for odd in ["x", "REF-", "REF-abcdefghijkl", "%00", "%ff", "REF-ABCDEFGHIJK%27", "%E2%82%AC"] {
        let reply = get(&service, &shop, &format!("/partner/validate/{odd}/")).await;
        reply.is(404, "transaction_not_found");
        assert_eq!(reply.json()["is_valid"], false, "{odd}");
    }
}

#[tokio::test]
async fn whoever_lost_the_answer_finds_it_by_the_own_reference() {
    let service = Service::start().await;
    let (shop, other) = (service.shop("Shop", 5000).await, service.shop("Other", 0).await);
    let alice = service.person("alice", &["user"]).await;
    let tv = service.offer("TV", 1000).await;
    let lookup = "/partner/transactions/?partner_reference=order-1";
    assert_eq!(get(&service, &shop, lookup).await.json()["results"], json!([]));
    let order = with(&wish(&alice, tv), "partner_reference", "order-1");
    let bought = activate(&service, &shop, &order).await.json();
    let found = get(&service, &shop, lookup).await.json();
    assert_eq!(found["results"].as_array().unwrap().len(), 1, "at once");
    assert_eq!(found["results"][0]["reference"], bought["reference"]);
    assert_eq!((&found["next"], &found["previous"]), (&Value::Null, &Value::Null));
    assert_eq!(get(&service, &other, lookup).await.json()["results"], json!([]));
    let pending = get(&service, &shop, &format!("{lookup}&status=PENDING")).await.json();
    assert_eq!(pending["results"], found["results"]);
    assert_eq!(get(&service, &shop, &format!("{lookup}&status=FAILED")).await.json()["results"], json!([]));
}

#[tokio::test]
async fn a_partner_lists_its_own_newest_first() {
    let service = Service::start().await;
    let (shop, other) = (service.shop("Shop", 5000).await, service.shop("Other", 1000).await);
    let alice = service.person("alice", &["user"]).await;
    let tv = service.offer("TV", 1000).await;
    let mut bought = Vec::new();
    for _ in 0..3 {
        bought.push(activate(&service, &shop, &wish(&alice, tv)).await.json()["reference"].clone());
    }
    activate(&service, &other, &wish(&alice, tv)).await;
    let failed = get(&service, &shop, &format!("/partner/validate/{}/", bought[0].as_str().unwrap())).await;
    service.fail(TransactionId(failed.id("transaction_id"))).await;
    service.all_listed().await;
    let first = get(&service, &shop, "/partner/transactions/?limit=2").await.json();
    let rest = first["next"].as_str().unwrap().strip_prefix("/api/v1").unwrap();
    let rest = get(&service, &shop, rest).await.json();
    let rows = [&first, &rest].map(|page| page["results"].as_array().unwrap().clone()).concat();
    let references: Vec<_> = rows.iter().map(|row| row["reference"].clone()).collect();
    bought.reverse();
    assert_eq!(references, bought);
    let failed = get(&service, &shop, "/partner/transactions/?status=FAILED").await.json();
    assert_eq!(failed["results"].as_array().unwrap().len(), 1);
    assert_eq!(failed["results"][0]["reference"], bought[2]);
    get(&service, &shop, "/partner/transactions/?status=DONE").await.is(400, "invalid_request");
}

#[tokio::test]
async fn an_answered_purchase_is_found_while_the_lists_stand_still() {
    let service = Service::start_with(Setting { projects: false, ..Setting::default() }).await;
    let (shop, alice) = (service.shop("Shop", 1000).await, service.person("alice", &["user"]).await);
    let (tv, _) = service.create_offer("TV", 1000).await;
    let order = with(&wish(&alice, tv), "partner_reference", "order-1");
    let bought = activate(&service, &shop, &order).await.json();
    let path = format!("/partner/validate/{}/", bought["reference"].as_str().unwrap());
    assert_eq!(get(&service, &shop, &path).await.json()["status"], "PENDING");
    let found = get(&service, &shop, "/partner/transactions/?partner_reference=order-1").await.json();
    assert_eq!(found["results"][0]["reference"], bought["reference"]);
    assert_eq!(float(&service, &shop).await, "0.00");
}
