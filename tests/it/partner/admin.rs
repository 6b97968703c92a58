//! Partners, their keys and their secrets, as an administrator keeps them.

use super::{activate, float, get, wish};
use crate::support::eventually::eventually;
use crate::support::service::{Person, Service, Setting, Shop, send};
use crate::support::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

async fn make(service: &Service, root: &Person, body: Value) -> Value {
    let reply = service.post(root, "/admin/partners/", &body).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.json()
}

fn text(body: &Value, member: &str) -> String {
    body[member].as_str().unwrap_or_else(|| panic!("no {member}: {body}")).to_owned()
}

fn shop(made: &Value) -> Shop {
    Shop { id: text(made, "id").parse().unwrap(), key: text(made, "api_key") }
}

async fn delete(service: &Service, root: &Person, path: &str) -> crate::support::service::Reply {
    send(service.request(root, Method::DELETE, path)).await
}

#[tokio::test]
async fn a_new_partner_can_call_at_once_and_reads_back() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    let body =
        json!({"name": "Corner shop", "callback_url": "https://shop.example/hook", "reason": "contract 7"});
    let made = make(&service, &root, body).await;
    let members: Vec<_> = made.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members.join(" "), "id name callback_url api_key webhook_secret");
    assert!(text(&made, "webhook_secret").starts_with("whsec_"));
    let shop = shop(&made);
    assert_eq!(float(&service, &shop).await, "0.00");
    let account = service.get(&root, &format!("/admin/accounts/{}/", shop.id)).await.json();
    assert_eq!((&account["kind"], &account["balance"]), (&json!("partner"), &json!("0.00")));
    let credit = json!({"amount": "10", "reason": "Prepaid"});
    let path = format!("/admin/accounts/{}/credit/", shop.id);
    assert_eq!(service.post(&root, &path, &credit).await.status, 201);
    let tv = service.offer("TV", 1000).await;
    assert_eq!(activate(&service, &shop, &wish(&alice, tv)).await.status, 201);
    let listed = service.get(&root, "/admin/partners/").await.json()["results"][0].clone();
    assert_eq!(listed, service.get(&root, &format!("/admin/partners/{}/", shop.id)).await.json());
    assert_eq!(
        (&listed["name"], &listed["callback_url"], &listed["is_active"]),
        (&json!("Corner shop"), &json!("https://shop.example/hook"), &json!(true))
    );
    assert!(!listed.to_string().contains(&shop.key));
}

#[tokio::test]
async fn a_partner_changes_and_is_switched_off_with_all_its_keys() {
    let service = Service::start().await;
    let root = service.admin().await;
    let made = make(&service, &root, json!({"name": "Shop"})).await;
    assert_eq!(made["callback_url"], Value::Null);
    let (shop, path) = (shop(&made), format!("/admin/partners/{}/", text(&made, "id")));
    let change = json!({"name": "Shop 2", "callback_url": "http://shop.example:8080/h"});
    let changed = service.patch(&root, &path, &change).await.json();
    assert_eq!((&changed["name"], &changed["callback_url"]), (&change["name"], &change["callback_url"]));
    let renamed = service.patch(&root, &path, &json!({"name": "Shop 3"})).await.json();
    assert_eq!(renamed["callback_url"], change["callback_url"], "what is not named stays");
    let cleared = service.patch(&root, &path, &json!({"callback_url": null})).await.json();
    assert_eq!(cleared["callback_url"], Value::Null);
    assert_eq!(service.patch(&root, &path, &json!({"is_active": false})).await.json()["is_active"], false);
    get(&service, &shop, "/partner/balance/").await.is(401, "token_invalid");
    service.patch(&root, &path, &json!({"is_active": true})).await;
    assert_eq!(float(&service, &shop).await, "0.00");
}

#[tokio::test]
async fn unsound_partners_and_unknown_members_are_refused() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    for (body, fields) in [
        (json!({}), vec!["name"]),
        (json!({"name": ""}), vec!["name"]),
        (json!({"name": "x".repeat(151)}), vec!["name"]),
        (json!({"name": "a\u{0}"}), vec!["name"]),
        (json!({"name": "Shop", "callback_url": "ftp://shop.example/"}), vec!["callback_url"]),
        (json!({"name": "Shop", "callback_url": "https://u:p@shop.example/"}), vec!["callback_url"]),
        (json!({"name": "Shop", "callback_url": 7}), vec!["callback_url"]),
        (json!({"name": "Shop", "is_active": true}), vec!["is_active"]),
        (json!({"name": "Shop", "id": Uuid::now_v7()}), vec!["id"]),
    ] {
        let reply = service.post(&root, "/admin/partners/", &body).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), fields, "{body}");
    }
    assert_eq!(service.walk(&root, "/admin/partners/").await.len(), 0);
    let partner = make(&service, &root, json!({"name": "Shop"})).await;
    let path = format!("/admin/partners/{}/", text(&partner, "id"));
    for body in [json!({"name": null}), json!({"is_active": "yes"}), json!({"api_key": "x"})] {
        service.patch(&root, &path, &body).await.is(400, "invalid_request");
    }
    service.post(&root, &format!("{path}keys/"), &json!({"api_key": "x"})).await.is(400, "invalid_request");
    let nobody = format!("/admin/partners/{}/", Uuid::now_v7());
    service.patch(&root, &nobody, &json!({"name": "x"})).await.is(404, "partner_not_found");
    service.get(&root, &format!("{nobody}keys/")).await.is(404, "partner_not_found");
    service.post(&root, &format!("{nobody}keys/"), &json!({})).await.is(404, "partner_not_found");
    service.post(&root, &format!("{nobody}webhook-secret/"), &json!({})).await.is(404, "partner_not_found");
    service.get(&root, "/admin/partners/7/").await.is(400, "malformed_id");
    for path in [path.as_str(), "/admin/partners/"] {
        service.get(&alice, path).await.is(403, "forbidden");
        get(&service, &shop(&partner), path).await.is(403, "forbidden");
    }
}

#[tokio::test]
async fn keys_are_added_listed_and_taken_back() {
    let service = Service::start().await;
    let root = service.admin().await;
    let first = shop(&make(&service, &root, json!({"name": "Shop"})).await);
    let keys = format!("/admin/partners/{}/keys/", first.id);
    let made = send(service.request(&root, Method::POST, &keys)).await;
    assert_eq!(made.status, 201, "no body is needed: {}", made.text);
    let made = made.json();
    assert_eq!(made.as_object().unwrap().len(), 2, "{made}");
    let second = Shop { id: first.id, key: text(&made, "api_key") };
    for live in [&first, &second] {
        assert_eq!(float(&service, live).await, "0.00");
    }
    let listed = service.walk(&root, &format!("{keys}?limit=1")).await;
    assert_eq!(listed.len(), 2);
    assert_eq!((&listed[0]["key_id"], &listed[0]["revoked_at"]), (&made["key_id"], &Value::Null));
    assert!(listed.iter().all(|key| key.get("api_key").is_none() && key["created_at"].is_string()));
    let path = format!("{keys}{}/", text(&made, "key_id"));
    let revoked = delete(&service, &root, &format!("{path}?reason=lost")).await;
    assert_eq!((revoked.status.as_u16(), revoked.text.as_str()), (204, ""));
    get(&service, &second, "/partner/balance/").await.is(401, "token_invalid");
    assert_eq!(float(&service, &first).await, "0.00");
    assert_eq!(delete(&service, &root, &path).await.status, 204, "twice is fine");
    assert!(service.walk(&root, &keys).await[0]["revoked_at"].is_string());
    delete(&service, &root, &format!("{keys}{}/", Uuid::now_v7())).await.is(404, "key_not_found");
    delete(&service, &root, &format!("{keys}7/")).await.is(400, "malformed_id");
    let other = make(&service, &root, json!({"name": "Other"})).await;
    let foreign = format!("/admin/partners/{}/keys/{}/", text(&other, "id"), text(&made, "key_id"));
    delete(&service, &root, &foreign).await.is(404, "key_not_found");
}

#[tokio::test]
async fn a_revoked_key_is_refused_on_another_instance_too() {
    let sandbox = Stack::get().await.sandbox().await;
    let here = Service::start_in(&sandbox, Setting::default()).await;
    let there = Service::start_in(&sandbox, Setting { projects: false, ..Setting::default() }).await;
    let root = here.admin().await;
    let shop = shop(&make(&here, &root, json!({"name": "Shop"})).await);
    for _ in 0..3 {
        assert_eq!(float(&there, &shop).await, "0.00"); // by now its key is in the other's memory
    }
    let keys = format!("/admin/partners/{}/keys/", shop.id);
    let key = text(&here.get(&root, &keys).await.json()["results"][0], "key_id");
    assert_eq!(delete(&here, &root, &format!("{keys}{key}/")).await.status, 204);
    get(&here, &shop, "/partner/balance/").await.is(401, "token_invalid");
    eventually("the other instance knows that the key is revoked", async || {
        get(&there, &shop, "/partner/balance/").await.status == 401
    })
    .await;
}

#[tokio::test]
async fn a_new_webhook_secret_signs_beside_the_old_one() {
    let service = Service::start().await;
    let root = service.admin().await;
    let made = make(&service, &root, json!({"name": "Shop"})).await;
    let shop = shop(&made);
    let path = format!("/admin/partners/{}/webhook-secret/", shop.id);
    let rotated = send(service.request(&root, Method::POST, &path)).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    let (old, new) = (text(&made, "webhook_secret"), text(&rotated.json(), "webhook_secret"));
    assert!(new.starts_with("whsec_") && new != old);
    let now = service.app.clock.now().utc();
    assert_eq!(service.app.identity.webhook_secrets(shop.id, now).await.unwrap().len(), 2);
}

#[tokio::test]
async fn every_change_names_who_and_why() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let root = service.admin().await;
    let made = make(&service, &root, json!({"name": "Shop", "reason": "contract 7"})).await;
    let path = format!("/admin/partners/{}/", text(&made, "id"));
    service.patch(&root, &path, &json!({"name": "Shop 2", "reason": "renamed"})).await;
    let key = service.post(&root, &format!("{path}keys/"), &json!({"reason": "second till"})).await;
    let key = format!("{path}keys/{}/", text(&key.json(), "key_id"));
    delete(&service, &root, &format!("{key}?reason=stolen%20till")).await;
    service.post(&root, &format!("{path}webhook-secret/"), &json!({"reason": "yearly"})).await;
    let mut database = PgConnection::connect(&sandbox.database_url).await.unwrap();
    let rows: Vec<(String, String, Option<String>)> =
        sqlx::query_as("select actor, action, reason from audit_log where subject = $1 order by at, id")
            .bind(format!("partner:{}", text(&made, "id")))
            .fetch_all(&mut database)
            .await
            .unwrap();
    let actor = format!("user:{}", root.id);
    assert!(rows.iter().all(|row| row.0 == actor), "{rows:?}");
    let told: Vec<_> = rows.iter().map(|row| (row.1.as_str(), row.2.as_deref().unwrap_or("none"))).collect();
    assert_eq!(
        told,
        [
            ("partner.created", "contract 7"),
            ("partner.changed", "renamed"),
            ("partner.key_created", "second till"),
            ("partner.key_revoked", "stolen till"),
            ("partner.webhook_secret_rotated", "yearly"),
        ]
    );
    let head = service.resources.log.head().await.unwrap();
    let opened = service.resources.log.event_at(head).await.unwrap().unwrap();
    let metadata: Value = serde_json::from_str(&opened.metadata).unwrap();
    assert_eq!((&opened.event_type[..], &metadata["reason"]), ("Opened", &json!("contract 7")));
    assert_eq!(metadata["actor"], json!(actor));
}
