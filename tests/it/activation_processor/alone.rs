//! One purchase at a time, driven by hand.

use super::through_nats::sweep;
use super::{Fixture, THE_REQUEST, purchase, renewal};
use crate::support::eventually::eventually;
use chrono::{DateTime, Days, Utc};
use domain::user_offer::{self, UserOffer};
use domain::{AccountId, Metadata, Money, SubscriptionId, TransactionId, account};
use futures::future::join_all;
use offers::clock::Clock;
use offers::event_log::{AggregateCommand, Plan, StreamId};
use offers::identity::Actor;
use offers::processors::{Outcome, RequeuedActivations};
use offers::simulator::Behaviour;
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_success_and_the_subscription_it_pays_for_are_one_commit() {
    let moment: DateTime<Utc> = "2026-11-22T08:30:00.123456Z".parse().unwrap();
    let fixture = Fixture::at(Clock::standing_at(moment), Behaviour::default()).await;
    let user = fixture.user().await;
    let id = fixture.buy(user).await;
    assert_eq!(fixture.processor().drive(id, None).await, Outcome::Done);

    let events = fixture.events(id).await;
    let names: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(names, ["ActivationRequested", "Processing", "Succeeded"]);
    let stream = StreamId::of::<UserOffer>(SubscriptionId::started_by(id).0);
    let subscription = fixture.log.stream(stream).await.unwrap();
    assert_eq!(subscription.len(), 1);
    assert_eq!(subscription[0].commit_end, events[2].commit_end);
    let user_offer::Event::Activated(period) = serde_json::from_str(&subscription[0].payload).unwrap() else {
        panic!("{}", subscription[0].payload)
    };
    assert_eq!((period.user_id, period.transaction_id), (user, id));
    assert_eq!(period.starts_at.utc(), moment);
    assert_eq!(period.expires_at.utc(), moment + Days::new(30));

    for event in events[1..].iter().chain(&subscription) {
        let metadata: Metadata = serde_json::from_str(&event.metadata).unwrap();
        assert_eq!(metadata.actor.as_deref(), Some("system:activation"));
        assert_eq!(metadata.correlation_id, THE_REQUEST);
        assert_eq!(metadata.causation_id, Some(events[0].event_id.to_string()));
        assert!(metadata.traceparent.is_some());
    }
    assert_eq!(fixture.balance(user).await, Money::from_hundredths(99_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_activation_gives_the_money_back_in_the_same_commit() {
    let refused = HashSet::from([Uuid::from_u128(7)]);
    let fixture = Fixture::new(Behaviour { reject_offers: refused, ..Behaviour::default() }).await;
    let user = fixture.user().await;
    let id = fixture.buy(user).await;
    assert_eq!(fixture.balance(user).await, Money::from_hundredths(99_000));
    assert_eq!(fixture.processor().drive(id, None).await, Outcome::Done);
    let events = fixture.events(id).await;
    let names: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(names, ["ActivationRequested", "Processing", "Failed", "Refunded"]);
    assert_eq!(events[2].commit_end, events[3].position);
    assert_eq!(fixture.balance(user).await, Money::from_hundredths(100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_extends_the_subscription_and_two_at_once_add_up() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let user = fixture.user().await;
    let first = fixture.accept(purchase(user)).await;
    let processor = fixture.processor();
    assert_eq!(processor.drive(first, None).await, Outcome::Done);
    let subscription = SubscriptionId::started_by(first);
    let end = async || match fixture.log.reload::<UserOffer>(subscription.0).await.unwrap().state {
        UserOffer::Subscribed(now) => now.expires_at,
        UserOffer::None => panic!("no subscription"),
    };
    let before = end().await;
    let renewals = [
        fixture.accept(renewal(user, subscription)).await,
        fixture.accept(renewal(user, subscription)).await,
    ];
    for verdict in join_all(renewals.map(|id| processor.drive(id, None))).await {
        assert_eq!(verdict, Outcome::Done);
    }
    assert_eq!(end().await, before.plus_days(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_certain_stays_processing_and_is_asked_again_with_the_same_key() {
    let fixture = Fixture::new(Behaviour { down: true, ..Behaviour::default() }).await;
    let user = fixture.user().await;
    let id = fixture.buy(user).await;
    let processor = fixture.processor();
    let Outcome::RetryAfter(rest) = processor.drive(id, None).await else { panic!("it is down") };
    assert!(rest >= Duration::from_millis(800) && rest <= Duration::from_millis(1_200), "{rest:?}");
    assert_eq!(fixture.names(id).await, ["ActivationRequested", "Processing", "AttemptFailed"]);
    assert_eq!(fixture.balance(user).await, Money::from_hundredths(99_000));
    assert!(matches!(processor.drive(id, None).await, Outcome::RetryAfter(_)), "it rests");
    assert_eq!(fixture.names(id).await.len(), 3, "no attempt while it rests");

    fixture.control(json!({ "down": false })).await;
    eventually("it is done", async || processor.drive(id, None).await == Outcome::Done).await;
    let names = fixture.names(id).await;
    assert_eq!(names, ["ActivationRequested", "Processing", "AttemptFailed", "Processing", "Succeeded"]);
    assert_eq!(fixture.activations(), [(id.to_string(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_activation_is_done_once_it_is_answered() {
    let pending = Behaviour { pending_rate: 1.0, pending_for_ms: 300, ..Behaviour::default() };
    let fixture = Fixture::new(pending).await;
    let id = fixture.buy(fixture.user().await).await;
    let processor = fixture.processor();
    assert!(matches!(processor.drive(id, None).await, Outcome::RetryAfter(_)));
    eventually("it is done", async || processor.drive(id, None).await == Outcome::Done).await;
    assert_eq!(fixture.names(id).await.last().map(String::as_str), Some("Succeeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_drive_of_the_same_purchase_returns_at_once() {
    let fixture = Fixture::new(Behaviour { latency_ms: 300, ..Behaviour::default() }).await;
    let id = fixture.buy(fixture.user().await).await;
    let processor = fixture.processor();
    let (one, other) = tokio::join!(processor.drive(id, None), processor.drive(id, None));
    assert_eq!(one, Outcome::Done);
    assert!(matches!(other, Outcome::RetryAfter(_)));
    assert_eq!(fixture.names(id).await, ["ActivationRequested", "Processing", "Succeeded"]);
    let length = super::everything(&fixture.log).await.len();
    assert_eq!(processor.drive(id, None).await, Outcome::Done, "final: nothing to do");
    assert_eq!(super::everything(&fixture.log).await.len(), length);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_drive_the_same_purchases_do_each_once() {
    let fixture = Fixture::new(Behaviour { latency_ms: 20, ..Behaviour::default() }).await;
    let user = fixture.user().await;
    let ids = join_all((0..20).map(|_| fixture.buy(user))).await;
    let processors = [fixture.processor(), fixture.another().await, fixture.another().await];
    let processors = &processors;
    let drives = ids.iter().flat_map(|id| processors.iter().map(|processor| processor.drive(*id, None)));
    join_all(drives).await;
    fixture.until_succeeded(&ids).await;
    assert_eq!(fixture.balance(user).await, Money::from_hundredths(100_000 - 20 * 1_000));
    assert_eq!(fixture.activations().len(), 20);
    assert!(fixture.activations().values().all(|times| *times == 1));
    for id in ids {
        assert_eq!(fixture.names(id).await.iter().filter(|name| *name == "Succeeded").count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_the_log_does_not_know_is_parked() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let unknown = TransactionId(Uuid::now_v7());
    assert!(matches!(fixture.processor().drive(unknown, None).await, Outcome::Park { .. }));
    assert!(fixture.activations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_the_account_cannot_hold_is_parked_and_done_when_a_person_requeues_it() {
    let refused = HashSet::from([Uuid::from_u128(7)]);
    let fixture = Fixture::new(Behaviour { reject_offers: refused, ..Behaviour::default() }).await;
    let user = fixture.user().await;
    let id = fixture.buy(user).await;
    let account = async |command| {
        let plan = Plan::new().command(AggregateCommand::Account(user.into(), command));
        fixture.log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
    };
    let amount = Money::from_hundredths(999_999_999_999_999_999 - 99_000);
    account(account::Command::Credit { amount }).await;
    let parked = sweep(&fixture).await;
    let mut waiting = Vec::new();
    eventually("it is parked", async || {
        waiting = parked.waiting(None, 10).await.unwrap().items;
        !waiting.is_empty()
    })
    .await;
    assert_eq!(waiting[0].reason, format!("account {} cannot hold that much", AccountId::from(user)));
    assert_eq!(fixture.names(id).await, ["ActivationRequested", "Processing"]);

    account(account::Command::Debit { amount }).await;
    let (log, rechecks) = (fixture.log.clone(), fixture.parts.rechecks());
    let requeued = RequeuedActivations::new(parked.clone(), log, fixture.processor(), rechecks);
    tokio::spawn(requeued.run(fixture.stop.clone()));
    let (by, now) = (Actor::system("test"), fixture.clock.now().utc());
    parked.requeue(waiting[0].id, &by, now).await.unwrap().unwrap();
    eventually("it is refunded", async || fixture.names(id).await.ends_with(&["Refunded".to_owned()])).await;
    assert_eq!(fixture.balance(user).await, Money::from_hundredths(100_000));
    let handled = async || parked.find(waiting[0].id).await.unwrap().unwrap().resumed_at.is_some();
    eventually("it is handled", handled).await;
}
