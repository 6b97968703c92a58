//! What partners change by themselves: their callback URL, their keys, their webhook secret.

use super::{float, get};
use crate::support::service::{Reply, Service, Setting, Shop, send};
use crate::support::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

const HOOK: &str = "https://shop.example/hook";

async fn patch(service: &Service, shop: &Shop, body: &Value) -> Reply {
    send(service.request_by(shop, Method::PATCH, "/partner/").json(body)).await
}

async fn post(service: &Service, shop: &Shop, path: &str) -> Reply {
    send(service.request_by(shop, Method::POST, path)).await
}

async fn delete(service: &Service, shop: &Shop, path: &str) -> Reply {
    send(service.request_by(shop, Method::DELETE, path)).await
}

/// The ids of a partner's keys, newest first.
async fn keys(service: &Service, shop: &Shop) -> Vec<String> {
    let listed = get(service, shop, "/partner/keys/").await.json();
    let ids = listed["results"].as_array().unwrap().iter().map(|key| key["key_id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_partner_reads_itself_and_changes_its_callback_url_alone() {
    let service = Service::start().await;
    let shop = service.shop("Corner shop", 0).await;
    let profile =
        |url: Value| json!({"id": shop.id, "name": "Corner shop", "callback_url": url, "is_active": true});
    assert_eq!(get(&service, &shop, "/partner/").await.json(), profile(Value::Null));
    assert_eq!(post(&service, &shop, "/partner/callbacks/test/").await.code(), "conflict");
    let changed = patch(&service, &shop, &json!({"callback_url": HOOK})).await;
    assert_eq!((changed.status.as_u16(), changed.json()), (200, profile(json!(HOOK))));
    assert_eq!(post(&service, &shop, "/partner/callbacks/test/").await.status, 202);
    assert_eq!(
        patch(&service, &shop, &json!({})).await.json(),
        profile(json!(HOOK)),
        "what is not named stays"
    );
    for (body, field) in [
        (json!({"callback_url": "ftp://shop.example/"}), "callback_url"),
        (json!({"callback_url": "https://u:p@shop.example/"}), "callback_url"),
        (json!({"callback_url": 7}), "callback_url"),
        (json!({"callback_url": ""}), "callback_url"),
        (json!({"name": "Mine"}), "name"),
        (json!({"is_active": false}), "is_active"),
    ] {
        let reply = patch(&service, &shop, &body).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), [field], "{body}");
    }
    assert_eq!(patch(&service, &shop, &json!({"callback_url": null})).await.json(), profile(Value::Null));
    let alice = service.person("alice", &["user"]).await;
    service.get(&alice, "/partner/").await.is(403, "forbidden");
    service.patch(&alice, "/partner/", &json!({"callback_url": HOOK})).await.is(403, "forbidden");
}

#[tokio::test]
async fn a_partner_changes_its_key_but_cannot_revoke_the_one_that_it_uses() {
    let service = Service::start().await;
    let (old, other) = (service.shop("Shop", 0).await, service.shop("Other", 0).await);
    let made = post(&service, &old, "/partner/keys/").await;
    assert_eq!(made.status, 201, "no body is needed: {}", made.text);
    let new = Shop { id: old.id, key: made.json()["api_key"].as_str().unwrap().to_owned() };
    let listed = keys(&service, &new).await;
    assert_eq!((listed.len(), &json!(listed[0])), (2, &made.json()["key_id"]));
    let (of_new, of_old) = (format!("/partner/keys/{}/", listed[0]), format!("/partner/keys/{}/", listed[1]));
    delete(&service, &new, &of_new).await.is(409, "conflict");
    delete(&service, &other, &of_old).await.is(404, "key_not_found");
    delete(&service, &new, &format!("/partner/keys/{}/", Uuid::now_v7())).await.is(404, "key_not_found");
    delete(&service, &new, "/partner/keys/7/").await.is(400, "malformed_id");
    assert_eq!(float(&service, &old).await, "0.00", "both are good so far");
    let revoked = delete(&service, &new, &of_old).await;
    assert_eq!((revoked.status.as_u16(), revoked.text.as_str()), (204, ""));
    assert_eq!(delete(&service, &new, &of_old).await.status, 204, "twice is fine");
    get(&service, &old, "/partner/balance/").await.is(401, "token_invalid");
    assert_eq!(float(&service, &new).await, "0.00");
    let page = get(&service, &new, "/partner/keys/?limit=1").await.json();
    let next = page["next"].as_str().unwrap().trim_start_matches("/api/v1").to_owned();
    let last = get(&service, &new, &next).await.json();
    assert!(last["results"][0]["revoked_at"].is_string() && last["next"].is_null(), "{last}");
    assert!(!page.to_string().contains("ofk_"), "a key is shown once: {page}");
    assert_eq!(keys(&service, &other).await.len(), 1);
}

#[tokio::test]
async fn a_partner_replaces_its_webhook_secret_and_both_sign_for_a_day() {
    let service = Service::start().await;
    let shop = service.shop("Shop", 0).await;
    let now = service.app.clock.now().utc();
    let rotated = post(&service, &shop, "/partner/webhook-secret/").await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    assert!(rotated.json()["webhook_secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(service.app.identity.webhook_secrets(shop.id, now).await.unwrap().len(), 2);
    let alice = service.person("alice", &["user"]).await;
    for path in ["/partner/keys/", "/partner/webhook-secret/"] {
        service.post(&alice, path, &json!({})).await.is(403, "forbidden");
    }
}

#[tokio::test]
async fn what_a_partner_changes_by_itself_is_recorded_with_its_name_and_without_the_query_of_its_url() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let shop = service.shop("Shop", 0).await;
    patch(&service, &shop, &json!({"callback_url": "https://shop.example/hook?token=1"})).await;
    let because = |path| service.request_by(&shop, Method::POST, path).json(&json!({"reason": "new till"}));
    let key = send(because("/partner/keys/")).await.json()["key_id"].as_str().unwrap().to_owned();
    delete(&service, &shop, &format!("/partner/keys/{key}/?reason=lost")).await;
    send(because("/partner/webhook-secret/")).await;
    let mut database = PgConnection::connect(&sandbox.database_url).await.unwrap();
    let rows: Vec<(String, Option<String>, Value)> =
        sqlx::query_as("select action, reason, details from audit_log where actor = $1 order by at, id")
            .bind(format!("partner:{}", shop.id))
            .fetch_all(&mut database)
            .await
            .unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.0.as_str(), row.1.as_deref().unwrap_or("none"))).collect();
    assert_eq!(
        told,
        [
            ("partner.changed", "none"),
            ("partner.key_created", "new till"),
            ("partner.key_revoked", "lost"),
            ("partner.webhook_secret_rotated", "new till"),
        ]
    );
    assert_eq!(rows[0].2, json!({"callback_url": {"from": null, "to": HOOK}}));
}
