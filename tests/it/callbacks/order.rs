//! In order within a purchase, whatever fails.

use super::Fixture;
use super::receiver::{Receiver, Reply};
use chrono::TimeDelta;
use offers::identity::Actor;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use uuid::Uuid;

const EVENTS: i64 = 8;
/// Fewer than a delivery has tries, so none is parked.
const MOST_FAILURES: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_of_two_purchases_come_in_order_each_though_the_receiver_fails_at_random() {
    let fixture = Fixture::new().await;
    let failures: Mutex<HashMap<String, u32>> = Mutex::default();
    let taken: &'static Mutex<HashSet<String>> = Box::leak(Box::default());
    let receiver = Receiver::new(move |request| {
        let mut failures = failures.lock().unwrap();
        let failed = failures.entry(request.id().to_owned()).or_default();
        if *failed < MOST_FAILURES && rand::random_bool(0.4) {
            *failed += 1;
            return if rand::random_bool(0.5) { Reply::Status(503, "") } else { Reply::Close };
        }
        taken.lock().unwrap().insert(request.id().to_owned());
        Reply::Status(200, "")
    })
    .await;
    let partner = fixture.partner(&receiver.url).await;
    let purchases = [Uuid::now_v7(), Uuid::now_v7()];
    for position in 1..=EVENTS {
        let events = purchases.map(|purchase| (purchase, position));
        fixture.waiting(partner.id, &receiver.url, &events).await;
    }
    let (mut one, mut other) = (fixture.sender(), fixture.sender());
    while taken.lock().unwrap().len() < 2 * usize::try_from(EVENTS).unwrap() {
        tokio::join!(fixture.drain(&mut one), fixture.drain(&mut other));
        fixture.clock.advance(TimeDelta::hours(12)); // beyond every delay
    }
    for purchase in purchases {
        let requests = receiver
            .requests()
            .into_iter()
            .filter(|request| request.json()["transaction"].as_str() == Some(purchase.to_string().as_str()));
        let positions: Vec<_> =
            requests.map(|request| request.json()["position"].as_i64().unwrap()).collect();
        assert!(positions.is_sorted(), "{positions:?}");
        assert_eq!(positions.iter().collect::<HashSet<_>>().len(), usize::try_from(EVENTS).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_resent_does_not_overtake() {
    let fixture = Fixture::new().await;
    let receiver =
        Receiver::new(|request| Reply::Status(if request.json()["position"] == 1 { 500 } else { 200 }, ""))
            .await;
    let partner = fixture.partner(&receiver.url).await;
    let purchase = Uuid::now_v7();
    fixture.waiting(partner.id, &receiver.url, &[(purchase, 1), (purchase, 2)]).await;
    let mut sender = fixture.sender();
    assert_eq!(fixture.drain(&mut sender).await, 1, "the second waits for the first");
    let second = fixture.deliveries().await.remove(0);
    fixture.callbacks.resend(second.id, &Actor::system("test")).await.unwrap();
    assert_eq!(fixture.drain(&mut sender).await, 0, "asking for it does not change that");
    for _ in 0..6 {
        fixture.clock.advance(TimeDelta::hours(12));
        fixture.drain(&mut sender).await;
    }
    let positions: Vec<_> = receiver.requests().iter().map(|one| one.json()["position"].clone()).collect();
    assert_eq!(positions, [1, 1, 1, 1, 1, 1, 1, 2], "once the first is parked the second goes");
}
