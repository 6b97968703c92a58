//! Receiving: each event once where nothing fails, at least once whatever fails.

use super::{Fixture, everything};
use crate::support::eventually::eventually;
use crate::support::nats_server::NatsServer;
use offers::bus::{Delivery, Handler, Subscription, UndeliverableMessage, Verdict};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// Counts deliveries and does with each what the test says.
#[derive(Clone)]
struct Counter {
    seen: Arc<Mutex<HashMap<i64, u32>>>,
    parked: Arc<Mutex<Vec<UndeliverableMessage>>>,
    finished_before: Arc<AtomicI64>,
    verdict: fn(&Delivery) -> Verdict,
}

impl Counter {
    fn new(verdict: fn(&Delivery) -> Verdict) -> Counter {
        Counter {
            seen: Arc::default(),
            parked: Arc::default(),
            finished_before: Arc::new(AtomicI64::new(1)),
            verdict,
        }
    }

    fn seen(&self) -> HashMap<i64, u32> {
        self.seen.lock().unwrap().clone()
    }

    async fn until_seen(&self, count: usize) {
        eventually("the events are delivered", async || self.seen().len() >= count).await;
    }
}

impl Handler for Counter {
    async fn handle(&self, delivery: Delivery) -> Verdict {
        *self.seen.lock().unwrap().entry(delivery.position).or_default() += 1;
        (self.verdict)(&delivery)
    }

    async fn park(&self, message: UndeliverableMessage) -> Result<(), Boxed> {
        self.parked.lock().unwrap().push(message);
        Ok(())
    }

    async fn finished_before(&self) -> Result<i64, Boxed> {
        Ok(self.finished_before.load(Ordering::SeqCst))
    }
}

fn credits() -> Subscription {
    Subscription {
        durable: "counter".into(),
        event: ("Account", "Credited"),
        in_flight: 16,
        ack_wait: Duration::from_secs(30),
    }
}

fn consume(fixture: &Fixture, handler: &Counter) {
    let (bus, handler) = (fixture.bus.clone(), handler.clone());
    tokio::spawn(async move { bus.consume(credits(), handler).await });
}

async fn until_acknowledged(fixture: &Fixture) {
    eventually("every message is acknowledged", async || {
        let stream = fixture.outside.get_stream_no_info(&fixture.options.stream).await.unwrap();
        stream
            .consumer_info("counter")
            .await
            .is_ok_and(|info| info.num_ack_pending == 0 && info.num_pending == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_handled_once() {
    let fixture = Fixture::shared().await;
    let counter = Counter::new(|_| Verdict::Done);
    consume(&fixture, &counter); // before there is a stream
    fixture.relay().await;
    fixture.append(500).await;
    counter.until_seen(500).await;
    until_acknowledged(&fixture).await;
    assert!(counter.seen().values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_to_be_tried_again_comes_back_after_its_delay() {
    let fixture = Fixture::shared().await;
    let again = Counter::new(|delivery| match delivery.attempts {
        1 => Verdict::RetryAfter(Duration::from_millis(200)),
        _ => Verdict::Done,
    });
    consume(&fixture, &again);
    fixture.relay().await;
    fixture.append(20).await;
    eventually("each came twice", async || again.seen().values().filter(|times| **times == 2).count() == 20)
        .await;
    until_acknowledged(&fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_handled_is_parked_once() {
    let fixture = Fixture::shared().await;
    let parking = Counter::new(|delivery| match delivery.position {
        3 => Verdict::Park { reason: "no such thing".into() },
        4 => panic!("a defect"),
        _ => Verdict::Done,
    });
    consume(&fixture, &parking);
    fixture.relay().await;
    fixture.append(10).await;
    parking.until_seen(10).await;
    until_acknowledged(&fixture).await;
    let mut parked = parking.parked.lock().unwrap().clone();
    parked.sort_by_key(|message| message.position);
    let about: Vec<_> = parked.iter().map(|message| (message.position, message.reason.as_str())).collect();
    assert_eq!(about, [(3, "no such thing"), (4, "handling it panicked")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_message_is_parked_and_the_next_ones_are_handled() {
    let fixture = Fixture::shared().await;
    let counter = Counter::new(|_| Verdict::Done);
    let relay = fixture.relay().await;
    fixture.append(5).await;
    fixture.until_copied().await;
    relay.cancel(); // it would make the stream anew
    let poisoned = format!("{}.account.credited", fixture.options.subjects);
    fixture.outside.publish(poisoned, "{]".into()).await.unwrap().await.unwrap();
    consume(&fixture, &counter);
    counter.until_seen(5).await;
    eventually("it is parked", async || counter.parked.lock().unwrap().len() == 1).await;
    until_acknowledged(&fixture).await;
    assert_eq!(counter.parked.lock().unwrap()[0].position, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_consumer_begins_where_something_may_be_unfinished() {
    let fixture = Fixture::shared().await;
    let counter = Counter::new(|_| Verdict::Done);
    fixture.relay().await;
    fixture.append(100).await;
    fixture.until_copied().await;
    counter.finished_before.store(61, Ordering::SeqCst);
    consume(&fixture, &counter);
    counter.until_seen(40).await;
    until_acknowledged(&fixture).await;
    assert!(counter.seen().keys().all(|position| *position >= 61), "history was read from its beginning");

    counter.finished_before.store(96, Ordering::SeqCst);
    let stream = fixture.outside.get_stream_no_info(&fixture.options.stream).await.unwrap();
    // nats-server 2.9 may refuse while it writes the consumer's state.
    eventually("the consumer is deleted", async || stream.delete_consumer("counter").await.is_ok()).await;
    fixture.append(10).await;
    counter.until_seen(50).await;
    assert!(counter.seen().iter().all(|(position, times)| *position >= 96 || *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_made_anew_is_received_again_but_not_what_is_finished() {
    let fixture = Fixture::shared().await;
    let counter = Counter::new(|_| Verdict::Done);
    fixture.relay().await;
    consume(&fixture, &counter);
    fixture.append(100).await;
    counter.until_seen(100).await;
    counter.finished_before.store(101, Ordering::SeqCst);
    fixture.outside.delete_stream(&fixture.options.stream).await.unwrap();
    fixture.until_copied().await;
    fixture.append(50).await;
    counter.until_seen(150).await;
    assert!(counter.seen().values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn receiving_survives_a_killed_nats() {
    let mut server = NatsServer::start().await;
    let fixture = Fixture::on(&server).await;
    let counter = Counter::new(|_| Verdict::Done);
    fixture.relay().await;
    consume(&fixture, &counter);
    for round in 1..=3 {
        fixture.append(100).await;
        counter.until_seen(round * 100).await;
        server.kill();
        server.restart().await;
    }
    fixture.append(100).await;
    counter.until_seen(400).await;
    assert_eq!(everything(&fixture.log).await.len(), 400);
}
