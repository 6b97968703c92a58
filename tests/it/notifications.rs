//! Mail, from events in the log to a mail server of the test's own.

mod encrypted;
pub mod mail_server;
pub mod office;

use crate::schedules::world::{World, activation};
use crate::support::eventually::eventually;
use chrono::Duration;
use domain::transaction::{ActivationRequested, Kind};
use domain::{AccountId, PartnerId, SubscriptionId, UserId, user_offer};
use mail_server::{MailServer, Mood};
use offers::event_log::{AggregateCommand, Sink};
use offers::identity::{Actor, UserChange};
use offers::processors::{Parked, Unhandled};
use office::{Office, events_of, office, send_all};
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::time::timeout;
use uuid::Uuid;

/// How long an announcer is watched that must not go on.
const TOO_EARLY: std::time::Duration = std::time::Duration::from_millis(300);

async fn announce(world: &World, subscription: SubscriptionId) {
    let state = world.log.reload::<user_offer::UserOffer>(subscription.0).await.unwrap().state;
    let user_offer::UserOffer::Subscribed(subscribed) = state else { panic!("it was bought") };
    let announce = user_offer::Command::AnnounceExpiry { expires_at: subscribed.expires_at };
    world.execute(vec![AggregateCommand::UserOffer(subscription, announce)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_told_of_success_failure_renewal_and_a_near_end() {
    let (office, server) = office().await;
    let sender = office.open().await;
    let world = &office.world;
    let alice = office.rich("alice").await;
    let (_, subscription) = world.buy(alice, 30).await;
    world.renew(alice, subscription, 30).await;
    world.fail(activation(alice, 30)).await;
    announce(world, subscription).await;
    office.until_noted(4).await;
    assert_eq!(send_all(&[&sender]).await, 4);

    let mut mails = server.received();
    assert_eq!(events_of(&mails), office.told_events().await);
    mails.sort_by_key(|mail| mail.header("Subject").to_owned());
    let subjects: Vec<&str> = mails.iter().map(|mail| mail.header("Subject")).collect();
    assert_eq!(subjects, ["TV could not be activated", "TV ends soon", "TV is active", "TV was renewed"]);
    for (mail, said) in mails.iter().zip([
        "TV could not be activated: there is no capacity\r\n\r\n9.99 EUR is back on your balance.",
        "TV ends on 30 April 2026, 09:00 UTC. Renew it before then",
        "TV is active until 31 March 2026, 09:00 UTC.\r\n\r\nPrice: 9.99 EUR, taken from your balance.",
        "TV goes on until 30 April 2026, 09:00 UTC.\r\n\r\nPrice: 9.99 EUR, taken from your balance.",
    ]) {
        assert!(mail.body().starts_with("Hello alice,\r\n\r\n"), "{}", mail.text);
        assert!(mail.body().contains(said), "{}", mail.text);
        assert_eq!((mail.to.as_str(), mail.header("To")), ("alice@example.com", "alice@example.com"));
        assert_eq!(mail.header("From"), "Offers <offers@shop.example>");
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        assert_eq!(mail.header("Date"), "Sun, 01 Mar 2026 09:00:00 +0000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_did_not_pay_reads_nothing_about_money() {
    let (office, server) = office().await;
    let sender = office.open().await;
    let alice = office.rich("alice").await;
    let partner = PartnerId(Uuid::now_v7());
    office.world.pay_in(UserId(partner.0)).await;
    let request = ActivationRequested {
        kind: Kind::Partner,
        account_id: AccountId::from(partner),
        partner_id: Some(partner),
        ..activation(alice, 30)
    };
    office.world.fail(request).await;
    office.until_noted(1).await;
    send_all(&[&sender]).await;
    let mails = server.received();
    assert!(mails[0].body().contains("\r\n\r\nNothing was taken from your balance."), "{}", mails[0].text);
    assert!(!mails[0].text.contains("EUR"), "{}", mails[0].text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_without_a_mail_server_delays_mail_and_nothing_else() {
    let (office, mut server) = office().await;
    let sender = office.open().await;
    let world = &office.world;
    let alice = office.rich("alice").await;
    server.stop().await;
    for minute in 0..60 {
        world.buy(alice, 30).await;
        office.until_noted(minute + 1).await; // whether mail can be sent or not
        send_all(&[&sender]).await;
        world.clock.advance(Duration::minutes(1));
    }
    office.until_heard().await;
    assert_eq!(office.states().await, [("pending".to_owned(), 60)].into());
    let tries = sqlx::query("select sum(attempts)::bigint as tries from sent_mail");
    let tries: i64 = tries.fetch_one(&world.parts.pool).await.unwrap().get("tries");
    assert!(tries <= 20, "{tries} tries for a server that was not there for an hour");

    server.restart().await;
    for _ in 0..12 {
        send_all(&[&sender]).await;
        world.clock.advance(Duration::minutes(10));
    }
    assert_eq!(office.states().await, [("sent".to_owned(), 60)].into());
    assert_eq!(events_of(&server.received()), office.told_events().await, "each once");
    assert!(server.connections() < 60, "connections carry more than one mail");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_delivered_again_is_mailed_once() {
    let (office, server) = office().await;
    let notifications = office.notifications().await;
    let sender = notifications.sender();
    office.hear(&notifications);
    let alice = office.rich("alice").await;
    for _ in 0..20 {
        office.world.buy(alice, 30).await;
    }
    office.until_noted(20).await;
    send_all(&[&sender]).await;

    // Another process follows too, and the log is read again from the start.
    office.hear(&office.notifications().await);
    office.world.buy(alice, 30).await;
    office.until_noted(21).await;
    let rewind = sqlx::query("update mail_checkpoint set position = 0");
    rewind.execute(&office.world.parts.pool).await.unwrap();
    office.world.buy(alice, 30).await;
    office.until_noted(22).await;
    office.until_heard().await;
    send_all(&[&sender]).await;
    assert_eq!(events_of(&server.received()), office.told_events().await);
    assert_eq!(office.states().await, [("sent".to_owned(), 22)].into());
}

/// Mails were noted by consumers of NATS, in any order, when the version before was stopped.
#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_is_upgraded_forgets_nobody() {
    const MIGRATION: &str = include_str!("../../migrations/0052_mail_checkpoint.sql");
    let (office, _server) = office().await;
    let alice = office.rich("alice").await;
    let start = office.world.log.head().await.unwrap();
    office.open().await;
    for _ in 0..3 {
        office.world.buy(alice, 30).await;
    }
    office.until_noted(3).await;

    let mut owner = PgConnection::connect(&office.world.corner.database_owner_url).await.unwrap();
    let forgotten = "delete from sent_mail
         where position = (select position from sent_mail order by position offset 1 limit 1) returning position";
    let forgotten: i64 = sqlx::query_scalar(forgotten).fetch_one(&mut owner).await.unwrap();
    let began = sqlx::query("insert into mail_start (position) values ($1)").bind(start);
    began.execute(&mut owner).await.unwrap();
    let data = MIGRATION.find("insert into").unwrap();
    let upgrade = format!(
        "begin; delete from mail_checkpoint; {}; commit",
        MIGRATION[data..].trim_end_matches([';', '\n'])
    );
    owner.execute(sqlx::raw_sql(&upgrade)).await.unwrap();
    office.hear(&office.notifications().await);
    office.until_noted(3).await;
    office.until_heard().await;
    let noted = sqlx::query("select 1 from sent_mail where position = $1").bind(forgotten);
    assert!(noted.fetch_optional(&office.world.parts.pool).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_mail_was_switched_on_is_not_mailed() {
    let (office, server) = office().await;
    let alice = office.rich("alice").await;
    office.world.buy(alice, 30).await;
    let before = office.told_events().await;
    let sender = office.open().await;
    office.world.buy(alice, 30).await;
    office.until_heard().await;
    send_all(&[&sender]).await;
    let mails = events_of(&server.received());
    assert_eq!(mails.len(), 1);
    assert!(!before.contains(&mails[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_before_the_read_tables_show_it() {
    let server = MailServer::start().await;
    let moment = "2026-03-01T09:00:00Z".parse().unwrap();
    let office = Office::unprojected(moment, &server.url()).await;
    let notifications = office.notifications().await;
    let sender = notifications.sender();
    let alice = office.rich("alice").await;
    office.world.buy(alice, 30).await;
    let mut announcer = office.announcer(&notifications);
    let page = office.world.log.page(announcer.checkpoint().await.unwrap(), 100).await.unwrap();
    assert!(timeout(TOO_EARLY, announcer.apply(&page)).await.is_err(), "it waits for the read tables");
    assert_eq!(office.states().await, [].into());
    office.hear(&notifications);
    office.world.project();
    office.until_noted(1).await;
    assert_eq!(send_all(&[&sender]).await, 1);
    assert_eq!(server.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_and_an_unknown_one_get_no_mail() {
    let (office, server) = office().await;
    let sender = office.open().await;
    let (alice, bob) = (office.rich("alice").await, office.rich("bob").await);
    let disabled = UserChange { is_active: Some(false), ..UserChange::default() };
    let now = office.world.clock.now().utc();
    office.identity.update_user(bob, &disabled, &Actor::system("test"), now).await.unwrap();
    for user in [alice, bob, office.world.rich().await] {
        office.world.buy(user, 30).await;
    }
    office.until_noted(3).await;
    send_all(&[&sender]).await;
    let mails = server.received();
    assert_eq!(mails.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), ["alice@example.com"]);
    assert_eq!(office.states().await, [("sent".to_owned(), 1), ("skipped".to_owned(), 2)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_for_nobody_does_not_hold_up_the_next_ones_after_an_outage() {
    let (office, mut server) = office().await;
    let sender = office.open().await;
    let alice = office.rich("alice").await;
    server.stop().await;
    office.world.buy(alice, 30).await;
    office.until_noted(1).await;
    send_all(&[&sender]).await;
    server.restart().await;
    office.world.clock.advance(Duration::seconds(11)); // the server may be tried again, that mail not yet
    let unknown = office.world.rich().await;
    office.world.buy(unknown, 30).await;
    office.until_noted(2).await;
    assert_eq!(send_all(&[&sender]).await, 1);
    assert_eq!(office.states().await, [("pending".to_owned(), 1), ("skipped".to_owned(), 1)].into());
    office.world.buy(alice, 30).await;
    office.until_noted(3).await;
    assert_eq!(send_all(&[&sender]).await, 1);
    assert_eq!(server.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_looked_up_when_the_mail_is_sent() {
    let (office, server) = office().await;
    let sender = office.open().await;
    let alice = office.rich("alice").await;
    office.world.buy(alice, 30).await;
    office.until_noted(1).await;
    let moved = UserChange { email: Some("alice@elsewhere.example".into()), ..UserChange::default() };
    let now = office.world.clock.now().utc();
    office.identity.update_user(alice, &moved, &Actor::system("test"), now).await.unwrap();
    send_all(&[&sender]).await;
    assert_eq!(server.received()[0].to, "alice@elsewhere.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_senders_send_each_mail_once() {
    let (office, server) = office().await;
    let sender = office.open().await;
    let others = [office.notifications().await.sender(), office.notifications().await.sender()];
    let alice = office.rich("alice").await;
    office.world.activate_many(alice, 400, 30).await;
    office.until_noted(400).await;
    assert_eq!(send_all(&[&sender, &others[0], &others[1]]).await, 400);
    assert_eq!(events_of(&server.received()), office.told_events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_mail_is_parked_at_once_and_sent_when_a_person_says_so() {
    let (office, server) = office().await;
    let (world, parked) = (&office.world, Parked::new(office.world.parts.pool.clone()));
    let notifications = office.notifications().await;
    office.hear(&notifications);
    tokio::spawn(notifications.run(world.stop.clone()));
    let alice = office.rich("alice").await;
    server.set(Mood::Answers("550 5.1.1 <alice@example.com> is not known here"));
    world.buy(alice, 30).await;
    eventually("it is parked", async || office.states().await == [("parked".to_owned(), 1)].into()).await;
    let letter = parked.waiting(None, 10).await.unwrap().remove(0);
    let kept = sqlx::query("select last_error from sent_mail").fetch_one(&world.parts.pool).await.unwrap();
    for said in [&letter.reason, &kept.get("last_error")] {
        assert!(said.contains("5.1.1") && !said.contains("alice"), "{said}");
    }
    assert_eq!((letter.consumer.as_str(), letter.subject.as_str()), ("mail", "mail.succeeded"));

    parked.requeue(letter.id, "user:root").await.unwrap().unwrap();
    eventually("it is parked again", async || parked.waiting(None, 10).await.unwrap().len() == 1).await;
    server.set(Mood::Takes);
    parked.requeue(letter.id, "user:root").await.unwrap().unwrap();
    eventually("it is sent", async || office.states().await == [("sent".to_owned(), 1)].into()).await;
    assert_eq!(events_of(&server.received()), office.told_events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_could_not_be_noted_is_noted_when_a_person_says_so() {
    let (office, server) = office().await;
    let (world, parked) = (&office.world, Parked::new(office.world.parts.pool.clone()));
    tokio::spawn(office.notifications().await.run(world.stop.clone()));
    let alice = office.rich("alice").await;
    world.buy(alice, 30).await; // nothing follows the log here
    let position_of = async |name| {
        let all = world.everything().await;
        all.iter().find(|event| event.event_type == name).unwrap().position
    };
    for name in ["Succeeded", "Credited"] {
        let unhandled = Unhandled {
            position: position_of(name).await,
            subject: "a poisoned one".into(),
            event_id: None,
            aggregate_id: None,
            attempts: 1,
            reason: "it cannot be read".into(),
        };
        parked.keep("mail-succeeded", &unhandled).await.unwrap();
    }
    for letter in parked.waiting(None, 10).await.unwrap() {
        parked.requeue(letter.id, "user:root").await.unwrap().unwrap();
    }
    eventually("it is sent", async || office.states().await == [("sent".to_owned(), 1)].into()).await;
    eventually("the other one waits again", async || {
        let waiting = parked.waiting(None, 10).await.unwrap();
        waiting.iter().any(|letter| letter.reason == "there is no mail for the event at this position")
    })
    .await;
    assert_eq!(events_of(&server.received()), office.told_events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_put_off_is_tried_for_days_and_then_parked() {
    let (office, server) = office().await;
    let sender = office.open().await;
    let alice = office.rich("alice").await;
    office.world.buy(alice, 30).await;
    office.until_noted(1).await;
    server.set(Mood::Answers("451 4.7.1 try again later"));
    let (mut tries, mut hours) = (0, 0);
    while office.states().await == [("pending".to_owned(), 1)].into() {
        tries += send_all(&[&sender]).await;
        office.world.clock.advance(Duration::hours(1));
        hours += 1;
        assert!(hours < 24 * 7, "it is never parked");
    }
    assert_eq!(office.states().await, [("parked".to_owned(), 1)].into());
    assert_eq!(tries, 10);
    assert!(hours > 24 * 3, "it was given up after {hours} hours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_answer_is_lost_goes_out_again_as_the_same_message() {
    let (office, server) = office().await;
    let sender = office.open().await;
    let alice = office.rich("alice").await;
    office.world.buy(alice, 30).await;
    office.until_noted(1).await;
    server.set(Mood::TakesAndHangsUp);
    send_all(&[&sender]).await;
    server.set(Mood::Takes);
    office.world.clock.advance(Duration::minutes(2));
    send_all(&[&sender]).await;
    let mails = server.received();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].text, mails[1].text, "whoever gets both can tell");
    assert_eq!(office.states().await, [("sent".to_owned(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_sender_had_claimed_is_sent_by_another() {
    let (office, server) = office().await;
    let sender = office.open().await;
    let alice = office.rich("alice").await;
    office.world.buy(alice, 30).await;
    office.until_noted(1).await;
    server.set(Mood::IsSilent);
    let dies = tokio::spawn(async move { sender.send_due().await });
    eventually("it is being sent", async || server.connections() == 1).await;
    eventually("it is claimed", async || {
        let claimed = sqlx::query("select from sent_mail where attempts = 1");
        claimed.fetch_optional(&office.world.parts.pool).await.unwrap().is_some()
    })
    .await;
    dies.abort();
    let _ = dies.await;
    server.set(Mood::Takes);
    let other = office.notifications().await.sender();
    assert_eq!(send_all(&[&other]).await, 0, "it may still be on its way");
    office.world.clock.advance(Duration::minutes(16));
    assert_eq!(send_all(&[&other]).await, 1);
    assert_eq!(server.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mail_server_each_mail_is_a_file() {
    let directory = std::env::temp_dir().join(format!("offers mail {}", Uuid::now_v7()));
    let url = url::Url::from_directory_path(&directory).unwrap();
    let office = Office::at("2026-03-01T09:00:00Z".parse().unwrap(), url.as_str()).await;
    let sender = office.open().await;
    let alice = office.rich("alice").await;
    office.world.activate_many(alice, 25, 30).await;
    office.until_noted(25).await;
    send_all(&[&sender]).await;
    let mut files: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected: Vec<String> =
        office.told_events().await.iter().map(|event_id| format!("{event_id}.eml")).collect();
    assert_eq!(files, expected);
    let text = std::fs::read_to_string(directory.join(&files[0])).unwrap();
    assert!(text.contains("Subject: TV is active\r\n"), "{text}");
    std::fs::remove_dir_all(&directory).unwrap();
}
