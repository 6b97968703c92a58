//! Receivers that misbehave cost bounded time and memory, are reported, and delay nobody else.

use super::receiver::{Receiver, Reply};
use super::{Fixture, TIMEOUT, settings};
use crate::support::eventually::{DEADLINE, eventually};
use domain::PartnerId;
use offers::processors::callbacks::{Delivery, Settings, Status};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What a socket's buffers on both sides may hold, and a generous bit.
const BUFFERS: usize = 16 * 1024 * 1024;

impl Fixture {
    async fn partner_with_one(&self, url: &str) -> PartnerId {
        let partner = self.partner(url).await.id;
        self.waiting(partner, url, &[(Uuid::now_v7(), 1)]).await;
        partner
    }

    async fn of(&self, partner: PartnerId) -> Delivery {
        self.deliveries().await.into_iter().find(|delivery| delivery.partner_id == partner).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_misbehaviour_ends_in_time_and_stands_on_its_delivery() {
    let fixture = Fixture::new().await;
    let target = Receiver::answering(200).await;
    let redirect = format!("HTTP/1.1 307 There\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", target.url);
    let flood = format!("HTTP/1.1 200 OK\r\n{}", "x-much: 0123456789abcdef\r\n".repeat(100_000));
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port())
    };
    let hanging = Receiver::new(|_| Reply::Hang).await;
    let streaming = Receiver::new(|_| Reply::Stream(100 * 1024 * 1024)).await;
    let dripping = Receiver::new(|_| Reply::Drip).await;
    let dripping_head = Receiver::new(|_| Reply::DripHead).await;
    let closing = Receiver::new(|_| Reply::Close).await;
    let redirecting = Receiver::new(move |_| Reply::Raw(redirect.clone())).await;
    let flooding = Receiver::new(move |_| Reply::Raw(flood.clone())).await;

    let no_answer = format!("no answer within {} ms", TIMEOUT.as_millis());
    let broke = "the connection broke before there was an answer";
    let mut expected = Vec::new();
    for (url, status, error) in [
        (hanging.url.as_str(), None, Some(no_answer.as_str())),
        (&dripping_head.url, None, Some(&no_answer)),
        (&closing.url, None, Some(broke)),
        (&flooding.url, None, Some(broke)),
        (&redirecting.url, Some(307), Some("answered 307: redirects are not followed")),
        (&streaming.url, Some(200), None),
        (&dripping.url, Some(200), None),
    ] {
        expected.push((url, fixture.partner_with_one(url).await, status, error));
    }
    let mut sender = fixture.sender();
    let step = timeout(DEADLINE, sender.step()).await.expect("no receiver holds the round up");
    assert_eq!(step.unwrap(), expected.len());
    for (url, partner, status, error) in expected {
        let delivery = fixture.of(partner).await;
        assert_eq!((delivery.last_status, delivery.last_error.as_deref()), (status, error), "{url}");
        let kept = delivery.last_response.unwrap_or_default();
        assert!(kept.len() <= 1024, "{url}: {} bytes", kept.len());
    }
    for url in [closed.as_str(), "http://nowhere.invalid/"] {
        let unreachable = fixture.partner_with_one(url).await;
        fixture.sender().step().await.unwrap();
        assert!(fixture.of(unreachable).await.last_error.unwrap().starts_with("no connection: "), "{url}");
    }
    assert_eq!(target.count(), 0, "a redirect is not followed");
    assert!(streaming.sent.load(Ordering::SeqCst) < BUFFERS, "the rest of a long answer is not taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_within_our_network_is_refused_however_it_is_named() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::answering(200).await;
    let mut partners = Vec::new();
    for name in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"] {
        partners.push(fixture.partner_with_one(&receiver.url.replace("127.0.0.1", name)).await);
    }
    let careful = Settings { allow_private: false, ..settings() };
    fixture.drain(&mut fixture.sender_with(&careful)).await;
    for partner in partners {
        let delivery = fixture.of(partner).await;
        assert_eq!(delivery.last_error.as_deref(), Some("target address refused"), "{}", delivery.url);
        assert_eq!(
            (delivery.status, delivery.attempts.len()),
            (Status::Pending, 1),
            "tried again like any failure"
        );
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hanging_endpoints_do_not_delay_a_prompt_one() {
    let fixture = Fixture::new().await;
    let hanging = Receiver::new(|_| Reply::Hang).await;
    let prompt = Receiver::answering(200).await;
    // Together they could take all the room many times over.
    let small = Settings { in_flight: 16, per_endpoint: 4, timeout: Duration::from_secs(2), ..settings() };
    let mut dead = Vec::new();
    for _ in 0..12 {
        dead.push(fixture.partner_with_one(&hanging.url).await);
    }
    let mut sender = fixture.sender_with(&small);
    sender.step().await.unwrap(); // now it knows them
    for partner in dead {
        let events: Vec<_> = (2..=30).map(|position| (Uuid::now_v7(), position)).collect();
        fixture.waiting(partner, &hanging.url, &events).await;
    }
    let partner = fixture.partner(&prompt.url).await.id;
    let running = tokio::spawn(sender.run(CancellationToken::new()));
    eventually("the hanging ones have their share", async || hanging.count() >= 12 + 8).await;
    let events: Vec<_> = (1..=100).map(|position| (Uuid::now_v7(), position)).collect();
    fixture.waiting(partner, &prompt.url, &events).await;
    eventually("the prompt one has all of its own", async || prompt.count() == 100).await;
    assert!(hanging.count() < 12 * 30, "the hanging ones were served first");
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_callbacks_of_a_dead_endpoint_starve_nobody() {
    let fixture = Fixture::new().await;
    let (dead, alive) = (Receiver::answering(500).await, Receiver::answering(200).await);
    let busy = fixture.partner(&dead.url).await.id;
    let events: Vec<_> = (1..=100_000).map(|position| (Uuid::now_v7(), position)).collect();
    for part in events.chunks(25_000) {
        fixture.waiting(busy, &dead.url, part).await;
    }
    fixture.clock.advance(chrono::TimeDelta::seconds(1));
    let quiet = fixture.partner_with_one(&alive.url).await;
    let mut sender = fixture.sender();
    sender.step().await.unwrap();
    assert_eq!(fixture.of(quiet).await.status, Status::Delivered);
    assert_eq!(dead.count(), 4, "its share of the round");
}
