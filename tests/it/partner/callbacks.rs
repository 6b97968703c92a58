//! What a partner sees of its callbacks, and how it has them sent again.

use super::get;
use crate::callbacks::receiver::{Receiver, Reply as Answer};
use crate::support::service::{Service, Setting, Shop, send};
use crate::support::stack::Stack;
use offers::processors::callbacks::Settings;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

async fn listed(service: &Service, shop: &Shop, query: &str) -> Vec<Value> {
    let page = get(service, shop, &format!("/partner/callbacks/{query}")).await.json();
    page["results"].as_array().unwrap_or_else(|| panic!("{page}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_sees_each_attempt_and_what_its_receiver_answered_and_sends_a_callback_again() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let broken = Arc::new(AtomicBool::new(true));
    let receiver = Receiver::new({
        let broken = broken.clone();
        move |_| match broken.load(Ordering::SeqCst) {
            true => Answer::Status(500, "no\0t now"),
            false => Answer::Status(200, "ok"),
        }
    })
    .await;
    let url = format!("{}?token=1", receiver.url);
    let shop = service.shop_at("Shop", 0, Some(&url)).await;
    send(service.request_by(&shop, Method::POST, "/partner/callbacks/test/")).await;
    let mut sender =
        service.app.callbacks.sender(&Settings { allow_private: true, ..Settings::default() }).unwrap();
    sender.step().await.unwrap();
    let callback = listed(&service, &shop, "?status=pending").await.remove(0);
    let failed = callback["attempts"][0].clone();
    assert_eq!((&failed["status"], &failed["error"]), (&json!(500), &json!("answered 500")));
    assert_eq!(failed["response"], "no\u{fffd}t now");
    assert!(failed["duration_ms"].is_u64() && failed["at"].is_string() && callback["resent_at"].is_null());
    assert!(!failed.to_string().contains("token"), "{failed}");

    broken.store(false, Ordering::SeqCst);
    let path = format!("/partner/callbacks/{}/", callback["id"].as_str().unwrap());
    let resend = service.request_by(&shop, Method::POST, &format!("{path}resend/"));
    let resent = send(resend.json(&json!({"reason": "repaired"}))).await;
    assert_eq!(resent.status, 202, "{}", resent.text);
    assert_eq!(resent.headers["location"].to_str().unwrap(), format!("/api/v1{path}"));
    sender.step().await.unwrap();
    let callback = get(&service, &shop, &path).await.json();
    assert_eq!(callback["status"], "delivered");
    let attempts = callback["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]), (2, &failed), "a 2xx has an attempt too");
    assert_eq!(attempts[1]["status"], 200);
    assert_eq!((&attempts[1]["error"], &attempts[1]["response"]), (&Value::Null, &json!("ok")));
    assert!(callback["resent_at"].is_string());
    assert_eq!(callback["body"], json!(receiver.requests()[1].body), "it shows the bytes that are sent");

    let root = service.admin().await;
    let admins = service.get(&root, &format!("/admin{}", path.trim_start_matches("/partner"))).await.json();
    assert_eq!(admins["attempts"], callback["attempts"], "an administrator sees the same");
    let mut database = PgConnection::connect(&sandbox.database_url).await.unwrap();
    let acts: Vec<(String, Option<String>)> =
        sqlx::query_as("select actor, reason from audit_log where action = 'callback.resent'")
            .fetch_all(&mut database)
            .await
            .unwrap();
    assert_eq!(acts, [(format!("partner:{}", shop.id), Some("repaired".to_owned()))]);
}

#[tokio::test]
async fn a_partner_finds_its_own_callbacks_by_status_and_transaction_and_no_others() {
    let service = Service::start().await;
    let hook = Some("https://shop.example/hook");
    let (shop, other) = (service.shop_at("Shop", 0, hook).await, service.shop_at("Other", 0, hook).await);
    for of in [&shop, &other] {
        send(service.request_by(of, Method::POST, "/partner/callbacks/test/")).await;
    }
    let mine = listed(&service, &shop, "").await;
    assert_eq!(mine.len(), 1);
    assert_eq!(listed(&service, &shop, "?status=pending").await, mine);
    assert_eq!(mine[0]["attempts"], json!([]));
    for none in ["?status=parked".to_owned(), format!("?transaction_id={}", Uuid::now_v7())] {
        assert_eq!(listed(&service, &shop, &none).await, [] as [Value; 0], "{none}");
    }
    for wrong in ["?status=gone", "?transaction_id=7", "?partner_id=x"] {
        get(&service, &shop, &format!("/partner/callbacks/{wrong}")).await.is(400, "invalid_request");
    }
    let path = format!("/partner/callbacks/{}/", mine[0]["id"].as_str().unwrap());
    get(&service, &other, &path).await.is(404, "callback_not_found");
    let foreign = service.request_by(&other, Method::POST, &format!("{path}resend/"));
    send(foreign).await.is(404, "callback_not_found");
    assert_eq!(listed(&service, &shop, "").await, mine, "nothing was sent again");
    let alice = service.person("alice", &["user"]).await;
    service.get(&alice, "/partner/callbacks/").await.is(403, "forbidden");
}
