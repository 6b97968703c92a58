//! When a callback is tried again, when no more, and what a receiver may ask for.

use super::receiver::{Receiver, Reply};
use super::{Fixture, settings, succeeded};
use crate::support::eventually::eventually;
use chrono::TimeDelta;
use offers::identity::{Actor, CallbackUrl, PartnerChange};
use offers::processors::callbacks::{Error, Settings, Status};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The contract's delays, in seconds, and the most that chance adds to them.
const DELAYS: [i64; 6] = [5, 300, 1_800, 7_200, 18_000, 36_000];
const JITTER_PERCENT: i64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_receiver_is_tried_by_the_schedule_then_parked_and_resent_by_an_operator() {
    let fixture = Fixture::new().await;
    let status = Arc::new(AtomicU16::new(500));
    let receiver = Receiver::new({
        let status = status.clone();
        move |_| Reply::Status(status.load(Ordering::SeqCst), "try\0later")
    })
    .await;
    let partner = fixture.partner(&receiver.url).await;
    fixture.sell(partner.id, None, succeeded()).await;
    fixture.project_and_enqueue().await;
    let mut sender = fixture.sender();
    assert_eq!(fixture.drain(&mut sender).await, 1, "the first try is made at once");
    for delay in DELAYS {
        fixture.clock.advance(TimeDelta::seconds(delay) - TimeDelta::milliseconds(1));
        assert_eq!(fixture.drain(&mut sender).await, 0, "too early");
        let chance = TimeDelta::seconds(delay * JITTER_PERCENT / 100 + 1);
        fixture.clock.advance(chance);
        assert_eq!(fixture.drain(&mut sender).await, 1, "due after {delay} s");
    }
    fixture.clock.advance(TimeDelta::days(3));
    assert_eq!(fixture.drain(&mut sender).await, 0);
    let parked = fixture.callbacks.list(Some(Status::Parked), None, 50).await.unwrap().items;
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].attempts.len(), parked[0].last_status), (7, Some(500)));
    assert_eq!(parked[0].last_error.as_deref(), Some("answered 500"));
    assert_eq!(parked[0].last_response.as_deref(), Some("try\u{fffd}later"));
    assert_eq!(parked[0].next_attempt_at, None);

    status.store(200, Ordering::SeqCst);
    fixture.callbacks.resend(parked[0].id, &Actor::system("test")).await.unwrap();
    assert_eq!(fixture.drain(&mut sender).await, 1);
    assert_eq!(fixture.delivery().await.status, Status::Delivered);
    let requests = receiver.requests();
    let distinct =
        |of: fn(&super::receiver::Request) -> &str| requests.iter().map(of).collect::<HashSet<_>>();
    assert_eq!(distinct(|request| &request.body).len(), 1, "every try sends the same bytes");
    assert_eq!(distinct(|request| request.id()).len(), 1);
    assert_eq!(distinct(|request| request.header("webhook-timestamp")).len(), 8);
    assert_eq!(distinct(|request| request.header("webhook-signature")).len(), 8);
    let agent = concat!("offers-callbacks/", env!("CARGO_PKG_VERSION"));
    assert!(requests.iter().all(|request| request.header("user-agent") == agent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_disables_the_endpoint_until_a_url_is_registered_again() {
    let fixture = Fixture::new().await;
    let (gone, other) = (Receiver::answering(410).await, Receiver::answering(200).await);
    let partner = fixture.partner(&gone.url).await;
    let bystander = fixture.partner(&other.url).await;
    for _ in 0..10 {
        fixture.sell(partner.id, None, succeeded()).await;
    }
    fixture.sell(bystander.id, None, succeeded()).await;
    fixture.project_and_enqueue().await;
    let mut sender = fixture.sender();
    fixture.drain(&mut sender).await;
    assert!(gone.count() <= settings().per_endpoint, "what was under way, and no more");
    assert_eq!(other.count(), 1);
    let disabled = fixture.callbacks.list(Some(Status::Disabled), None, 50).await.unwrap().items;
    assert_eq!(disabled.len(), 10);
    assert!(fixture.identity.get_partner(partner.id).await.unwrap().callback_disabled_at.is_some());
    assert!(matches!(fixture.callbacks.enqueue_ping(partner.id).await, Err(Error::EndpointDisabled)));

    fixture.sell(partner.id, None, succeeded()).await;
    fixture.project_and_enqueue().await;
    assert_eq!(fixture.drain(&mut sender).await, 0);
    assert_eq!(fixture.callbacks.list(Some(Status::Disabled), None, 50).await.unwrap().items.len(), 11);

    let change =
        PartnerChange { callback_url: Some(CallbackUrl::parse(&other.url).ok()), ..PartnerChange::default() };
    let now = fixture.clock.now().utc();
    fixture.identity.update_partner(partner.id, &change, &Actor::system("test"), now).await.unwrap();
    for delivery in disabled {
        fixture.callbacks.resend(delivery.id, &Actor::system("test")).await.unwrap();
    }
    fixture.drain(&mut sender).await;
    assert_eq!(other.count(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_from_a_purchases_own_url_ends_that_delivery_alone() {
    let fixture = Fixture::new().await;
    let receiver =
        Receiver::new(|request| Reply::Status(if request.path == "/hook" { 200 } else { 410 }, "")).await;
    let partner = fixture.partner(&receiver.url).await;
    fixture.sell(partner.id, Some(&receiver.url.replace("/hook", "/mine")), succeeded()).await;
    fixture.sell(partner.id, None, succeeded()).await;
    fixture.project_and_enqueue().await;
    fixture.drain(&mut fixture.sender()).await;
    let statuses: Vec<_> = fixture.deliveries().await.iter().map(|one| one.status).collect();
    assert_eq!(statuses, [Status::Delivered, Status::Disabled]);
    assert!(fixture.identity.get_partner(partner.id).await.unwrap().callback_disabled_at.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_receiver_may_ask_for_more_time() {
    let fixture = Fixture::new().await;
    let busy = "HTTP/1.1 429 Busy\r\nretry-after: 120\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let receiver = Receiver::new(|_| Reply::Raw(busy.to_owned())).await;
    let partner = fixture.partner(&receiver.url).await;
    fixture.callbacks.enqueue_ping(partner.id).await.unwrap();
    let mut sender = fixture.sender();
    fixture.drain(&mut sender).await;
    let next = fixture.delivery().await.next_attempt_at.unwrap();
    assert_eq!(next.utc() - fixture.clock.now().utc(), TimeDelta::seconds(120));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_senders_die_in_the_middle_of_it() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::new(|_| Reply::Late(Duration::from_millis(30), 200)).await;
    for _ in 0..5 {
        let partner = fixture.partner(&receiver.url).await;
        let events: Vec<_> = (1..=40).map(|position| (Uuid::now_v7(), position)).collect();
        fixture.waiting(partner.id, &receiver.url, &events).await;
    }
    // Each of the 200 is received at least once, so a count up to that always comes.
    for killed_at in [1, 40, 80, 120, 160] {
        let sender = tokio::spawn(fixture.sender().run(CancellationToken::new()));
        eventually("it is at work", async || receiver.count() >= killed_at).await;
        sender.abort();
        let _ = sender.await;
        fixture.end_claims_in(Duration::ZERO).await;
    }
    let mut successor = fixture.sender();
    eventually("all are delivered", async || {
        // PostgreSQL may carry out the last claim of a killed sender only now.
        fixture.end_claims_in(Duration::ZERO).await;
        fixture.drain(&mut successor).await;
        fixture.callbacks.list(Some(Status::Delivered), None, 200).await.unwrap().items.len() == 200
    })
    .await;
    let received: HashSet<_> = receiver.requests().iter().map(|request| request.id().to_owned()).collect();
    assert_eq!(received.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_sender_had_claimed_is_sent_by_another_within_half_a_minute() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::new(|_| Reply::Late(Duration::from_millis(400), 200)).await;
    let partner = fixture.partner(&receiver.url).await;
    fixture.callbacks.enqueue_ping(partner.id).await.unwrap();
    let dies = tokio::spawn(fixture.sender().run(CancellationToken::new()));
    eventually("it is being sent", async || receiver.count() == 1).await;
    dies.abort();
    let _ = dies.await;
    let lease = "select extract(epoch from claimed_until - now())::float8 from callback_deliveries";
    let lease: f64 = sqlx::query_scalar(lease).fetch_one(&fixture.pool).await.unwrap();
    assert!((10.0..=20.0).contains(&lease), "a living sender may be held up for some seconds: {lease}");
    fixture.end_claims_in(Duration::ZERO).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(fixture.sender().run(stop.clone()));
    eventually("another sends it", async || receiver.count() == 2).await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_senders_try_is_not_taken_by_another() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::new(|_| Reply::Late(Duration::from_millis(400), 200)).await;
    let partner = fixture.partner(&receiver.url).await;
    fixture.callbacks.enqueue_ping(partner.id).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(fixture.sender().run(stop.clone()));
    eventually("it is being sent", async || receiver.count() == 1).await;
    assert_eq!(fixture.drain(&mut fixture.sender()).await, 0);
    stop.cancel();
    running.await.unwrap();
    assert_eq!(fixture.delivery().await.status, Status::Delivered, "a stop waits for what is under way");
    assert_eq!(receiver.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_takes_longer_than_a_lease_is_not_taken_by_another() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::new(|_| Reply::Late(Duration::from_secs(10), 200)).await;
    let partner = fixture.partner(&receiver.url).await;
    fixture.callbacks.enqueue_ping(partner.id).await.unwrap();
    let patient = Settings { timeout: Duration::from_secs(30), ..settings() };
    let stop = CancellationToken::new();
    for _ in 0..2 {
        tokio::spawn(fixture.sender_with(&patient).run(stop.clone()));
    }
    eventually("it is being sent", async || receiver.count() == 1).await;
    fixture.end_claims_in(Duration::from_secs(8)).await;
    let delivered = async || fixture.delivery().await.status == Status::Delivered;
    eventually("it is delivered", delivered).await;
    assert_eq!(receiver.count(), 1);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_senders_share_the_work_and_keep_an_endpoints_bound() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::new(|_| Reply::Status(200, "")).await;
    for _ in 0..10 {
        let partner = fixture.partner(&receiver.url).await;
        let events: Vec<_> = (1..=15).map(|position| (Uuid::now_v7(), position)).collect();
        fixture.waiting(partner.id, &receiver.url, &events).await;
    }
    let few = Settings { in_flight: 16, ..settings() };
    let (mut one, mut other) = (fixture.sender_with(&few), fixture.sender_with(&few));
    tokio::join!(fixture.drain(&mut one), fixture.drain(&mut other));
    fixture.drain(&mut one).await;
    assert_eq!(receiver.count(), 150, "each exactly once while nobody dies");
    assert_eq!(fixture.callbacks.list(Some(Status::Pending), None, 1).await.unwrap().items, []);
}
