//! Statements: every entry explains the balance after it.

use crate::support::service::{Person, Reply, Service, Shop, send};
use domain::{OfferId, TransactionId};
use reqwest::Method;
use serde_json::{Value, json};

async fn buy(service: &Service, person: &Person, offer: OfferId) -> TransactionId {
    let reply = service.post(person, "/activation/", &json!({"offer_id": offer})).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    TransactionId(reply.id("transaction_id"))
}

fn results(reply: &Reply) -> Vec<Value> {
    reply.json()["results"].as_array().unwrap().clone()
}

/// Oldest first: kind, amount, balance, transaction, reason.
fn told(entries: &[Value]) -> Vec<Value> {
    let told = |entry: &Value| {
        json!([entry["kind"], entry["amount"], entry["balance"], entry["transaction_id"], entry["reason"]])
    };
    entries.iter().rev().map(told).collect()
}

async fn sell(service: &Service, shop: &Shop, to: &Person, offer: OfferId) -> TransactionId {
    let body = json!({"user_id": to.id, "offer_id": offer, "amount": "10.00"});
    let sold = send(service.request_by(shop, Method::POST, "/partner/activate/").json(&body)).await;
    assert_eq!(sold.status, 201, "{}", sold.text);
    TransactionId(sold.id("transaction_id"))
}

#[tokio::test]
async fn a_statement_explains_every_step_to_the_balance_of_now() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    let of_alice = format!("/admin/users/{}/statement/", alice.id);
    assert_eq!(results(&service.get(&alice, "/account/statement/").await), Vec::<Value>::new());
    let adjust = async |verb: &str, amount: &str, reason: &str| {
        let path = format!("/admin/accounts/{}/{verb}/", alice.id);
        let reply = service.post(&root, &path, &json!({"amount": amount, "reason": reason})).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
    };
    let tv = service.offer("TV", 1000).await;
    adjust("credit", "50", "Paid at the desk").await;
    let (won, lost) = (buy(&service, &alice, tv).await, buy(&service, &alice, tv).await);
    service.succeed(won, &alice, tv).await;
    service.begin(lost).await;
    let resolve = json!({"outcome": "failed", "reason": "She is lying"});
    let path = format!("/admin/transactions/{lost}/resolve/");
    assert_eq!(service.post(&root, &path, &resolve).await.status, 202);
    adjust("debit", "1.50", "Paid out").await;
    service.all_listed().await;

    let (won, lost) = (won.to_string(), lost.to_string());
    let mut expected = vec![
        json!(["credit", "50.00", "50.00", null, "Paid at the desk"]),
        json!(["hold", "-10.00", "40.00", won, null]),
        json!(["hold", "-10.00", "30.00", lost, null]),
        json!(["charge", "0.00", "30.00", won, null]),
        json!(["release", "10.00", "40.00", lost, null]),
        json!(["debit", "-1.50", "38.50", null, "Paid out"]),
    ];
    let entries = results(&service.get(&alice, "/account/statement/").await);
    assert_eq!(told(&entries), expected, "what administrators wrote for each other is not hers");
    assert_eq!(entries[0]["balance"], service.balance(&alice).await);
    let members: Vec<_> = entries[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(members.join(" "), "position at kind amount balance transaction_id reason");

    expected[4][4] = json!("She is lying");
    assert_eq!(told(&results(&service.get(&root, &of_alice).await)), expected);
    assert_eq!(told(&service.walk(&root, &format!("{of_alice}?limit=1")).await), expected);

    let path = |from: &Value, to: &Value| {
        let [from, to] = [from, to].map(|at| at.as_str().unwrap_or_default().to_owned());
        format!("/account/statement/?from={from}&to={to}")
    };
    let (newest, older) = (&entries[0]["at"], &entries[3]["at"]);
    let within = results(&service.get(&alice, &path(older, newest)).await);
    assert_eq!(within, entries[1..=3], "from this time on, before that time");
    assert_eq!(results(&service.get(&alice, &path(older, &Value::Null)).await), entries[..=3]);
    assert_eq!(results(&service.get(&alice, &path(&Value::Null, older)).await), entries[4..]);
    assert_eq!(results(&service.get(&alice, &path(older, older)).await), Vec::<Value>::new());
    service.get(&alice, &path(newest, older)).await.is(400, "invalid_request");
    for wrong in ["from=yesterday", "to=7", "from=2026-11-22", "to=2026-11-22T08:30:00+01:00"] {
        let reply = service.get(&alice, &format!("/account/statement/?{wrong}")).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), [wrong.split('=').next().unwrap()], "{wrong}");
    }
}

#[tokio::test]
async fn a_partner_reads_the_statement_of_its_float_and_an_administrator_any_partners() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    let (shop, other) = (service.shop("shop", 5_000).await, service.shop("other", 5_000).await);
    let tv = service.offer("TV", 1000).await;
    let sold = sell(&service, &shop, &alice, tv).await;
    let lost = sell(&service, &shop, &alice, tv).await;
    service.succeed(sold, &alice, tv).await;
    service.fail(lost).await;
    service.all_listed().await;
    let (sold, lost) = (sold.to_string(), lost.to_string());
    let expected = [
        json!(["credit", "50.00", "50.00", null, null]),
        json!(["hold", "-10.00", "40.00", sold, null]),
        json!(["hold", "-10.00", "30.00", lost, null]),
        json!(["charge", "0.00", "30.00", sold, null]),
        json!(["release", "10.00", "40.00", lost, null]),
    ];
    let own = async |shop| results(&send(service.request_by(shop, Method::GET, "/partner/statement/")).await);
    assert_eq!(told(&own(&shop).await), expected);
    assert_eq!(told(&own(&other).await), expected[..1]);
    let by_root = service.get(&root, &format!("/admin/partners/{}/statement/", shop.id)).await;
    assert_eq!(told(&results(&by_root)), expected);
    assert_eq!(results(&service.get(&alice, "/account/statement/").await), Vec::<Value>::new());
    let unknown = send(service.request_by(&shop, Method::GET, "/partner/statement/?since=2026")).await;
    unknown.is(400, "invalid_request");
    service
        .get(&root, &format!("/admin/partners/{}/statement/", alice.id))
        .await
        .is(404, "partner_not_found");
    service.get(&root, &format!("/admin/users/{}/statement/", shop.id)).await.is(404, "user_not_found");
}
