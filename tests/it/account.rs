//! What a user sees of the own account.

use crate::support::service::{Person, Reply, Service};
use domain::transaction::{ActivationRequested, Command, Kind};
use domain::{AccountId, Money, OfferId, PartnerId, TransactionId};
use offers::event_log::{AggregateCommand, Plan};
use serde_json::{Value, json};
use uuid::Uuid;

async fn buy(service: &Service, person: &Person, offer: OfferId) -> TransactionId {
    let reply = service.post(person, "/activation/", &json!({"offer_id": offer})).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    TransactionId(reply.id("transaction_id"))
}

fn results(reply: &Reply) -> Vec<Value> {
    reply.json()["results"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_balance_shows_a_debit_as_soon_as_it_was_answered() {
    let service = Service::start().await;
    let nobody = service.person("nobody", &["user"]).await;
    let balance = service.get(&nobody, "/account/balance/").await.json();
    assert_eq!(balance, json!({"balance": "0.00", "currency": "EUR", "updated_at": null}));
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1999).await;
    buy(&service, &alice, tv).await;
    let balance = service.get(&alice, "/account/balance/").await.json();
    assert_eq!((&balance["balance"], &balance["currency"]), (&json!("980.01"), &json!("EUR")));
    assert!(balance["updated_at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_success_is_a_subscription_in_the_overview_and_the_list() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1999).await;
    let bought = buy(&service, &alice, tv).await;
    service.succeed(bought, &alice, tv).await;
    let path = format!("/account/transactions/{bought}/");
    assert_eq!(service.get(&alice, &path).await.json()["status"], "SUCCESS");
    let list = results(&service.get(&alice, "/account/subscriptions/?is_active=true").await);
    assert_eq!(list.len(), 1, "whoever sees SUCCESS finds the subscription");
    let members: Vec<_> = list[0].as_object().unwrap().keys().cloned().collect();
    let expected = "id offer_id offer activation_date expiration_date is_active transaction_id";
    assert_eq!(members.join(" "), expected);
    assert_eq!(list[0]["offer"], json!({"id": tv, "name": "TV"}));
    assert_eq!(list[0]["transaction_id"], bought.to_string());
    assert_eq!(list[0]["is_active"], true);
    let overview = service.get(&alice, "/account/").await.json();
    assert_eq!(overview["subscriptions"], json!(list));
    assert_eq!((&overview["balance"], &overview["currency"]), (&json!("980.01"), &json!("EUR")));
    assert_eq!(results(&service.get(&alice, "/account/subscriptions/?is_active=false").await).len(), 0);
    service.get(&alice, "/account/subscriptions/?is_active=maybe").await.is(400, "invalid_request");
}

#[tokio::test]
async fn transactions_are_listed_newest_first_and_narrowed() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let (first, second, third) =
        (buy(&service, &alice, tv).await, buy(&service, &alice, tv).await, buy(&service, &alice, tv).await);
    service.succeed(first, &alice, tv).await;
    service.fail(second).await;
    service.all_listed().await;
    let ids = |list: Vec<Value>| list.iter().map(|row| row["transaction_id"].clone()).collect::<Vec<_>>();
    let all = results(&service.get(&alice, "/account/transactions/").await);
    assert_eq!(ids(all.clone()), [json!(third), json!(second), json!(first)]);
    let members: Vec<_> = all[0].as_object().unwrap().keys().cloned().collect();
    let expected = "transaction_id kind user_id offer_id offer amount status reference error_message \
                    created_at updated_at completed_at refunded_at";
    assert_eq!(members.join(" "), expected);
    assert_eq!((&all[0]["completed_at"], &all[0]["error_message"]), (&Value::Null, &Value::Null));
    assert_eq!((&all[1]["status"], &all[1]["error_message"]), (&json!("FAILED"), &json!("No")));
    assert!(all[1]["refunded_at"].is_string() && all[1]["completed_at"].is_string());
    assert_eq!((&all[2]["status"], &all[2]["reference"]), (&json!("SUCCESS"), &json!("EXT-1")));
    for (query, expected) in [
        ("status=PENDING", vec![third]),
        ("status=FAILED", vec![second]),
        ("status=SUCCESS&kind=activation", vec![first]),
    ] {
        let list = results(&service.get(&alice, &format!("/account/transactions/?{query}")).await);
        assert_eq!(ids(list), expected.iter().map(|id| json!(id)).collect::<Vec<_>>(), "{query}");
    }
    assert_eq!(results(&service.get(&alice, "/account/transactions/?kind=renewal").await).len(), 0);
}

#[tokio::test]
async fn a_walk_while_one_buys_shows_what_was_there_once_each() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 100).await;
    let mut bought = Vec::new();
    for _ in 0..5 {
        bought.push(buy(&service, &alice, tv).await);
    }
    service.all_listed().await;
    let first = service.get(&alice, "/account/transactions/?limit=2").await.json();
    buy(&service, &alice, tv).await;
    service.all_listed().await;
    let rest = first["next"].as_str().unwrap().strip_prefix("/api/v1").unwrap();
    let rest = service.walk(&alice, rest).await;
    let walked: Vec<_> = first["results"].as_array().unwrap().iter().chain(&rest).collect();
    let ids: Vec<_> = walked.iter().map(|row| row["transaction_id"].clone()).collect();
    assert_eq!(ids, bought.iter().rev().map(|id| json!(id)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_transaction_tells_its_history() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    let path = format!("/account/transactions/{id}/");
    let new = service.get(&alice, &path).await.json();
    assert_eq!(new["status"], "PENDING", "it is there as soon as the 202 is");
    assert_eq!(new["history"][0]["event"], "ActivationRequested");
    service.fail(id).await;
    let failed = service.get(&alice, &path).await.json();
    let history = failed["history"].as_array().unwrap();
    let events: Vec<_> = history.iter().map(|step| step["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["ActivationRequested", "Processing", "Failed", "Refunded"]);
    let positions: Vec<_> = history.iter().map(|step| step["position"].as_i64().unwrap()).collect();
    assert!(positions.is_sorted());
    assert_eq!(history[2]["at"], failed["completed_at"]);
    assert_eq!(service.balance(&alice).await, "1000.00");
}

#[tokio::test]
async fn anothers_transaction_looks_like_none() {
    let service = Service::start().await;
    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    let foreign = service.get(&bob, &format!("/account/transactions/{id}/")).await;
    let unknown = service.get(&bob, &format!("/account/transactions/{}/", Uuid::now_v7())).await;
    foreign.is(404, "transaction_not_found");
    unknown.is(404, "transaction_not_found");
    assert_eq!(foreign.json()["detail"], unknown.json()["detail"]);
    service.all_listed().await;
    assert_eq!(results(&service.get(&bob, "/account/transactions/").await).len(), 0);
}

#[tokio::test]
async fn a_user_sees_what_a_partner_bought_for_it() {
    let service = Service::start().await;
    let alice = service.person("alice", &["user"]).await;
    let tv = service.offer("TV", 1000).await;
    let (id, partner) = (TransactionId(Uuid::now_v7()), PartnerId(Uuid::now_v7()));
    service.pay_in(AccountId(partner.0), 5000).await;
    let request = ActivationRequested {
        kind: Kind::Partner,
        user_id: alice.id,
        account_id: partner.into(),
        partner_id: Some(partner),
        subscription_id: None,
        offer_id: tv,
        offer_name: "TV".into(),
        duration_days: 30,
        amount: Money::from_hundredths(1000),
        partner_reference: Some("order-1".into()),
        reference: Some("REF-ABCDEFGHIJKL".into()),
    };
    let position = service
        .execute(Plan::new().command(AggregateCommand::Transaction(id, Command::Request(request))))
        .await;
    service.listed(position).await;
    let list = results(&service.get(&alice, "/account/transactions/?kind=partner").await);
    assert_eq!(list[0]["transaction_id"], id.to_string());
    assert_eq!(service.get(&alice, &format!("/activation/status/{id}/")).await.json()["kind"], "partner");
}
