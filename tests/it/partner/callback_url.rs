//! Where a partner wants its callbacks: its registered URL, or another one of the same origin.

use super::{activate, float, get, is_replayed, wish, with};
use crate::support::service::{Service, Shop, send};
use domain::TransactionId;
use offers::identity::{Actor, CallbackUrl, PartnerChange};
use reqwest::Method;
use serde_json::json;

const REGISTERED: &str = "https://shop.example/hooks?token=1";

async fn register(service: &Service, shop: &Shop, url: Option<&str>) {
    let change = PartnerChange {
        callback_url: Some(url.map(|url| CallbackUrl::parse(url).unwrap())),
        ..PartnerChange::default()
    };
    let now = service.app.clock.now().utc();
    service.app.identity.update_partner(shop.id, &change, &Actor::system("test"), now).await.unwrap();
}

#[tokio::test]
async fn a_purchases_own_url_must_have_the_registered_origin() {
    let service = Service::start().await;
    let shop = service.shop_at("Shop", 5000, Some(REGISTERED)).await;
    let silent = service.shop("Silent", 5000).await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let order = wish(&alice, tv);
    for foreign in [
        "https://shop.example:8443/hooks",
        "http://shop.example/hooks",
        "https://shop.example.evil.example/",
        "https://evil.example/?https://shop.example",
        "https://shop.example@evil.example/",
        "//shop.example/hooks",
        "not a url",
        "javascript:alert(1)",
    ] {
        let body = with(&order, "callback_url", foreign);
        activate(&service, &shop, &body).await.is(400, "callback_url_not_allowed");
    }
    let fits = with(&order, "callback_url", "https://SHOP.example:443/other");
    activate(&service, &silent, &fits).await.is(400, "callback_url_not_allowed");
    service.post(&alice, "/partner/activate/", &fits).await.is(400, "callback_url_not_allowed");
    activate(&service, &shop, &with(&order, "callback_url", json!(7))).await.is(400, "invalid_request");
    assert_eq!(
        (float(&service, &shop).await, service.balance(&alice).await),
        ("50.00".into(), "1000.00".into())
    );
    let accepted = activate(&service, &shop, &fits).await;
    assert_eq!(accepted.status, 201, "{}", accepted.text);
    service.all_listed().await;
    let id = TransactionId(accepted.id("transaction_id"));
    let kept = service.resources.readers.transaction(id).await.unwrap().unwrap().callback_url;
    assert_eq!(kept.as_deref(), Some("https://SHOP.example:443/other"));
    assert_eq!(activate(&service, &shop, &with(&order, "callback_url", json!(null))).await.status, 201);
}

#[tokio::test]
async fn an_event_has_no_query_of_a_callback_url() {
    let service = Service::start().await;
    let shop = service.shop_at("Shop", 5000, Some(REGISTERED)).await;
    let alice = service.person("alice", &["user"]).await;
    let tv = service.offer("TV", 1000).await;
    let order = with(&wish(&alice, tv), "callback_url", "https://shop.example/mine?token=secret");
    let sold = activate(&service, &shop, &order).await;
    let event = service.first_event(sold.id("transaction_id")).await;
    let metadata: domain::Metadata = serde_json::from_str(&event.metadata).unwrap();
    assert_eq!(metadata.callback_url.as_deref(), Some("https://shop.example/mine"));
    assert!(!event.metadata.contains("secret") && !event.payload.contains("secret"));
}

#[tokio::test]
async fn a_repeat_is_answered_whatever_is_registered_by_now() {
    let service = Service::start().await;
    let shop = service.shop_at("Shop", 5000, Some(REGISTERED)).await;
    let alice = service.person("alice", &["user"]).await;
    let tv = service.offer("TV", 1000).await;
    let order = with(&wish(&alice, tv), "partner_reference", "order-1");
    let order = with(&order, "callback_url", "https://shop.example/1");
    let first = activate(&service, &shop, &order).await;
    register(&service, &shop, Some("https://moved.example/")).await;
    let again = activate(&service, &shop, &order).await;
    assert_eq!((again.json(), is_replayed(&again)), (first.json(), true));
    let elsewhere = with(&order, "callback_url", "https://moved.example/2");
    assert!(is_replayed(&activate(&service, &shop, &elsewhere).await), "the callback URL is not compared");
}

#[tokio::test]
async fn a_partner_asks_for_a_ping() {
    let service = Service::start().await;
    let shop = service.shop_at("Shop", 0, Some(REGISTERED)).await;
    let (silent, alice) = (service.shop("Silent", 0).await, service.person("alice", &["user"]).await);
    let ping = |shop| send(service.request_by(shop, Method::POST, "/partner/callbacks/test/"));
    let sent = ping(&shop).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let location = sent.headers["location"].to_str().unwrap().strip_prefix("/api/v1").unwrap();
    let shown = get(&service, &shop, location).await.json();
    assert_eq!((&shown["type"], &shown["status"]), (&json!("ping"), &json!("pending")));
    get(&service, &silent, location).await.is(404, "callback_not_found");
    ping(&silent).await.is(409, "conflict");
    let path = "/partner/callbacks/test/";
    service.post(&alice, path, &json!({})).await.is(403, "forbidden");
    get(&service, &shop, path).await.is(405, "method_not_allowed");
    let waiting = service.app.callbacks.list(None, None, 10).await.unwrap().items;
    assert_eq!((waiting.len(), waiting[0].r#type.as_str(), waiting[0].partner_id), (1, "ping", shop.id));
}
