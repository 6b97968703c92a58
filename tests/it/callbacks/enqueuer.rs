//! Which partners get a callback, of what, and that no callback is enqueued twice.

use super::receiver::Receiver;
use super::{Fixture, failed, purchase, succeeded, text};
use crate::support::eventually::eventually;
use chrono::TimeDelta;
use domain::transaction::Kind;
use domain::{AccountId, Metadata, Money, UserId, account};
use offers::event_log::{AggregateCommand, Sink, follow};
use offers::identity::{Actor, CallbackUrl, PartnerChange};
use offers::processors::callbacks::Status;
use redis::AsyncCommands;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use standardwebhooks::Webhook;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long an announcer is watched that must not go on.
const TOO_EARLY: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_final_purchase_calls_its_partner_back_signed_so_that_others_can_verify_it() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::answering(204).await;
    let partner = fixture.partner(&receiver.url).await;
    let good = fixture.sell(partner.id, None, succeeded()).await;
    let bad = fixture.sell(partner.id, None, failed()).await;
    fixture.project_and_enqueue().await;
    assert_eq!(fixture.drain(&mut fixture.sender()).await, 2);

    let webhook = Webhook::new(text(&partner.secret)).unwrap();
    let requests = receiver.requests();
    for (id, kind, status, last) in [
        (good, "transaction.succeeded", "SUCCESS", "Succeeded"),
        (bad, "transaction.failed", "FAILED", "Failed"),
    ] {
        let view = fixture.readers.transaction(id).await.unwrap().unwrap();
        let request = requests.iter().find(|request| request.json()["type"] == kind).unwrap();
        webhook.verify(request.body.as_bytes(), &request.head).unwrap();
        let tampered = request.body.replace("19.99", "0.01");
        assert!(webhook.verify(tampered.as_bytes(), &request.head).is_err());
        assert_eq!(request.header("content-type"), "application/json");

        let events = fixture
            .log
            .search(&offers::event_log::Filter::default(), offers::event_log::Span::ALL, 100)
            .await
            .unwrap();
        let mut events = events.iter().filter(|event| event.aggregate_id == id.to_string());
        let requested: Value = serde_json::from_str(&events.next().unwrap().payload).unwrap();
        let event = events.find(|event| event.event_type == last).unwrap();
        assert_eq!(request.id(), event.event_id.to_string());
        let expected = json!({
            "type": kind,
            "timestamp": event.recorded_at,
            "data": {
                "reference": requested["reference"],
                "partner_reference": "order 7",
                "transaction_id": id,
                "user_id": Uuid::from_u128(5),
                "offer_id": Uuid::from_u128(7),
                "amount": "19.99",
                "status": status,
                "created_at": view.created_at,
                "updated_at": view.updated_at,
                "is_valid": true,
            },
        });
        assert_eq!(request.json(), expected);
    }
    let delivered = fixture.callbacks.list(Some(Status::Delivered), None, 50).await.unwrap().items;
    assert_eq!(delivered.len(), 2);
    assert!(delivered.iter().all(|one| one.last_status == Some(204) && one.delivered_at.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_partners_with_a_url_are_called_back_and_at_the_purchases_own_url_if_it_has_the_same_origin() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::answering(200).await;
    let partner = fixture.partner(&receiver.url).await;
    let mute = fixture.partner(&receiver.url).await;
    let nowhere = PartnerChange { callback_url: Some(None), ..PartnerChange::default() };
    let now = fixture.clock.now().utc();
    fixture.identity.update_partner(mute.id, &nowhere, &Actor::system("test"), now).await.unwrap();

    fixture.sell(mute.id, Some(&receiver.url), succeeded()).await;
    let user = UserId(Uuid::now_v7());
    let amount = Money::from_hundredths(10_000);
    let credit = AggregateCommand::Account(user.into(), account::Command::Credit { amount });
    fixture.execute(&Metadata::system("test", Uuid::now_v7()), credit).await;
    let of_a_user = domain::transaction::ActivationRequested {
        kind: Kind::Partner,
        user_id: user,
        account_id: AccountId::from(user),
        partner_id: None,
        ..purchase(partner.id)
    };
    fixture.finish(of_a_user, Some(&receiver.url), succeeded()).await;
    fixture.sell(partner.id, Some(&receiver.url.replace("/hook", "/mine")), succeeded()).await;
    fixture.sell(partner.id, Some("http://elsewhere.example/"), succeeded()).await;

    fixture.project_and_enqueue().await;
    fixture.drain(&mut fixture.sender()).await;
    let mut paths: Vec<_> = receiver.requests().into_iter().map(|request| request.path).collect();
    paths.sort();
    assert_eq!(paths, ["/hook", "/mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_goes_to_the_whole_url_although_events_have_no_query() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::answering(200).await;
    let partner = fixture.partner(&receiver.url).await;
    let request = purchase(partner.id);
    let mine = receiver.url.replace("/hook", "/mine");
    let whole = CallbackUrl::parse(&format!("{mine}?token=secret")).unwrap();
    let reference = request.reference.clone().unwrap();
    fixture.callbacks.keep_own_url(&reference, &whole).await.unwrap();
    let repeated = CallbackUrl::parse(&format!("{mine}?token=another")).unwrap();
    fixture.callbacks.keep_own_url("REF-OFAREPEAT000", &repeated).await.unwrap();
    fixture.finish(request, Some(whole.without_query()), succeeded()).await;
    fixture.project_and_enqueue().await;
    fixture.drain(&mut fixture.sender()).await;
    let paths: Vec<_> = receiver.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/mine?token=secret"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_partner_gets_no_callbacks_until_it_is_enabled_again() {
    let fixture = Fixture::new().await;
    let receiver = Receiver::answering(200).await;
    let partner = fixture.partner(&receiver.url).await;
    let switch = async |is_active| {
        let change = PartnerChange { is_active: Some(is_active), ..PartnerChange::default() };
        let now = fixture.clock.now().utc();
        fixture.identity.update_partner(partner.id, &change, &Actor::system("test"), now).await.unwrap();
    };
    switch(false).await;
    fixture.sell(partner.id, None, succeeded()).await;
    fixture.project_and_enqueue().await;
    let mut sender = fixture.sender();
    assert_eq!(fixture.drain(&mut sender).await, 0);
    let held = fixture.delivery().await;
    assert_eq!((held.status, held.attempts.len()), (Status::Pending, 0));
    fixture.callbacks.resend(held.id, &Actor::system("test")).await.unwrap();
    assert_eq!(fixture.drain(&mut sender).await, 0, "a resend waits too");
    switch(true).await;
    assert_eq!(fixture.drain(&mut sender).await, 1);
    assert_eq!(fixture.delivery().await.status, Status::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn replaying_the_log_enqueues_nothing_twice() {
    let fixture = Fixture::new().await;
    let partner = fixture.partner("http://p.example/").await;
    for _ in 0..3 {
        fixture.sell(partner.id, None, succeeded()).await;
    }
    fixture.project_and_enqueue().await;
    assert_eq!(fixture.deliveries().await.len(), 3);
    let page = fixture.log.page(0, 100).await.unwrap();
    assert!(fixture.announcer().apply(&page).await.is_err(), "the checkpoint has moved on");

    let rewind = sqlx::query("update callback_checkpoint set position = 0");
    rewind.execute(&fixture.pool).await.unwrap();
    fixture.enqueue().await.unwrap();
    assert_eq!(fixture.deliveries().await.len(), 3);
    assert_eq!(fixture.announcer().checkpoint().await.unwrap(), fixture.log.head().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_is_called_back_reads_the_same_from_redis() {
    let fixture = Fixture::new().await;
    let partner = fixture.partner("http://p.example/").await;
    let id = fixture.sell(partner.id, None, succeeded()).await; // nobody feeds the hashes here
    fixture.project_and_enqueue().await;
    assert_eq!(fixture.deliveries().await.len(), 1);
    let redis = redis::Client::open(fixture.redis_url.as_str()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let status: Option<String> = redis.hget(format!("transaction:{id}"), "status").await.unwrap();
    assert_eq!(status.as_deref(), Some("SUCCESS"), "it was written before the callback was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_callback_is_sent_before_the_read_tables_have_it() {
    let fixture = Arc::new(Fixture::new().await);
    let partner = fixture.partner("http://p.example/").await;
    fixture.sell(partner.id, None, succeeded()).await;
    let page = fixture.log.page(0, 100).await.unwrap();
    let too_early = timeout(TOO_EARLY, fixture.announcer().apply(&page)).await;
    assert!(too_early.is_err(), "it waits for the read tables");
    assert!(fixture.deliveries().await.is_empty());
    let stop = CancellationToken::new();
    tokio::spawn(follow(fixture.log.feed(), fixture.announcer(), stop.clone()));
    fixture.project().await;
    eventually("the delivery is there", async || fixture.deliveries().await.len() == 1).await;
    stop.cancel();
}

/// The log of a fixture, its balances aside.
struct Restorable {
    owner: PgConnection,
    head: i64,
}

impl Restorable {
    async fn save(fixture: &Fixture) -> Self {
        let mut owner = PgConnection::connect(&fixture.owner_url).await.unwrap();
        sqlx::raw_sql("create table saved as table accounts").execute(&mut owner).await.unwrap();
        Self { owner, head: fixture.log.head().await.unwrap() }
    }

    async fn restore(mut self) {
        let restore = format!(
            "alter table events disable trigger user;
             delete from events where position > {};
             alter table events enable trigger user;
             update accounts set balance = saved.balance from saved where saved.account_id = accounts.account_id",
            self.head
        );
        sqlx::raw_sql(&restore).execute(&mut self.owner).await.unwrap();
    }
}

/// Brings the read tables to the head of a log that was restored.
async fn project_again(fixture: &Fixture) {
    let mut tables = fixture.parts.read_tables();
    loop {
        let at = tables.checkpoint().await.unwrap();
        let page = fixture.log.page(at, 100).await.unwrap();
        if page.is_empty() {
            return;
        }
        tables.apply(&page).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_of_the_log_nothing_is_told_again_and_nothing_new_is_skipped() {
    for new in [0, 1, 3] {
        let fixture = Fixture::new().await;
        let partner = fixture.partner("http://p.example/").await;
        sqlx::query("insert into mail_checkpoint (position) values (0)")
            .execute(&fixture.pool)
            .await
            .unwrap();
        fixture.sell(partner.id, None, succeeded()).await;
        fixture.project_and_enqueue().await;
        let log = Restorable::save(&fixture).await;
        let lost = [
            fixture.sell(partner.id, None, succeeded()).await,
            fixture.sell(partner.id, None, failed()).await,
        ];
        fixture.project_and_enqueue().await;
        // Told, and purged since: their rows cannot keep a second callback back.
        let purge = sqlx::query("delete from callback_deliveries where transaction_id <> $1");
        purge.bind(lost[0].0).execute(&fixture.pool).await.unwrap();

        fixture.clock.advance(TimeDelta::minutes(1));
        log.restore().await;
        let mut expected = vec![lost[0]];
        for _ in 0..new {
            expected.push(fixture.sell(partner.id, None, succeeded()).await);
        }
        project_again(&fixture).await;
        fixture.enqueue().await.unwrap();
        let later = fixture.sell(partner.id, None, succeeded()).await;
        expected.push(later);
        fixture.project_and_enqueue().await;

        let mut told: Vec<_> =
            fixture.deliveries().await.iter().filter_map(|one| one.transaction_id).collect();
        told.sort();
        expected.sort();
        assert_eq!(told, expected, "{new} purchases before the announcer looked");
        let mails: i64 =
            sqlx::query_scalar("select count(*) from sent_mail").fetch_one(&fixture.pool).await.unwrap();
        assert_eq!(mails, 1 + 2 + new + 1, "a mail for each purchase, also for those that are lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_lost_is_set_again_by_what_was_announced_last() {
    for table in ["callback_checkpoint", "mail_checkpoint"] {
        let fixture = Fixture::new().await;
        let partner = fixture.partner("http://p.example/").await;
        sqlx::query("insert into mail_checkpoint (position) values (0)")
            .execute(&fixture.pool)
            .await
            .unwrap();
        fixture.sell(partner.id, None, succeeded()).await;
        fixture.project_and_enqueue().await;
        sqlx::query("delete from callback_deliveries").execute(&fixture.pool).await.unwrap(); // told long ago
        let mut owner = PgConnection::connect(&fixture.owner_url).await.unwrap();
        sqlx::query(&format!("truncate {table}")).execute(&mut owner).await.unwrap();
        let new = fixture.sell(partner.id, None, failed()).await;
        fixture.project_and_enqueue().await;
        let told: Vec<_> = fixture.deliveries().await.iter().map(|one| one.transaction_id).collect();
        assert_eq!(told, [Some(new)], "without {table}");
        let mails: i64 =
            sqlx::query_scalar("select count(*) from sent_mail").fetch_one(&fixture.pool).await.unwrap();
        assert_eq!(mails, 2, "without {table}");
    }
}
