//! More of what one has: what ends soon, and renewals.

use crate::support::eventually::eventually;
use crate::support::service::{Person, Reply, Service, Setting, send};
use crate::support::stack::Stack;
use domain::user_offer::{self, UserOffer};
use domain::{Money, OfferId, SubscriptionId, Timestamp, TransactionId, transaction};
use futures::future::join_all;
use offers::app::catalogue::Change;
use offers::event_log::{AggregateCommand, Plan};
use offers::external::{ActivationSystem, Settings};
use offers::processors::{ActivationLimits, ActivationProcessor, Outcome};
use offers::simulator::{self, Behaviour, Running};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::HashSet;
use uuid::Uuid;

/// A subscription of 30 days that began `days` ago (and an hour more, so that it ends an hour earlier),
/// in the lists.
async fn begun(service: &Service, person: &Person, offer: OfferId, days: i64) -> SubscriptionId {
    let at = service.app.clock.now().utc() - chrono::Duration::days(days) - chrono::Duration::hours(1);
    let (id, position) = begun_at(service, person, offer, at.into()).await;
    service.listed(position).await;
    id
}

/// The same, maybe not in the lists yet.
async fn begun_at(
    service: &Service,
    person: &Person,
    offer_id: OfferId,
    at: Timestamp,
) -> (SubscriptionId, i64) {
    let reply = service.post(person, "/activation/", &json!({"offer_id": offer_id})).await;
    let transaction_id = TransactionId(reply.id("transaction_id"));
    service.begin(transaction_id).await;
    let succeed = transaction::Command::Succeed { reference: "EXT-1".to_owned() };
    let activate =
        user_offer::Command::Activate { user_id: person.id, offer_id, transaction_id, duration_days: 30, at };
    let id = SubscriptionId::started_by(transaction_id);
    let plan = Plan::new()
        .command(AggregateCommand::Transaction(transaction_id, succeed))
        .command(AggregateCommand::UserOffer(id, activate));
    (id, service.execute(plan).await)
}

async fn renew(service: &Service, person: &Person, body: &Value) -> Reply {
    service.post(person, "/offers/renew/", body).await
}

async fn end(service: &Service, id: SubscriptionId) -> Timestamp {
    match service.resources.log.reload::<UserOffer>(id.0).await.unwrap().state {
        UserOffer::Subscribed(now) => now.expires_at,
        UserOffer::None => panic!("no subscription"),
    }
}

/// A processor of `service` that asks `simulator`.
fn processor(service: &Service, simulator: &Running) -> ActivationProcessor {
    let system = ActivationSystem::new(&Settings::new(simulator.url())).unwrap();
    ActivationProcessor::new(
        service.resources.log.clone(),
        system,
        service.app.clock.clone(),
        ActivationLimits::default(),
    )
}

async fn simulator(behaviour: Behaviour) -> Running {
    simulator::start(simulator::Settings { behaviour, ..simulator::Settings::default() }).await.unwrap()
}

async fn that_rejects(offer: OfferId) -> Running {
    simulator(Behaviour { reject_offers: HashSet::from([offer.0]), ..Behaviour::default() }).await
}

async fn drive(processor: &ActivationProcessor, reply: &Reply) {
    let id = TransactionId(reply.id("transaction_id"));
    eventually("the renewal is final", async || processor.drive(id, None).await == Outcome::Done).await;
}

#[tokio::test]
async fn what_ends_within_the_days_is_listed_soonest_first() {
    let service = Service::start().await;
    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let tv = service.offer("TV", 100).await;
    let mut ids = Vec::new();
    for ends_in in [25, 3, 2, 4, 0, 1] {
        ids.push(begun(&service, &alice, tv, 30 - ends_in).await);
    }
    begun(&service, &bob, tv, 29).await;
    let [in_25, in_3, in_2, in_4, _ended, in_1] = ids[..] else { panic!() };
    let list = async |query: &str| {
        let rows = service.walk(&alice, &format!("/offers/expiring/{query}")).await;
        rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(list("").await, [json!(in_1), json!(in_2), json!(in_3)], "three days when nothing is said");
    assert_eq!(list("?days=1").await, [json!(in_1)]);
    assert_eq!(list("?days=90&limit=2").await, [in_1, in_2, in_3, in_4, in_25].map(|id| json!(id)));
    let first = &service.get(&alice, "/offers/expiring/").await.json()["results"][0];
    let members: Vec<_> = first.as_object().unwrap().keys().cloned().collect();
    let expected = "id offer_id offer activation_date expiration_date is_active transaction_id";
    assert_eq!((members.join(" "), &first["is_active"]), (expected.to_owned(), &json!(true)));
    for days in ["0", "91", "-1", "3.5", "x"] {
        let reply = service.get(&alice, &format!("/offers/expiring/?days={days}")).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), ["days"]);
    }
}

#[tokio::test]
async fn a_walk_while_one_buys_shows_what_was_there_once_each() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 100).await;
    let mut ids = Vec::new();
    for ends_in in [1, 2, 3, 4, 5, 6] {
        ids.push(begun(&service, &alice, tv, 30 - ends_in).await);
    }
    for path in ["/offers/expiring/?days=20&limit=2", "/account/subscriptions/?is_active=true&limit=2"] {
        let first = service.get(&alice, path).await.json();
        for ends_in in [1, 10] {
            begun(&service, &alice, tv, 30 - ends_in).await;
        }
        let rest = first["next"].as_str().unwrap().strip_prefix("/api/v1").unwrap();
        let rest = service.walk(&alice, rest).await;
        let walked = first["results"].as_array().unwrap().iter().chain(&rest);
        let walked: Vec<_> = walked.map(|row| row["id"].clone()).collect();
        for id in &ids {
            assert_eq!(walked.iter().filter(|seen| **seen == json!(id)).count(), 1, "{path}: {walked:?}");
        }
    }
}

#[tokio::test]
async fn a_renewal_is_accepted_like_an_activation() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1999).await;
    let subscription = begun(&service, &alice, tv, 0).await;
    service.change(tv, Change { price: Some(Money::from_hundredths(2500)), ..Change::default() }).await;
    let accepted = renew(&service, &alice, &json!({"subscription_id": subscription})).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let id = accepted.id("transaction_id");
    let location = format!("/api/v1/activation/status/{id}/");
    assert_eq!(accepted.headers["location"], location.as_str());
    assert_eq!(accepted.json()["status"], "PENDING");
    assert_eq!(service.balance(&alice).await, "955.01", "at today's price");
    let shown = send(service.anonymous(Method::GET, &location).bearer_auth(&alice.token)).await.json();
    assert_eq!((&shown["kind"], &shown["amount"]), (&json!("renewal"), &json!("25.00")));
    let event = service.first_event(id).await;
    let event: Value = serde_json::from_str(&event.payload).unwrap();
    assert_eq!(event["subscription_id"], subscription.to_string());
    service.all_listed().await;
    let list = service.get(&alice, "/account/transactions/?kind=renewal").await.json();
    assert_eq!(list["results"][0]["transaction_id"], id.to_string());
}

#[tokio::test]
async fn what_cannot_be_renewed_is_refused_and_writes_nothing() {
    let service = Service::start().await;
    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let tv = service.offer("TV", 1000).await;
    let subscription = begun(&service, &alice, tv, 0).await;
    let head = service.resources.log.head().await.unwrap();
    for body in [json!({"offer_id": tv}), json!({"subscription_id": subscription})] {
        renew(&service, &bob, &body).await.is(404, "subscription_not_found");
    }
    for body in [json!({"offer_id": Uuid::now_v7()}), json!({"subscription_id": Uuid::now_v7()})] {
        renew(&service, &alice, &body).await.is(404, "subscription_not_found");
    }
    for (body, fields) in [
        (json!({}), vec!["offer_id"]),
        (json!({"offer_id": null}), vec!["offer_id"]),
        (json!({"offer_id": 7}), vec!["offer_id"]),
        (json!({"subscription_id": "7"}), vec!["subscription_id"]),
        (json!({"offer_id": tv, "subscription_id": subscription}), vec!["subscription_id"]),
    ] {
        let reply = renew(&service, &alice, &body).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), fields, "{body}");
    }
    let too_much = Change { price: Some(Money::from_hundredths(99_001)), ..Change::default() };
    assert_eq!(service.resources.log.head().await.unwrap(), head);
    service.change(tv, too_much).await;
    renew(&service, &alice, &json!({"offer_id": tv})).await.is(400, "insufficient_balance");
    service.change(tv, Change { is_active: Some(false), ..Change::default() }).await;
    for body in [json!({"offer_id": tv}), json!({"subscription_id": subscription})] {
        renew(&service, &alice, &body).await.is(404, "offer_not_found");
    }
    assert_eq!(service.balance(&alice).await, "990.00");
}

#[tokio::test]
async fn a_repeated_renewal_is_answered_before_anything_is_looked_up() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let subscription = begun(&service, &alice, tv, 0).await;
    let by_offer = json!({"offer_id": tv});
    let ask = || service.post_once(&alice, "/offers/renew/", &by_offer, "k");
    let twins = join_all((0..10).map(|_| ask())).await;
    assert!(twins.iter().all(|twin| twin.status == 202 && twin.json() == twins[0].json()), "{twins:?}");
    let replayed = twins.iter().filter(|twin| twin.headers.contains_key("idempotent-replayed")).count();
    assert_eq!(replayed, 9);
    assert_eq!(service.balance(&alice).await, "980.00");
    service.change(tv, Change { is_active: Some(false), ..Change::default() }).await;
    let late = ask().await;
    assert_eq!((late.status.as_u16(), late.json()), (202, twins[0].json()));
    assert_eq!(late.headers["idempotent-replayed"], "true");
    for (path, body) in [
        ("/offers/renew/", json!({"subscription_id": subscription})),
        ("/offers/renew/", json!({"offer_id": Uuid::now_v7()})),
        ("/activation/", by_offer.clone()),
    ] {
        service.post_once(&alice, path, &body, "k").await.is(422, "idempotency_key_reused");
    }
}

#[tokio::test]
async fn with_an_offer_the_subscription_that_ends_last_is_meant() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    begun(&service, &alice, tv, 20).await;
    let last = begun(&service, &alice, tv, 1).await;
    begun(&service, &alice, tv, 10).await;
    let accepted = renew(&service, &alice, &json!({"offer_id": tv})).await;
    let event = service.first_event(accepted.id("transaction_id")).await;
    let event: Value = serde_json::from_str(&event.payload).unwrap();
    assert_eq!(event["subscription_id"], last.to_string());
}

#[tokio::test]
async fn what_has_just_begun_can_be_renewed_although_the_lists_lag() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    for _ in 0..5 {
        let tv = service.offer("TV", 1000).await;
        let (_, _) = begun_at(&service, &alice, tv, service.app.clock.now()).await;
        assert_eq!(renew(&service, &alice, &json!({"offer_id": tv})).await.status, 202);
    }
    let behind = Service::start_with(Setting { projects: false, ..Setting::default() }).await;
    let bob = behind.rich("bob").await;
    let (tv, _) = behind.create_offer("TV", 1000).await;
    let (id, _) = begun_at(&behind, &bob, tv, behind.app.clock.now()).await;
    assert_eq!(renew(&behind, &bob, &json!({"subscription_id": id})).await.status, 202);
    renew(&behind, &bob, &json!({"offer_id": tv})).await.is(503, "unavailable");
}

#[tokio::test]
async fn a_running_subscription_is_extended_from_its_end_and_an_ended_one_from_now() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let outside = simulator(Behaviour::default()).await;
    let processor = processor(&service, &outside);
    let (running, ended) = (begun(&service, &alice, tv, 10).await, begun(&service, &alice, tv, 50).await);
    let before = end(&service, running).await;
    drive(&processor, &renew(&service, &alice, &json!({"subscription_id": running})).await).await;
    assert_eq!(end(&service, running).await, before.plus_days(30));
    let earliest = service.app.clock.now().plus_days(30);
    drive(&processor, &renew(&service, &alice, &json!({"subscription_id": ended})).await).await;
    let latest = service.app.clock.now().plus_days(30);
    let restarted = end(&service, ended).await;
    assert!(earliest <= restarted && restarted <= latest, "{earliest} {restarted} {latest}");
    service.all_listed().await;
    let list = service.walk(&alice, "/account/subscriptions/?is_active=true").await;
    assert_eq!(list.len(), 2, "no subscription was added");
    assert!(list.iter().any(|row| row["expiration_date"] == json!(restarted)));
}

#[tokio::test]
async fn a_failed_renewal_leaves_the_subscription_as_it_was_and_gives_the_money_back() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let subscription = begun(&service, &alice, tv, 10).await;
    let before = end(&service, subscription).await;
    let outside = that_rejects(tv).await;
    let accepted = renew(&service, &alice, &json!({"offer_id": tv})).await;
    assert_eq!(service.balance(&alice).await, "980.00");
    drive(&processor(&service, &outside), &accepted).await;
    assert_eq!(end(&service, subscription).await, before);
    assert_eq!(service.balance(&alice).await, "990.00");
    let path = format!("/account/transactions/{}/", accepted.id("transaction_id"));
    assert_eq!(service.get(&alice, &path).await.json()["status"], "FAILED");
}

/// Two instances accept; one works with a system that does everything, the other with one that refuses.
#[tokio::test(flavor = "multi_thread")]
async fn renewals_at_the_same_time_add_up_and_only_the_successful_ones_count() {
    let sandbox = Stack::get().await.sandbox().await;
    let one = Service::start_in(&sandbox, Setting::default()).await;
    let other = Service::start_in(&sandbox, Setting { projects: false, ..Setting::default() }).await;
    let alice = one.rich("alice").await;
    let tv = one.offer("TV", 1000).await;
    let subscription = begun(&one, &alice, tv, 0).await;
    let before = end(&one, subscription).await;
    let asked = (0..20).map(|number| {
        let service = if number % 2 == 0 { &one } else { &other };
        let alice = &alice;
        async move {
            let by = [json!({"offer_id": tv}), json!({"subscription_id": subscription})];
            renew(service, alice, &by[usize::from(number % 4 < 2)]).await
        }
    });
    let accepted = join_all(asked).await;
    assert!(accepted.iter().all(|reply| reply.status == 202), "{accepted:?}");
    assert_eq!(one.balance(&alice).await, "790.00");

    let (willing, unwilling) = (simulator(Behaviour::default()).await, that_rejects(tv).await);
    let doing = [processor(&one, &willing), processor(&other, &willing)];
    let refusing = [processor(&one, &unwilling), processor(&other, &unwilling)];
    let driven = accepted.iter().enumerate().flat_map(|(number, reply)| {
        let processors = if number < 12 { &doing } else { &refusing };
        processors.iter().map(move |processor| drive(processor, reply))
    });
    join_all(driven).await;
    assert_eq!(end(&one, subscription).await, before.plus_days(12 * 30));
    assert_eq!(one.balance(&alice).await, "870.00", "what failed was given back");
    one.all_listed().await;
    let list = async |query| one.walk(&alice, &format!("/account/transactions/?kind=renewal&{query}")).await;
    assert_eq!((list("status=SUCCESS").await.len(), list("status=FAILED").await.len()), (12, 8));
    let rows = one.walk(&alice, "/account/subscriptions/").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["expiration_date"], json!(before.plus_days(12 * 30)));
}
