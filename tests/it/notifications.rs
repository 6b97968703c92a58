//! Mail, from events in the log to a mail server of the test's own.

mod encrypted;
pub mod fixture;
pub mod mail_server;

use crate::schedules::fixture::{Fixture, activation};
use crate::support::eventually::eventually;
use chrono::Duration;
use domain::transaction::{ActivationRequested, Kind};
use domain::{AccountId, PartnerId, SubscriptionId, UserId, user_offer};
use fixture::{MailFixture, events_of, mail_fixture, send_all};
use mail_server::{MailServer, Mood};
use offers::event_log::{AggregateCommand, Sink, follow};
use offers::identity::{Actor, UserChange};
use offers::processors::{Parked, Unhandled};
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::time::timeout;
use uuid::Uuid;

/// How long an announcer is watched that must not go on.
const TOO_EARLY: std::time::Duration = std::time::Duration::from_millis(300);

async fn announce(base: &Fixture, subscription: SubscriptionId) {
    let state = base.log.reload::<user_offer::UserOffer>(subscription.0).await.unwrap().state;
    let user_offer::UserOffer::Subscribed(subscribed) = state else { panic!("it was bought") };
    let announce = user_offer::Command::AnnounceExpiry { expires_at: subscribed.expires_at };
    base.execute(vec![AggregateCommand::UserOffer(subscription, announce)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_get_mail_about_success_failure_renewal_and_a_near_end() {
    let (fixture, server) = mail_fixture().await;
    let sender = fixture.open().await;
    let base = &fixture.base;
    let alice = fixture.rich("alice").await;
    let (_, subscription) = base.buy(alice, 30).await;
    base.renew(alice, subscription, 30).await;
    base.fail(activation(alice, 30)).await;
    announce(base, subscription).await;
    fixture.until_noted(4).await;
    assert_eq!(send_all(&[&sender]).await, 4);

    let mut mails = server.received();
    assert_eq!(events_of(&mails), fixture.mailed_events().await);
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
    let (fixture, server) = mail_fixture().await;
    let sender = fixture.open().await;
    let alice = fixture.rich("alice").await;
    let partner = PartnerId(Uuid::now_v7());
    fixture.base.pay_in(UserId(partner.0)).await;
    let request = ActivationRequested {
        kind: Kind::Partner,
        account_id: AccountId::from(partner),
        partner_id: Some(partner),
        ..activation(alice, 30)
    };
    fixture.base.fail(request).await;
    fixture.until_noted(1).await;
    send_all(&[&sender]).await;
    let mails = server.received();
    assert!(mails[0].body().contains("\r\n\r\nNothing was taken from your balance."), "{}", mails[0].text);
    assert!(!mails[0].text.contains("EUR"), "{}", mails[0].text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_without_a_mail_server_delays_mail_and_nothing_else() {
    let (fixture, mut server) = mail_fixture().await;
    let sender = fixture.open().await;
    let base = &fixture.base;
    let alice = fixture.rich("alice").await;
    server.stop().await;
    for minute in 0..60 {
        base.buy(alice, 30).await;
        fixture.until_noted(minute + 1).await; // whether mail can be sent or not
        send_all(&[&sender]).await;
        base.clock.advance(Duration::minutes(1));
    }
    fixture.until_heard().await;
    assert_eq!(fixture.states().await, [("pending".to_owned(), 60)].into());
    let tries = sqlx::query("select sum(attempts)::bigint as tries from sent_mail");
    let tries: i64 = tries.fetch_one(&base.parts.pool).await.unwrap().get("tries");
    assert!(tries <= 20, "{tries} tries for a server that was not there for an hour");

    server.restart().await;
    for _ in 0..12 {
        send_all(&[&sender]).await;
        base.clock.advance(Duration::minutes(10));
    }
    assert_eq!(fixture.states().await, [("sent".to_owned(), 60)].into());
    assert_eq!(events_of(&server.received()), fixture.mailed_events().await, "each once");
    assert!(server.connections() < 60, "connections carry more than one mail");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_delivered_again_is_mailed_once() {
    let (fixture, server) = mail_fixture().await;
    let notifications = fixture.notifications().await;
    let sender = notifications.sender();
    fixture.hear(&notifications);
    let alice = fixture.rich("alice").await;
    for _ in 0..20 {
        fixture.base.buy(alice, 30).await;
    }
    fixture.until_noted(20).await;
    send_all(&[&sender]).await;

    // Another process follows too, and the log is read again from the start.
    fixture.hear(&fixture.notifications().await);
    fixture.base.buy(alice, 30).await;
    fixture.until_noted(21).await;
    let rewind = sqlx::query("update mail_checkpoint set position = 0");
    rewind.execute(&fixture.base.parts.pool).await.unwrap();
    fixture.base.buy(alice, 30).await;
    fixture.until_noted(22).await;
    fixture.until_heard().await;
    send_all(&[&sender]).await;
    assert_eq!(events_of(&server.received()), fixture.mailed_events().await);
    assert_eq!(fixture.states().await, [("sent".to_owned(), 22)].into());
}

/// Which process follows the log is a matter of chance; which one sends is not.
#[tokio::test(flavor = "multi_thread")]
async fn mails_are_noted_by_a_process_that_sends_none() {
    let (fixture, _server) = mail_fixture().await;
    fixture.notifications().await; // another process switched mail on
    let announcer = fixture.base.parts.announcer(None);
    tokio::spawn(follow(fixture.base.log.feed(), announcer, fixture.base.stop.clone()));
    let alice = fixture.rich("alice").await;
    fixture.base.buy(alice, 30).await;
    fixture.until_noted(1).await;
}

/// Mails were noted by consumers of NATS, in any order, when the version before was stopped.
#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_is_upgraded_forgets_nobody() {
    const MIGRATION: &str = include_str!("../../migrations/0052_mail_checkpoint.sql");
    let (fixture, _server) = mail_fixture().await;
    let alice = fixture.rich("alice").await;
    let start = fixture.base.log.head().await.unwrap();
    fixture.open().await;
    for _ in 0..3 {
        fixture.base.buy(alice, 30).await;
    }
    fixture.until_noted(3).await;

    let mut owner = PgConnection::connect(&fixture.base.sandbox.database_owner_url).await.unwrap();
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
    fixture.hear(&fixture.notifications().await);
    fixture.until_noted(3).await;
    fixture.until_heard().await;
    let noted = sqlx::query("select 1 from sent_mail where position = $1").bind(forgotten);
    assert!(noted.fetch_optional(&fixture.base.parts.pool).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_mail_was_switched_on_is_not_mailed() {
    let (fixture, server) = mail_fixture().await;
    let alice = fixture.rich("alice").await;
    fixture.base.buy(alice, 30).await;
    let before = fixture.mailed_events().await;
    let sender = fixture.open().await;
    fixture.base.buy(alice, 30).await;
    fixture.until_heard().await;
    send_all(&[&sender]).await;
    let mails = events_of(&server.received());
    assert_eq!(mails.len(), 1);
    assert!(!before.contains(&mails[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mail_is_sent_before_the_read_tables_show_it() {
    let server = MailServer::start().await;
    let moment = "2026-03-01T09:00:00Z".parse().unwrap();
    let fixture = MailFixture::unprojected(moment, &server.url()).await;
    let notifications = fixture.notifications().await;
    let sender = notifications.sender();
    let alice = fixture.rich("alice").await;
    fixture.base.buy(alice, 30).await;
    let mut announcer = fixture.announcer(&notifications);
    let page = fixture.base.log.page(announcer.checkpoint().await.unwrap(), 100).await.unwrap();
    assert!(timeout(TOO_EARLY, announcer.apply(&page)).await.is_err(), "it waits for the read tables");
    assert_eq!(fixture.states().await, [].into());
    fixture.hear(&notifications);
    fixture.base.project();
    fixture.until_noted(1).await;
    assert_eq!(send_all(&[&sender]).await, 1);
    assert_eq!(server.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_and_an_unknown_one_get_no_mail() {
    let (fixture, server) = mail_fixture().await;
    let sender = fixture.open().await;
    let (alice, bob) = (fixture.rich("alice").await, fixture.rich("bob").await);
    let disabled = UserChange { is_active: Some(false), ..UserChange::default() };
    let now = fixture.base.clock.now().utc();
    fixture.identity.update_user(bob, &disabled, &Actor::system("test"), now).await.unwrap();
    for user in [alice, bob, fixture.base.rich().await] {
        fixture.base.buy(user, 30).await;
    }
    fixture.until_noted(3).await;
    send_all(&[&sender]).await;
    let mails = server.received();
    assert_eq!(mails.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), ["alice@example.com"]);
    assert_eq!(fixture.states().await, [("sent".to_owned(), 1), ("skipped".to_owned(), 2)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_for_nobody_does_not_hold_up_the_next_ones_after_an_outage() {
    let (fixture, mut server) = mail_fixture().await;
    let sender = fixture.open().await;
    let alice = fixture.rich("alice").await;
    server.stop().await;
    fixture.base.buy(alice, 30).await;
    fixture.until_noted(1).await;
    send_all(&[&sender]).await;
    server.restart().await;
    fixture.base.clock.advance(Duration::seconds(11)); // the server may be tried again, that mail not yet
    let unknown = fixture.base.rich().await;
    fixture.base.buy(unknown, 30).await;
    fixture.until_noted(2).await;
    assert_eq!(send_all(&[&sender]).await, 1);
    assert_eq!(fixture.states().await, [("pending".to_owned(), 1), ("skipped".to_owned(), 1)].into());
    fixture.base.buy(alice, 30).await;
    fixture.until_noted(3).await;
    assert_eq!(send_all(&[&sender]).await, 1);
    assert_eq!(server.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_looked_up_when_the_mail_is_sent() {
    let (fixture, server) = mail_fixture().await;
    let sender = fixture.open().await;
    let alice = fixture.rich("alice").await;
    fixture.base.buy(alice, 30).await;
    fixture.until_noted(1).await;
    let moved = UserChange { email: Some("alice@elsewhere.example".into()), ..UserChange::default() };
    let now = fixture.base.clock.now().utc();
    fixture.identity.update_user(alice, &moved, &Actor::system("test"), now).await.unwrap();
    send_all(&[&sender]).await;
    assert_eq!(server.received()[0].to, "alice@elsewhere.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_senders_send_each_mail_once() {
    let (fixture, server) = mail_fixture().await;
    let sender = fixture.open().await;
    let others = [fixture.notifications().await.sender(), fixture.notifications().await.sender()];
    let alice = fixture.rich("alice").await;
    fixture.base.activate_many(alice, 400, 30).await;
    fixture.until_noted(400).await;
    assert_eq!(send_all(&[&sender, &others[0], &others[1]]).await, 400);
    assert_eq!(events_of(&server.received()), fixture.mailed_events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_mail_is_parked_at_once_and_sent_when_a_person_says_so() {
    let (fixture, server) = mail_fixture().await;
    let (base, parked) = (&fixture.base, Parked::new(fixture.base.parts.pool.clone()));
    let notifications = fixture.notifications().await;
    fixture.hear(&notifications);
    tokio::spawn(notifications.run(base.stop.clone()));
    let alice = fixture.rich("alice").await;
    server.set(Mood::Answers("550 5.1.1 <alice@example.com> is not known here"));
    base.buy(alice, 30).await;
    eventually("it is parked", async || fixture.states().await == [("parked".to_owned(), 1)].into()).await;
    let letter = parked.waiting(None, 10).await.unwrap().items.remove(0);
    let kept = sqlx::query("select last_error from sent_mail").fetch_one(&base.parts.pool).await.unwrap();
    for said in [&letter.reason, &kept.get("last_error")] {
        assert!(said.contains("5.1.1") && !said.contains("alice"), "{said}");
    }
    assert_eq!((letter.consumer.as_str(), letter.subject.as_str()), ("mail", "mail.succeeded"));

    parked.requeue(letter.id, &Actor::system("test"), base.clock.now().utc()).await.unwrap().unwrap();
    eventually("it is parked again", async || parked.waiting(None, 10).await.unwrap().items.len() == 1).await;
    server.set(Mood::Takes);
    parked.requeue(letter.id, &Actor::system("test"), base.clock.now().utc()).await.unwrap().unwrap();
    eventually("it is sent", async || fixture.states().await == [("sent".to_owned(), 1)].into()).await;
    assert_eq!(events_of(&server.received()), fixture.mailed_events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_could_not_be_noted_is_noted_when_a_person_says_so() {
    let (fixture, server) = mail_fixture().await;
    let (base, parked) = (&fixture.base, Parked::new(fixture.base.parts.pool.clone()));
    tokio::spawn(fixture.notifications().await.run(base.stop.clone()));
    let alice = fixture.rich("alice").await;
    base.buy(alice, 30).await; // nothing follows the log here
    let position_of = async |name| {
        let all = base.everything().await;
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
    for letter in parked.waiting(None, 10).await.unwrap().items {
        parked.requeue(letter.id, &Actor::system("test"), base.clock.now().utc()).await.unwrap().unwrap();
    }
    eventually("it is sent", async || fixture.states().await == [("sent".to_owned(), 1)].into()).await;
    eventually("the other one waits again", async || {
        let waiting = parked.waiting(None, 10).await.unwrap().items;
        waiting.iter().any(|letter| letter.reason == "there is no mail for the event at this position")
    })
    .await;
    assert_eq!(events_of(&server.received()), fixture.mailed_events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_put_off_is_tried_for_days_and_then_parked() {
    let (fixture, server) = mail_fixture().await;
    let sender = fixture.open().await;
    let alice = fixture.rich("alice").await;
    fixture.base.buy(alice, 30).await;
    fixture.until_noted(1).await;
    server.set(Mood::Answers("451 4.7.1 try again later"));
    let (mut tries, mut hours) = (0, 0);
    while fixture.states().await == [("pending".to_owned(), 1)].into() {
        tries += send_all(&[&sender]).await;
        fixture.base.clock.advance(Duration::hours(1));
        hours += 1;
        assert!(hours < 24 * 7, "it is never parked");
    }
    assert_eq!(fixture.states().await, [("parked".to_owned(), 1)].into());
    assert_eq!(tries, 10);
    assert!(hours > 24 * 3, "it was given up after {hours} hours");
}

/// With statistics of a quiet hour, the planner takes the index of the pending mails for an empty one.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_deferred_and_finished_without_a_walk_over_those_that_wait() {
    const WAITING: i64 = 2_000;
    let (fixture, server) = mail_fixture().await;
    let sender = fixture.open().await;
    let mut owner = PgConnection::connect(&fixture.base.sandbox.database_owner_url).await.unwrap();
    let add = |state: &str, count: i64| {
        sqlx::query(
            "insert into sent_mail (event_id, user_id, position, kind, aggregate_id, state, next_attempt_at, created_at)
             select gen_random_uuid(), gen_random_uuid(), -n, 'succeeded', gen_random_uuid(), $1,
                    timestamptz '2027-01-01', timestamptz '2026-01-01'
             from generate_series(1, $2) n",
        )
        .bind(state.to_owned())
        .bind(count)
    };
    owner.execute("alter table sent_mail set (autovacuum_enabled = false)").await.unwrap();
    add("sent", 5 * WAITING).execute(&mut owner).await.unwrap();
    owner.execute("analyze sent_mail").await.unwrap();
    add("pending", WAITING).execute(&mut owner).await.unwrap();

    let alice = fixture.rich("alice").await;
    for _ in 0..3 {
        fixture.base.buy(alice, 30).await;
    }
    fixture.until_heard().await;
    server.set(Mood::Answers("451 4.7.1 try again later"));
    send_all(&[&sender]).await;
    server.set(Mood::Takes);
    fixture.base.clock.advance(Duration::hours(1));
    send_all(&[&sender]).await;
    assert_eq!(server.received().len(), 3);

    // A session tells what it has read at its end, if not before.
    let pool = &fixture.base.parts.pool;
    let end_others = "select pg_terminate_backend(pid, 10000) from pg_stat_activity
                      where datname = current_database() and usename = current_user and pid <> pg_backend_pid()";
    let mut connection = pool.acquire().await.unwrap();
    connection.execute(end_others).await.unwrap();
    let read = "select idx_tup_read from pg_stat_user_indexes where indexrelname = 'sent_mail_due'";
    let read: i64 = sqlx::query_scalar(read).fetch_one(&mut owner).await.unwrap();
    assert!(read < WAITING, "{read} entries of the index were read for three mails");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_answer_is_lost_goes_out_again_as_the_same_message() {
    let (fixture, server) = mail_fixture().await;
    let sender = fixture.open().await;
    let alice = fixture.rich("alice").await;
    fixture.base.buy(alice, 30).await;
    fixture.until_noted(1).await;
    server.set(Mood::TakesAndHangsUp);
    send_all(&[&sender]).await;
    server.set(Mood::Takes);
    fixture.base.clock.advance(Duration::minutes(2));
    send_all(&[&sender]).await;
    let mails = server.received();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].text, mails[1].text, "whoever gets both can tell");
    assert_eq!(fixture.states().await, [("sent".to_owned(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_sender_had_claimed_is_sent_once_by_another_when_its_lease_has_ended() {
    let (fixture, server) = mail_fixture().await;
    let sender = fixture.open().await;
    let alice = fixture.rich("alice").await;
    fixture.base.buy(alice, 30).await;
    fixture.until_noted(1).await;
    server.set(Mood::IsSilent);
    let dies = tokio::spawn(async move { sender.send_due().await });
    eventually("it is being sent", async || server.connections() == 1).await;
    eventually("it is claimed", async || {
        let claimed = sqlx::query("select from sent_mail where attempts = 1");
        claimed.fetch_optional(&fixture.base.parts.pool).await.unwrap().is_some()
    })
    .await;
    dies.abort();
    let _ = dies.await;
    server.set(Mood::Takes);
    let other = fixture.notifications().await.sender();
    assert_eq!(send_all(&[&other]).await, 0, "it may still be on its way");
    let lease = "select extract(epoch from claimed_until - now())::float8 from sent_mail";
    let lease: f64 = sqlx::query_scalar(lease).fetch_one(&fixture.base.parts.pool).await.unwrap();
    assert!((10.0..=20.0).contains(&lease), "a living sender may be held up for some seconds: {lease}");
    let end = sqlx::query("update sent_mail set claimed_until = now()");
    end.execute(&fixture.base.parts.pool).await.unwrap();
    assert_eq!(send_all(&[&other]).await, 1);
    assert_eq!(server.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mail_server_each_mail_is_a_file() {
    let directory = std::env::temp_dir().join(format!("offers mail {}", Uuid::now_v7()));
    let url = url::Url::from_directory_path(&directory).unwrap();
    let fixture = MailFixture::at("2026-03-01T09:00:00Z".parse().unwrap(), url.as_str()).await;
    let sender = fixture.open().await;
    let alice = fixture.rich("alice").await;
    fixture.base.activate_many(alice, 25, 30).await;
    fixture.until_noted(25).await;
    send_all(&[&sender]).await;
    let mut files: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected: Vec<String> =
        fixture.mailed_events().await.iter().map(|event_id| format!("{event_id}.eml")).collect();
    assert_eq!(files, expected);
    let text = std::fs::read_to_string(directory.join(&files[0])).unwrap();
    assert!(text.contains("Subject: TV is active\r\n"), "{text}");
    std::fs::remove_dir_all(&directory).unwrap();
}
