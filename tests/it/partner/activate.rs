//! A purchase through the partners' door: who pays, who may, and what is refused first.

use super::{activate, float, get, wish, with};
use crate::support::eventually::eventually;
use crate::support::service::{Service, send};
use domain::transaction::{ActivationRequested, Command, Kind};
use domain::{Metadata, Money, OfferId, TransactionId};
use offers::app::catalogue::Change;
use offers::event_log::{AggregateCommand, Plan};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn a_partner_buys_for_anybody_on_its_own_float() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 5000).await, service.rich("alice").await);
    let tv = service.offer("TV", 1000).await;
    let reply = activate(&service, &shop, &with(&wish(&alice, tv), "nonsense", json!({"a": []}))).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let body = reply.json();
    let members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members.join(" "), "reference transaction_id status message");
    assert_eq!(
        (&body["status"], &body["message"]),
        (&json!("PENDING"), &json!("Activation request received"))
    );
    let reference = body["reference"].as_str().unwrap().strip_prefix("REF-").unwrap();
    assert!(reference.len() == 12 && reference.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
    assert_eq!(float(&service, &shop).await, "40.00");
    assert_eq!(service.balance(&alice).await, "1000.00");
    let location = reply.headers["location"].to_str().unwrap().strip_prefix("/api/v1").unwrap();
    assert_eq!(get(&service, &shop, location).await.json()["reference"], body["reference"]);
}

#[tokio::test]
async fn a_refused_purchase_gives_the_float_back() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 1000).await, service.person("alice", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let bought = activate(&service, &shop, &wish(&alice, tv)).await.id("transaction_id");
    activate(&service, &shop, &wish(&alice, tv)).await.is(400, "insufficient_balance");
    service.fail(TransactionId(bought)).await;
    assert_eq!(float(&service, &shop).await, "10.00");
}

#[tokio::test]
async fn a_user_buys_for_itself_alone_on_its_own_balance() {
    let service = Service::start().await;
    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let tv = service.offer("TV", 1000).await;
    let bought = service.post(&alice, "/partner/activate/", &wish(&alice, tv)).await;
    assert_eq!(bought.status, 201, "{}", bought.text);
    assert_eq!(service.balance(&alice).await, "990.00");
    service.post(&alice, "/partner/activate/", &wish(&bob, tv)).await.is(403, "not_authorized_for_user");
    assert_eq!(service.balance(&bob).await, "1000.00");
    let path = format!("/activation/status/{}/", bought.id("transaction_id"));
    assert_eq!(service.get(&alice, &path).await.json()["kind"], "partner");
    for path in ["/partner/balance/", "/partner/transactions/"] {
        service.get(&alice, path).await.is(403, "forbidden");
    }
}

#[tokio::test]
async fn what_a_partner_bought_is_the_users_and_the_partners_to_see() {
    let service = Service::start().await;
    let (shop, other) = (service.shop("Shop", 1000).await, service.shop("Other", 0).await);
    let (alice, bob) = (service.person("alice", &["user"]).await, service.person("bob", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let bought = activate(&service, &shop, &wish(&alice, tv)).await.id("transaction_id");
    service.succeed(TransactionId(bought), &alice, tv).await;
    let status = format!("/activation/status/{bought}/");
    let succeeded = async || service.get(&alice, &status).await.json()["status"] == "SUCCESS";
    eventually("SUCCESS", succeeded).await;
    assert_eq!(get(&service, &shop, &status).await.json()["partner_id"], json!(shop.id));
    service.get(&bob, &status).await.is(404, "transaction_not_found");
    get(&service, &other, &status).await.is(404, "transaction_not_found");
    let list = service.get(&alice, "/account/transactions/?kind=partner").await.json();
    assert_eq!(list["results"][0]["transaction_id"], json!(bought));
    let subscriptions = service.get(&alice, "/account/subscriptions/").await.json();
    assert_eq!(subscriptions["results"][0]["transaction_id"], json!(bought));
}

/// Each body is wrong in one thing less than the one before; the first wrong thing is what is told.
#[tokio::test]
async fn refusals_come_in_one_order_and_write_nothing() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 999).await, service.person("alice", &["user"]).await);
    let (tv, gone) = (service.offer("TV", 1000).await, service.offer("Gone", 1000).await);
    service.change(gone, Change { is_active: Some(false), ..Change::default() }).await;
    let head = service.resources.log.head().await.unwrap();
    let nobody = Uuid::now_v7();
    for (body, code) in [
        (json!({}), "missing_fields"),
        (json!({"user_id": nobody, "offer_id": nobody}), "missing_fields"),
        (json!({"user_id": nobody, "offer_id": nobody, "amount": null}), "missing_fields"),
        (json!({"user_id": "", "offer_id": nobody, "amount": "1"}), "missing_fields"),
        (json!({"user_id": nobody, "offer_id": nobody, "amount": "1.001"}), "invalid_request"),
        (json!({"user_id": 7, "offer_id": nobody, "amount": "1"}), "invalid_request"),
        (json!({"user_id": nobody, "offer_id": nobody, "amount": "1"}), "user_not_found"),
        (json!({"user_id": alice.id, "offer_id": nobody, "amount": "1"}), "offer_not_found"),
        (json!({"user_id": alice.id, "offer_id": gone, "amount": "1"}), "offer_not_found"),
        (json!({"user_id": alice.id, "offer_id": tv, "amount": "9.99"}), "amount_mismatch"),
        (json!({"user_id": alice.id, "offer_id": tv, "amount": "10.01"}), "amount_mismatch"),
        (json!({"user_id": alice.id, "offer_id": tv, "amount": "10"}), "insufficient_balance"),
    ] {
        let reply = activate(&service, &shop, &body).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, code), "{body}: {}", reply.text);
    }
    let nothing = activate(&service, &shop, &json!({})).await;
    assert_eq!(nothing.fields(), ["user_id", "offer_id", "amount"]);
    let foreign = json!({"user_id": nobody, "offer_id": nobody, "amount": "1"});
    service.post(&alice, "/partner/activate/", &foreign).await.is(403, "not_authorized_for_user");
    let lacking = json!({"user_id": nobody, "amount": "1"});
    service.post(&alice, "/partner/activate/", &lacking).await.is(400, "missing_fields");
    let anonymous = service.anonymous(Method::POST, "/api/v1/partner/activate/");
    send(anonymous.json(&json!({}))).await.is(401, "not_authenticated");
    assert_eq!(service.resources.log.head().await.unwrap(), head);
    assert_eq!(float(&service, &shop).await, "9.99");
}

#[tokio::test]
async fn the_amount_is_compared_with_the_price_of_this_moment() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 5000).await, service.person("alice", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let body = wish(&alice, tv);
    assert_eq!(activate(&service, &shop, &with(&body, "amount", json!(10))).await.status, 201, "a number");
    service.change(tv, Change { price: Some(Money::from_hundredths(1200)), ..Change::default() }).await;
    activate(&service, &shop, &body).await.is(400, "amount_mismatch");
    assert_eq!(activate(&service, &shop, &with(&body, "amount", "12.0")).await.status, 201);
    assert_eq!(float(&service, &shop).await, "28.00");
    let gift = service.offer("Gift", 0).await;
    let gift = json!({"user_id": alice.id, "offer_id": gift, "amount": 0});
    assert_eq!(activate(&service, &shop, &gift).await.status, 201);
}

#[tokio::test]
async fn no_two_purchases_have_the_same_reference() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 5000).await, service.person("alice", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let drawn = activate(&service, &shop, &wish(&alice, tv)).await.json()["reference"].clone();
    let request = ActivationRequested {
        kind: Kind::Partner,
        user_id: alice.id,
        account_id: shop.id.into(),
        partner_id: Some(shop.id),
        subscription_id: None,
        offer_id: OfferId(Uuid::now_v7()),
        offer_name: "TV".into(),
        duration_days: 30,
        amount: Money::from_hundredths(1000),
        partner_reference: None,
        reference: Some(drawn.as_str().unwrap().to_owned()),
    };
    let order = AggregateCommand::Transaction(TransactionId(Uuid::now_v7()), Command::Request(request));
    let twice = Plan::new().command(order);
    assert!(service.resources.log.commit(&Metadata::system("test", Uuid::now_v7()), twice).await.is_err());
    assert_eq!(float(&service, &shop).await, "40.00");
    assert_eq!(activate(&service, &shop, &wish(&alice, tv)).await.status, 201, "the log goes on");
}

#[tokio::test]
async fn only_the_key_says_who_pays() {
    let service = Service::start().await;
    let (shop, alice) = (service.shop("Shop", 5000).await, service.person("alice", &["user"]).await);
    let tv = service.offer("TV", 1000).await;
    let mut forged = wish(&alice, tv);
    forged["partner_id"] = Value::from(Uuid::now_v7().to_string());
    assert_eq!(activate(&service, &shop, &forged).await.status, 201, "nobody asks the body who it is");
    assert_eq!(float(&service, &shop).await, "40.00");
    let wrong = crate::support::service::Shop { key: shop.key.replace("ofk_", "ofx_"), ..shop };
    activate(&service, &wrong, &wish(&alice, tv)).await.is(401, "token_invalid");
}
