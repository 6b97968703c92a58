//! Who is let in, and what every response tells browsers.

use crate::support::service::{PASSWORD, Person, Reply, Service, Setting, send};
use chrono::{TimeDelta, Utc};
use domain::TransactionId;
use offers::clock::Clock;
use offers::config::{Bound, Protection, RateLimit};
use offers::processors::Unhandled;
use reqwest::Method;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

async fn guarded(protection: Protection) -> Service {
    Service::start_with(Setting { protection, ..Setting::default() }).await
}

/// A client that calls from another address of this machine.
fn client_at(last: u8) -> reqwest::Client {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    offers::tls::http_client().local_address(address).build().unwrap()
}

async fn offers(service: &Service, person: &Person) -> Reply {
    service.get(person, "/offers/").await
}

#[tokio::test]
async fn a_caller_that_asks_too_often_is_refused_before_any_work_is_done() {
    let service =
        guarded(Protection { rate_limit_user: RateLimit::of(3, HOUR), ..Protection::default() }).await;
    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let offer = service.offer("TV", 500).await;
    for left in [2, 1, 0] {
        let reply = offers(&service, &alice).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["ratelimit-policy"], "\"user\";q=3;w=3600");
        let limit = reply.headers["ratelimit"].to_str().unwrap();
        assert!(limit.starts_with(&format!("\"user\";r={left};t=")), "{limit}");
    }
    let before = service.resources.log.head().await.unwrap();
    let refused = service.post(&alice, "/activation/", &json!({"offer_id": offer})).await;
    refused.is(429, "rate_limited");
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1190..=1200).contains(&wait), "{wait}");
    assert!(refused.headers["ratelimit"].to_str().unwrap().starts_with("\"user\";r=0;t="));
    assert_eq!(service.resources.log.head().await.unwrap(), before, "nothing was written");
    assert_eq!(service.balance(&bob).await, "1000.00", "another caller at the same address is not touched");
    let metrics = send(service.anonymous(Method::GET, "/metrics")).await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text.contains("offers_rate_limited_total{policy=\"user\"}"));
}

#[tokio::test]
async fn strangers_are_counted_by_their_address() {
    let rate_limit_address = RateLimit::of(5, HOUR);
    let service = guarded(Protection { rate_limit_address, ..Protection::default() }).await;
    let alice = service.rich("alice").await;
    let stranger = || service.anonymous(Method::GET, "/api/v1/offers/");
    for _ in 0..2 {
        send(stranger()).await.is(401, "not_authenticated");
        send(stranger().bearer_auth("wrong")).await.is(401, "token_invalid");
    }
    send(stranger().header("authorization", "ApiKey wrong")).await.is(401, "token_invalid");
    send(stranger()).await.is(429, "rate_limited");
    send(stranger().header("authorization", "ApiKey wrong")).await.is(429, "rate_limited");
    assert_eq!(offers(&service, &alice).await.status, 200, "who is logged in goes on");
    let elsewhere = client_at(2).get(format!("{}/api/v1/offers/", service.url));
    send(elsewhere).await.is(401, "not_authenticated");
    for path in ["/readyz", "/metrics", "/openapi.json"] {
        send(service.anonymous(Method::GET, path)).await.is(429, "rate_limited");
    }
    assert_eq!(send(service.anonymous(Method::GET, "/livez")).await.status, 200, "it costs nothing");
}

#[tokio::test]
async fn logins_and_refreshes_have_a_budget_of_their_own() {
    let rate_limit_login = RateLimit::of(3, HOUR);
    let service = guarded(Protection { rate_limit_login, ..Protection::default() }).await;
    let alice = service.rich("alice").await;
    let login = || {
        let body = json!({"username": "alice", "password": PASSWORD});
        service.anonymous(Method::POST, "/api/v1/auth/login/").json(&body)
    };
    let refresh = |token: &Value| {
        service.anonymous(Method::POST, "/api/v1/auth/refresh").json(&json!({"refresh": token}))
    };
    let grant = send(login()).await;
    assert_eq!(grant.headers["ratelimit-policy"], "\"login\";q=3;w=3600");
    let again = send(refresh(&grant.json()["refresh"])).await;
    assert_eq!(again.status, 200);
    assert_eq!(send(login()).await.status, 200);
    send(login()).await.is(429, "rate_limited");
    send(refresh(&again.json()["refresh"])).await.is(429, "rate_limited");
    assert_eq!(offers(&service, &alice).await.status, 200);
}

#[tokio::test]
async fn a_forwarded_address_counts_only_when_a_trusted_proxy_says_so() {
    let rate_limit_address = RateLimit::of(1, HOUR);
    let ask = |service: &Service, client: reqwest::Client, forwarded: &'static str| {
        let request = client.get(format!("{}/api/v1/offers/", service.url));
        send(request.header("x-forwarded-for", forwarded))
    };
    let service = guarded(Protection { rate_limit_address, ..Protection::default() }).await;
    ask(&service, client_at(1), "198.51.100.1").await.is(401, "not_authenticated");
    ask(&service, client_at(1), "198.51.100.2").await.is(429, "rate_limited");

    let trusted_proxies = vec!["127.0.0.2/32".parse().unwrap()];
    let service = guarded(Protection { rate_limit_address, trusted_proxies, ..Protection::default() }).await;
    ask(&service, client_at(2), "198.51.100.1").await.is(401, "not_authenticated");
    ask(&service, client_at(2), "198.51.100.2").await.is(401, "not_authenticated");
    ask(&service, client_at(2), "203.0.113.9, 198.51.100.2").await.is(429, "rate_limited");
    ask(&service, client_at(3), "198.51.100.3").await.is(401, "not_authenticated");
    ask(&service, client_at(3), "198.51.100.4").await.is(429, "rate_limited");
}

#[tokio::test]
async fn every_response_is_closed_to_browsers() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let ask = |method, path| send(service.anonymous(method, path).header("origin", "https://shop.example"));
    let login = service.anonymous(Method::POST, "/api/v1/auth/login/");
    let preflight = service.anonymous(Method::OPTIONS, "/api/v1/activation/");
    let preflight = preflight.header("origin", "https://shop.example");
    let replies = [
        (200, service.get(&alice, "/account/").await),
        (404, service.get(&alice, "/nothing/").await),
        (200, ask(Method::GET, "/readyz").await),
        (200, ask(Method::GET, "/openapi.json").await),
        (401, ask(Method::GET, "/api/v1/account/").await),
        (404, ask(Method::GET, "/elsewhere").await),
        (405, ask(Method::DELETE, "/api/v1/account/").await),
        (413, send(login.try_clone().unwrap().json(&"x".repeat(70_000))).await),
        (415, send(login.body("{}")).await),
        (405, send(preflight.header("access-control-request-method", "POST")).await),
    ];
    for (status, reply) in replies {
        assert_eq!(reply.status, status, "{reply:?}");
        let header = |name: &str| reply.headers[name].to_str().unwrap();
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
        assert_eq!(header("referrer-policy"), "no-referrer");
        for absent in ["strict-transport-security", "access-control-allow-origin", "ratelimit", "server"] {
            assert!(!reply.headers.contains_key(absent), "{absent}");
        }
    }
}

#[tokio::test]
async fn only_configured_pages_may_call_from_a_browser() {
    let cors_origins = vec!["https://shop.example".parse().unwrap()];
    let hsts = Some(HOUR);
    let service = guarded(Protection { cors_origins, hsts, ..Protection::default() }).await;
    let alice = service.rich("alice").await;
    let asked_by = |origin: &'static str| {
        send(service.request(&alice, Method::GET, "/account/balance/").header("origin", origin))
    };
    let shop = asked_by("https://shop.example").await;
    assert_eq!(shop.headers["access-control-allow-origin"], "https://shop.example");
    assert_eq!(shop.headers["strict-transport-security"], "max-age=3600");
    assert!(!asked_by("https://evil.example").await.headers.contains_key("access-control-allow-origin"));
    let preflight = service.anonymous(Method::OPTIONS, "/api/v1/activation/");
    let preflight = preflight.header("origin", "https://shop.example");
    let preflight = preflight.header("access-control-request-method", "POST");
    let preflight = send(preflight.header("access-control-request-headers", "idempotency-key")).await;
    assert_eq!(preflight.status, 200);
    let allowed = preflight.headers["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("idempotency-key") && allowed.contains("authorization"), "{allowed}");
}

#[tokio::test]
async fn a_user_has_so_many_purchases_under_way_and_begins_no_more_until_one_is_final() {
    let service = guarded(Protection { unfinished_per_user: Bound::of(2), ..Protection::default() }).await;
    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let offer = service.offer("TV", 500).await;
    let buy =
        async |person, key| service.post_once(person, "/activation/", &json!({"offer_id": offer}), key).await;
    let unknown = json!({"offer_id": uuid::Uuid::now_v7()});
    service.post(&alice, "/activation/", &unknown).await.is(404, "offer_not_found"); // does not count
    let first = buy(&alice, "1").await;
    assert_eq!((first.status.as_u16(), buy(&alice, "2").await.status.as_u16()), (202, 202));
    let before = service.resources.log.head().await.unwrap();
    let refused = buy(&alice, "3").await;
    refused.is(429, "rate_limited");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(service.resources.log.head().await.unwrap(), before, "nothing was written");
    assert_eq!(buy(&alice, "1").await.json(), first.json(), "a repeat is answered");
    assert_eq!(buy(&bob, "1").await.status, 202, "others are not touched");
    service.succeed(domain::TransactionId(first.id("transaction_id")), &alice, offer).await;
    service.all_listed().await;
    assert_eq!(buy(&alice, "3").await.status, 202);
    buy(&alice, "4").await.is(429, "rate_limited");
}

#[tokio::test]
async fn a_user_begins_so_many_purchases_in_a_time_and_renewals_count() {
    let limited = Protection { purchases_per_user: RateLimit::of(2, HOUR), ..Protection::default() };
    let service = guarded(limited).await;
    let alice = service.rich("alice").await;
    let offer = service.offer("TV", 0).await;
    let bought = service.post(&alice, "/activation/", &json!({"offer_id": offer})).await;
    service.succeed(domain::TransactionId(bought.id("transaction_id")), &alice, offer).await;
    service.all_listed().await;
    assert_eq!(service.post(&alice, "/offers/renew/", &json!({"offer_id": offer})).await.status, 202);
    for path in ["/activation/", "/offers/renew/"] {
        let refused = service.post(&alice, path, &json!({"offer_id": offer})).await;
        refused.is(429, "rate_limited");
        let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1790..=1800).contains(&wait), "{wait}");
    }
    let body = json!({"user_id": alice.id, "offer_id": offer, "amount": "0.00"});
    service.post(&alice, "/partner/activate/", &body).await.is(429, "rate_limited");
}

#[tokio::test]
async fn purchases_are_refused_while_finishing_is_behind_and_accepted_in_an_outage() {
    let clock = Clock::standing_at(Utc::now());
    let protection = Protection { backlog: Some(Duration::from_secs(30)), ..Protection::default() };
    let service =
        Service::start_with(Setting { protection, clock: clock.clone(), ..Setting::default() }).await;
    let (alice, shop) = (service.rich("alice").await, service.shop("Shop", 5000).await);
    let offer = service.offer("TV", 500).await;
    let wish = json!({"offer_id": offer});
    let buy = async |key: &str| service.post_once(&alice, "/activation/", &wish, key).await;
    let measured = async || {
        service.all_listed().await;
        let backlog = service.app.activations.overload.measure(&service.resources.readers, clock.now());
        backlog.await.unwrap().as_secs()
    };
    let mut early = Vec::new();
    for key in ["first", "second"] {
        early.push(TransactionId(buy(key).await.id("transaction_id")));
    }
    let waiting = TransactionId(buy("waiting").await.id("transaction_id"));

    clock.advance(TimeDelta::seconds(100));
    assert_eq!(measured().await, 0, "none succeeds: it is an outage");
    let unlucky = buy("in-an-outage").await.id("transaction_id");

    service.succeed(early[0], &alice, offer).await;
    assert_eq!(measured().await, 0, "it counts from the end of the outage on");
    clock.advance(TimeDelta::seconds(31));
    service.succeed(early[1], &alice, offer).await;
    assert_eq!(measured().await, 31);
    let refused = buy("too-much").await;
    refused.is(503, "overloaded");
    assert_eq!(refused.headers["retry-after"], "5");
    let body = json!({"user_id": alice.id, "offer_id": offer, "amount": "5.00"});
    let by_partner = service.request_by(&shop, Method::POST, "/partner/activate/").json(&body);
    send(by_partner).await.is(503, "overloaded");
    let renewal = service.post(&alice, "/offers/renew/", &json!({"offer_id": offer})).await;
    renewal.is(503, "overloaded");
    let repeated = buy("waiting").await;
    assert_eq!((repeated.status.as_u16(), repeated.id("transaction_id")), (202, waiting.0));

    service.begin(waiting).await;
    let unhandled = Unhandled {
        position: 1,
        subject: "sweeper".to_owned(),
        event_id: None,
        aggregate_id: Some(unlucky),
        attempts: 0,
        reason: "a test".to_owned(),
    };
    service.resources.parked.keep("activation", &unhandled).await.unwrap();
    assert_eq!(measured().await, 0, "none waits but what is parked");
    assert_eq!(buy("too-much").await.status, 202);
}
