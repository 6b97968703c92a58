//! What operators and partners ask for: lists, resending, pings, rotations.

use super::receiver::{Receiver, Reply};
use super::{Fixture, succeeded, text};
use chrono::TimeDelta;
use offers::identity::{Actor, CallbackUrl, PartnerChange};
use offers::processors::callbacks::{Error, Status};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use standardwebhooks::Webhook;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_signed_and_one_that_waits_is_not_joined_by_another() {
    let fixture = Fixture::new().await;
    let broken = Arc::new(AtomicBool::new(true));
    let receiver = Receiver::new({
        let broken = broken.clone();
        move |_| Reply::Status(if broken.load(Ordering::SeqCst) { 500 } else { 200 }, "")
    })
    .await;
    let partner = fixture.partner(&receiver.url).await;
    let mut sender = fixture.sender();
    let first = fixture.callbacks.enqueue_ping(partner.id).await.unwrap();
    assert_eq!(fixture.drain(&mut sender).await, 1);
    broken.store(false, Ordering::SeqCst);
    assert_eq!(fixture.drain(&mut sender).await, 0, "the next try is not due");
    assert_eq!(fixture.callbacks.enqueue_ping(partner.id).await.unwrap(), first);
    assert_eq!(fixture.drain(&mut sender).await, 1, "asked for again, it is tried at once");
    assert_ne!(fixture.callbacks.enqueue_ping(partner.id).await.unwrap(), first);

    let ping = &receiver.requests()[1];
    Webhook::new(text(&partner.secret)).unwrap().verify(ping.body.as_bytes(), &ping.head).unwrap();
    assert_eq!(ping.json(), json!({"type": "ping", "timestamp": fixture.clock.now(), "data": {}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_needs_an_endpoint() {
    let fixture = Fixture::new().await;
    let nobody = fixture.callbacks.enqueue_ping(Uuid::now_v7().into()).await;
    assert!(matches!(nobody, Err(Error::Identity(offers::identity::Error::PartnerNotFound))));
    let partner = fixture.partner("http://p.example/").await;
    let change = PartnerChange { callback_url: Some(None), ..PartnerChange::default() };
    let now = fixture.clock.now().utc();
    fixture.identity.update_partner(partner.id, &change, &Actor::system("test"), now).await.unwrap();
    assert!(matches!(fixture.callbacks.enqueue_ping(partner.id).await, Err(Error::NoCallbackUrl)));
}

#[tokio::test(flavor = "multi_thread")]
async fn during_a_rotation_the_old_secret_and_the_new_one_verify() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::answering(200).await;
    let partner = fixture.partner(&receiver.url).await;
    let (by, now) = (Actor::system("test"), fixture.clock.now().utc());
    let new = fixture.identity.rotate_webhook_secret(partner.id, &by, now).await.unwrap();
    fixture.callbacks.enqueue_ping(partner.id).await.unwrap();
    fixture.drain(&mut fixture.sender()).await;
    let request = &receiver.requests()[0];
    assert_eq!(request.header("webhook-signature").split(' ').count(), 2);
    for secret in [&new, &partner.secret] {
        let webhook = Webhook::new(text(secret)).unwrap();
        webhook.verify(request.body.as_bytes(), &request.head).unwrap();
    }

    fixture.clock.advance(TimeDelta::hours(25));
    fixture.callbacks.enqueue_ping(partner.id).await.unwrap();
    fixture.drain(&mut fixture.sender()).await;
    assert_eq!(receiver.requests()[1].header("webhook-signature").split(' ').count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_walked_newest_first_by_status() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::answering(200).await;
    let partner = fixture.partner(&receiver.url).await;
    let events: Vec<_> = (1..=5).map(|position| (Uuid::now_v7(), position)).collect();
    fixture.waiting(partner.id, &receiver.url, &events).await;
    let first = fixture.callbacks.list(Some(Status::Pending), None, 2).await.unwrap();
    let second = fixture.callbacks.list(Some(Status::Pending), first.next, 2).await.unwrap();
    let third = fixture.callbacks.list(Some(Status::Pending), second.next, 2).await.unwrap();
    assert_eq!(third.next, None);
    let walked: Vec<_> = [first.items, second.items, third.items].concat();
    let transactions: Vec<_> = walked.iter().filter_map(|one| one.transaction_id).map(|id| id.0).collect();
    let newest_first: Vec<_> = events.iter().rev().map(|(transaction, _)| *transaction).collect();
    assert_eq!(transactions, newest_first);
    assert!(fixture.callbacks.list(Some(Status::Parked), None, 2).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_can_be_sent_again_to_where_the_partner_is_now() {
    let fixture = Fixture::new().await;
    let (old, new) = (Receiver::answering(200).await, Receiver::answering(200).await);
    let partner = fixture.partner(&old.url).await;
    fixture.sell(partner.id, None, succeeded()).await;
    fixture.project_and_enqueue().await;
    let mut sender = fixture.sender();
    fixture.drain(&mut sender).await;
    let moved =
        PartnerChange { callback_url: Some(CallbackUrl::parse(&new.url).ok()), ..PartnerChange::default() };
    let now = fixture.clock.now().utc();
    fixture.identity.update_partner(partner.id, &moved, &Actor::system("test"), now).await.unwrap();

    fixture.callbacks.resend(fixture.delivery().await.id, &Actor::system("test")).await.unwrap();
    assert_eq!(fixture.drain(&mut sender).await, 1);
    let (first, again) = (&old.requests()[0], &new.requests()[0]);
    assert_eq!((first.id(), &first.body), (again.id(), &again.body));
    assert_eq!(fixture.delivery().await.url, new.url);
    assert!(matches!(
        fixture.callbacks.resend(Uuid::now_v7(), &Actor::system("test")).await,
        Err(Error::DeliveryNotFound)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_attempts_of_a_delivery_are_kept() {
    const KEPT: usize = 10;
    let fixture = Fixture::new().await;
    let receiver = Receiver::answering(500).await;
    let partner = fixture.partner(&receiver.url).await;
    let id = fixture.callbacks.enqueue_ping(partner.id).await.unwrap();
    let mut sender = fixture.sender();
    let mut made = Vec::new();
    for _ in 0..KEPT + 2 {
        fixture.clock.advance(TimeDelta::seconds(1));
        made.push(fixture.clock.now());
        fixture.callbacks.resend(id, &Actor::system("test")).await.unwrap();
        assert_eq!(fixture.drain(&mut sender).await, 1);
    }
    let kept: Vec<_> = fixture.delivery().await.attempts.iter().map(|attempt| attempt.at).collect();
    assert_eq!(kept, made[2..], "oldest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_many_deliveries_is_read_by_an_index_and_not_sorted() {
    let fixture = Fixture::new().await;
    let (busy, quiet) = (Uuid::now_v7(), Uuid::now_v7());
    for (partner, count) in [(busy, 30_000), (quiet, 3_000)] {
        let events: Vec<_> = (1..=count).map(|position| (Uuid::now_v7(), position)).collect();
        fixture.waiting(partner.into(), "https://shop.example/", &events).await;
    }
    let mut owner = PgConnection::connect(&fixture.owner_url).await.unwrap();
    for prepare in [
        "update callback_deliveries set status =
             case position % 10 when 0 then 'parked' when 1 then 'pending' else 'delivered' end",
        "vacuum analyze callback_deliveries",
    ] {
        sqlx::query(prepare).execute(&mut owner).await.unwrap();
    }
    let transaction: Uuid = sqlx::query_scalar("select transaction_id from callback_deliveries limit 1")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    for (partner, status, transaction) in [
        (Some(busy), None, None),
        (Some(quiet), None, None),
        (Some(busy), Some(Status::Parked), None),
        (Some(busy), Some(Status::Pending), None),
        (Some(quiet), Some(Status::Delivered), None),
        (Some(busy), None, Some(transaction)),
        (Some(quiet), Some(Status::Parked), Some(transaction)),
        (None, None, None),
        (None, Some(Status::Parked), None),
    ] {
        for after in [None, Some(Uuid::now_v7())] {
            let page = concat!("explain ", include_str!("../../../src/processors/callbacks/list.sql"));
            let plan: Vec<String> = sqlx::query_scalar(page)
                .bind(partner)
                .bind(status.map(|status| status.into_str()))
                .bind(transaction)
                .bind(after)
                .bind(51_i64)
                .persistent(false)
                .fetch_all(&mut owner)
                .await
                .unwrap();
            let plan = plan.join("\n");
            let read = plan.contains("Index Scan") && !plan.contains("Seq Scan") && !plan.contains("Sort");
            assert!(read, "{partner:?} {status:?} {transaction:?}: {plan}");
        }
    }
}
