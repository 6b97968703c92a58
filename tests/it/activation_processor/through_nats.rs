//! From the accepted purchase to its end: through NATS, and without it.

use super::{Fixture, everything, renewal};
use crate::support::eventually::eventually;
use crate::support::nats_server::{NatsServer, connect};
use async_nats::jetstream::{self, Context};
use chrono::TimeDelta;
use domain::transaction::ActivationRequested;
use domain::{Money, SubscriptionId, TransactionId};
use futures::future::join_all;
use offers::app::Dependencies;
use offers::bus::{Bus, Options};
use offers::clock::Clock;
use offers::event_log::follow;
use offers::identity::Actor;
use offers::processors::{ActivationProcessor, Outcome, Parked, Sweeper, consume_activations};
use offers::simulator::Behaviour;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A fixture with relay and consumer on the shared nats-server.
struct Running {
    fixture: Fixture,
    outside: Context,
    parked: Parked,
    relay: CancellationToken,
}

async fn running(behaviour: Behaviour) -> Running {
    let fixture = Fixture::new(behaviour).await;
    let Dependencies { bus, parked, .. } = fixture.parts.resources.clone();
    let relay = fixture.stop.child_token();
    let sink = bus.relay(fixture.log.clone()).await.unwrap();
    tokio::spawn(follow(fixture.log.feed(), sink, relay.clone()));
    let (processor, readers) = (fixture.processor(), fixture.readers());
    tokio::spawn(consume_activations(bus, processor, parked.clone(), readers, 64, Duration::from_secs(1)));
    let outside = jetstream::new(connect(&fixture.sandbox.nats_url).await);
    Running { fixture, outside, parked, relay }
}

impl Running {
    async fn until_quiet(&self) {
        eventually("every message is acknowledged", async || {
            let head = self.fixture.log.head().await.unwrap();
            let Ok(stream) = self.outside.get_stream(&self.fixture.sandbox.stream).await else {
                return false;
            };
            let info = stream.consumer_info("activation").await;
            i64::try_from(stream.cached_info().state.last_sequence) == Ok(head)
                && info.is_ok_and(|info| info.num_ack_pending == 0 && info.num_pending == 0)
        })
        .await;
    }
}

/// Sweeps from now on, without NATS; what cannot be driven is parked.
pub(super) async fn sweep(fixture: &Fixture) -> Parked {
    sweep_with(fixture, fixture.processor()).await
}

async fn sweep_with(fixture: &Fixture, processor: ActivationProcessor) -> Parked {
    let absent = NatsServer::prepare();
    let bus = Bus::open(Options::new(absent.url("app")), &fixture.stop).await.unwrap();
    let parked = fixture.parts.resources.parked.clone();
    fixture.project();
    let (readers, clock) = (fixture.readers(), fixture.clock.clone());
    tokio::spawn(fixture.parts.rechecks().run(processor.clone(), fixture.stop.clone()));
    tokio::spawn(Sweeper::new(readers, processor, parked.clone(), bus, clock).run(fixture.stop.clone()));
    parked
}

async fn buy_many(fixture: &Fixture, count: usize) -> Vec<TransactionId> {
    let user = fixture.user().await;
    join_all((0..count).map(|_| fixture.buy(user))).await
}

/// Lets activations go wrong in the way of `wrong` until a delay has grown, and shows that `right` ends it.
async fn delays_end(wrong: Value, right: Value) {
    let fixture = Fixture::new(Behaviour::default()).await;
    fixture.control(wrong).await;
    let (processor, ids) = (fixture.processor(), buy_many(&fixture, 3).await);
    let mut delay = Duration::ZERO;
    eventually("its delay has grown with its failures", async || {
        let outcome = processor.drive(ids[0], None).await;
        let Outcome::RetryAfter(left) = outcome else { panic!("it goes wrong: {outcome:?}") };
        delay = left;
        delay > Duration::from_secs(6)
    })
    .await;
    let since = Instant::now();
    for _ in 0..10 {
        processor.drive_now(ids[1]).await; // so often that this is no accident
    }
    sweep_with(&fixture, processor.clone()).await;
    fixture.control(right).await;
    fixture.until_succeeded(&ids).await;
    assert!(since.elapsed() < delay, "it waited for {:?}, its delay was {delay:?}", since.elapsed());
    assert!(fixture.activations().values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_system_answers_again_the_delays_of_what_waited_for_it_end() {
    delays_end(json!({ "down": true }), json!({ "down": false })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_activations_are_answered_again_delays_end_though_look_ups_were_always_answered() {
    delays_end(json!({ "lie": "error" }), json!({ "lie": null })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_purchases_are_activated_once_each() {
    let running = running(Behaviour::default()).await;
    let ids = buy_many(&running.fixture, 80).await;
    running.fixture.until_succeeded(&ids).await;
    for id in &ids {
        let names = running.fixture.names(*id).await;
        assert_eq!(names, ["ActivationRequested", "Processing", "Succeeded"]);
    }
    assert!(running.fixture.activations().values().all(|times| *times == 1));
    assert!(running.parked.waiting(None, 10).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_of_everything_does_nothing() {
    let running = running(Behaviour::default()).await;
    let ids = buy_many(&running.fixture, 40).await;
    running.fixture.until_succeeded(&ids).await;
    running.until_quiet().await;
    let before = everything(&running.fixture.log).await.len();
    // The stream is made anew and the consumer with it, which begins at 1: the read tables are empty.
    running.outside.delete_stream(&running.fixture.sandbox.stream).await.unwrap();
    eventually("everything was delivered again", async || {
        let Ok(stream) = running.outside.get_stream(&running.fixture.sandbox.stream).await else {
            return false;
        };
        stream.consumer_info("activation").await.is_ok_and(|info| {
            info.delivered.consumer_sequence >= 40 && info.num_ack_pending == 0 && info.num_pending == 0
        })
    })
    .await;
    assert_eq!(everything(&running.fixture.log).await.len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreliable_system_is_asked_until_it_is_certain() {
    let flaky = Behaviour { failure_rate: 0.4, pending_rate: 0.2, ..Behaviour::default() };
    let running = running(flaky).await;
    let ids = buy_many(&running.fixture, 30).await;
    eventually("most are done", async || running.fixture.activations().len() >= 20).await;
    running.fixture.control(json!({ "failure_rate": 0.0, "pending_rate": 0.0 })).await;
    running.fixture.until_succeeded(&ids).await;
    assert!(running.fixture.activations().values().all(|times| *times == 1));
    assert_eq!(running.fixture.activations().len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_cannot_be_handled_are_parked_and_can_be_sent_back() {
    let running = running(Behaviour::default()).await;
    let ids = buy_many(&running.fixture, 3).await;
    running.fixture.until_succeeded(&ids).await;
    running.until_quiet().await;
    running.relay.cancel(); // it would make the stream anew
    let position = running.fixture.log.head().await.unwrap() + 1;
    let subject = format!("{}.transaction.activation_requested", running.fixture.sandbox.subjects);
    let unknown = json!({
        "id": Uuid::now_v7(), "subject": Uuid::now_v7(), "time": "2026-11-22T08:30:00.123456Z",
        "position": position.to_string(),
    });
    for body in [unknown.to_string(), "poison".to_owned()] {
        running.outside.publish(subject.clone(), body.into()).await.unwrap().await.unwrap();
    }
    eventually("both are parked", async || running.parked.waiting(None, 10).await.unwrap().items.len() == 2)
        .await;
    let waiting = running.parked.waiting(None, 10).await.unwrap().items;
    let mut about: Vec<_> = waiting.iter().map(|letter| (letter.position, letter.reason.as_str())).collect();
    about.sort_unstable();
    assert_eq!(about[0], (position, "the log has no such transaction"));
    assert!(about[1].1.contains("not an event"), "{}", about[1].1);

    let newest = &waiting[0];
    let rest = running.parked.waiting(Some((newest.parked_at, newest.id)), 10).await.unwrap().items;
    assert_eq!(rest, waiting[1..]);
    let requeue = async || {
        let now = running.fixture.clock.now().utc();
        running.parked.requeue(newest.id, &Actor::system("test"), now).await.unwrap()
    };
    let sent_back = requeue().await.unwrap();
    assert_eq!((sent_back.id, sent_back.consumer.as_str()), (newest.id, "activation"));
    assert_eq!(requeue().await, None, "only once");
    assert_eq!(running.parked.waiting(None, 10).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_the_sweeper_brings_every_purchase_to_its_end() {
    let fixture = Fixture::new(Behaviour::default()).await;
    sweep(&fixture).await;
    let ids = buy_many(&fixture, 50).await;
    fixture.until_succeeded(&ids).await;
    assert!(fixture.activations().values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bus_is_behind_a_new_purchase_waits_for_it_a_second_and_not_ten() {
    let clock = Clock::standing_at("2026-11-22T08:30:00Z".parse().unwrap());
    let fixture = Fixture::at(clock, Behaviour::default()).await;
    // The bus is connected and says nothing: nobody publishes.
    let bus = fixture.parts.resources.bus.clone();
    let parked = fixture.parts.resources.parked.clone();
    fixture.project();
    let (readers, processor, clock) = (fixture.readers(), fixture.processor(), fixture.clock.clone());
    tokio::spawn(Sweeper::new(readers, processor, parked, bus, clock).run(fixture.stop.clone()));
    let first = buy_many(&fixture, 1).await;
    fixture.clock.advance(TimeDelta::seconds(11));
    fixture.until_succeeded(&first).await;
    let waiting = buy_many(&fixture, 1).await;
    fixture.clock.advance(TimeDelta::seconds(2));
    fixture.until_succeeded(&waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sweeper_cannot_drive_is_parked_and_does_not_stand_in_the_way() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let (user, readers) = (fixture.user().await, fixture.readers());
    // Nobody can do these, so each rests for long once it was tried.
    let of_nothing = renewal(user, SubscriptionId(Uuid::now_v7()));
    let of_nothing = ActivationRequested { amount: Money::ZERO, ..of_nothing };
    let ids = join_all((0..1_000).map(|_| fixture.accept(of_nothing.clone()))).await;
    let parked = sweep(&fixture).await;
    eventually("all are parked", async || parked.count().await.unwrap() == 1_000).await;
    let waiting = parked.waiting(None, 1).await.unwrap().items.pop().unwrap();
    let first = fixture.log.event_at(waiting.position).await.unwrap().unwrap();
    assert_eq!(waiting.consumer, "activation");
    assert!(ids.iter().any(|id| id.to_string() == first.aggregate_id), "{first:?}");

    let delay = Duration::from_secs(1)..=Duration::from_secs(1);
    let due = async || readers.unfinished(fixture.clock.now(), Duration::ZERO, delay.clone(), 0, 2_000).await;
    eventually("all are due again", async || due().await.unwrap().len() == 1_000).await;
    let last = fixture.buy(user).await;
    fixture.until_succeeded(&[last]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_finished_that_the_read_tables_have_not_seen() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let readers = fixture.readers();
    assert_eq!(readers.finished_before().await.unwrap(), 1, "empty tables know nothing");
    let ids = buy_many(&fixture, 3).await; // positions 2, 3 and 4
    fixture.project();
    eventually("the tables have seen them", async || readers.finished_before().await.unwrap() == 2).await;
    let processor = fixture.processor();
    for id in ids {
        processor.drive(id, None).await;
    }
    let head = fixture.log.head().await.unwrap();
    eventually("all is finished", async || readers.finished_before().await.unwrap() == head + 1).await;
}
