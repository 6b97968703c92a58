//! A partner that repeats itself buys once.

use super::{activate, float, is_replayed, wish, with};
use crate::support::service::{Reply, Service, Shop, send};
use domain::{Money, TransactionId};
use futures::future::join_all;
use offers::app::catalogue::Change;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

async fn activate_with_key(service: &Service, shop: &Shop, body: &Value, key: &str) -> Reply {
    let request = service.request_by(shop, Method::POST, "/partner/activate/");
    send(request.json(body).header("Idempotency-Key", key)).await
}

#[tokio::test]
async fn the_partners_own_reference_buys_once_for_ever() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 5000).await, service.person("alice", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let order = with(&wish(&alice, tv), "partner_reference", "order:1/#2.a-b");
    let first = activate(&service, &shop, &order).await;
    assert_eq!((first.status.as_u16(), is_replayed(&first)), (201, false), "{}", first.text);
    service.succeed(TransactionId(first.id("transaction_id")), &alice, tv).await;
    let price = Money::from_hundredths(9000);
    service.change(tv, Change { price: Some(price), is_active: Some(false), ..Change::default() }).await;
    for same in [order.clone(), with(&order, "amount", 10.0), with(&order, "amount", "10")] {
        let again = activate(&service, &shop, &same).await;
        assert_eq!((again.status.as_u16(), again.json(), is_replayed(&again)), (201, first.json(), true));
        assert_eq!(again.headers["location"], first.headers["location"]);
    }
    for (member, other) in [
        ("amount", "11.00".to_owned()),
        ("user_id", Uuid::now_v7().to_string()),
        ("offer_id", Uuid::now_v7().to_string()),
    ] {
        activate(&service, &shop, &with(&order, member, other)).await.is(422, "idempotency_key_reused");
    }
    assert_eq!(float(&service, &shop).await, "40.00");
}

#[tokio::test]
async fn twins_at_once_buy_once() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 1000).await, service.person("alice", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let order = with(&wish(&alice, tv), "partner_reference", "twin");
    let twins = join_all((0..20).map(|_| activate(&service, &shop, &order))).await;
    assert!(twins.iter().all(|twin| twin.status == 201 && twin.json() == twins[0].json()), "{twins:?}");
    assert_eq!(twins.iter().filter(|twin| !is_replayed(twin)).count(), 1);
    assert_eq!(float(&service, &shop).await, "0.00");
}

#[tokio::test]
async fn a_header_beside_the_reference_is_ignored() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 5000).await, service.person("alice", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let order = with(&wish(&alice, tv), "partner_reference", "order-1");
    let first = activate_with_key(&service, &shop, &order, "key-1").await;
    let not_even_sound = activate_with_key(&service, &shop, &order, "\"unclosed").await;
    assert_eq!((not_even_sound.json(), is_replayed(&not_even_sound)), (first.json(), true));
    let other = with(&order, "partner_reference", "order-2");
    let second = activate_with_key(&service, &shop, &other, "key-1").await;
    assert_eq!((second.status.as_u16(), is_replayed(&second)), (201, false));
    assert_eq!(float(&service, &shop).await, "30.00");
}

#[tokio::test]
async fn without_a_reference_the_header_is_the_key() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 5000).await, service.rich("alice").await);
    let tv = service.offer("TV", 1000).await;
    let order = wish(&alice, tv);
    let first = activate_with_key(&service, &shop, &order, "key-1").await;
    let again = activate_with_key(&service, &shop, &order, "key-1").await;
    assert_eq!((again.json(), is_replayed(&again)), (first.json(), true));
    let reference = with(&order, "partner_reference", "key-1");
    assert!(!is_replayed(&activate_with_key(&service, &shop, &reference, "x").await), "two kinds of keys");
    activate_with_key(&service, &shop, &order, "\"unclosed").await.is(400, "invalid_idempotency_key");
    assert_ne!(
        activate(&service, &shop, &order).await.json(),
        activate(&service, &shop, &order).await.json()
    );
    assert_eq!(float(&service, &shop).await, "10.00");

    let body = serde_json::json!({"offer_id": tv});
    assert_eq!(service.post_once(&alice, "/activation/", &body, "mine").await.status, 202);
    let here = service.post_once(&alice, "/partner/activate/", &order, "mine").await;
    here.is(422, "idempotency_key_reused");
}

#[tokio::test]
async fn references_of_different_callers_are_independent() {
    let service = Service::start().await;
    let (one, two) = (service.shop("One", 1000).await, service.shop("Two", 1000).await);
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let order = with(&wish(&alice, tv), "partner_reference", "order-1");
    let by_one = activate(&service, &one, &order).await;
    let by_two = activate(&service, &two, &order).await;
    let by_alice = service.post(&alice, "/partner/activate/", &order).await;
    for reply in [&by_one, &by_two, &by_alice] {
        assert_eq!((reply.status.as_u16(), is_replayed(reply)), (201, false), "{}", reply.text);
    }
    let again = service.post(&alice, "/partner/activate/", &order).await;
    assert_eq!((again.json(), is_replayed(&again)), (by_alice.json(), true));
}

#[tokio::test]
async fn a_refused_reference_may_be_used_again() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 0).await, service.person("alice", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let order = with(&wish(&alice, tv), "partner_reference", "order-1");
    activate(&service, &shop, &order).await.is(400, "insufficient_balance");
    service.pay_in(shop.id.into(), 1000).await;
    let accepted = activate(&service, &shop, &order).await;
    assert_eq!((accepted.status.as_u16(), is_replayed(&accepted)), (201, false));
    for unsound in [
        "",
        " ",
        "a\u{0}",
        "a\nb",
        "+49 171 5550",
        "=cmd|' /C calc'!A0",
        "<script>",
        "ü",
        "-a",
        &"x".repeat(101),
    ] {
        let reply = activate(&service, &shop, &with(&order, "partner_reference", unsound)).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), ["partner_reference"], "{unsound:?}");
    }
}
