//! What operators and auditors look at: all purchases, callbacks, parked messages, balances of then.

use crate::support::eventually::eventually;
use crate::support::service::{Person, Service, Setting, Shop, send};
use crate::support::stack::{Sandbox, Stack};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{OfferId, TransactionId};
use offers::clock::Clock;
use offers::external::{ActivationSystem, Settings};
use offers::processors::{ActivationLimits, ActivationProcessor, Rechecks, RequeuedActivations, Unhandled};
use offers::simulator;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

async fn buy(service: &Service, person: &Person, offer: OfferId) -> TransactionId {
    TransactionId(
        service.post(person, "/activation/", &json!({"offer_id": offer})).await.id("transaction_id"),
    )
}

async fn buy_by(service: &Service, shop: &Shop, person: &Person, offer: OfferId) -> TransactionId {
    let body = json!({"user_id": person.id, "offer_id": offer, "amount": 10, "partner_reference": "order-1"});
    let reply = send(service.request_by(shop, Method::POST, "/partner/activate/").json(&body)).await;
    TransactionId(reply.id("transaction_id"))
}

fn ids(rows: &[Value]) -> Vec<Value> {
    rows.iter().map(|row| row["transaction_id"].clone()).collect()
}

#[tokio::test]
async fn an_operator_finds_purchases_and_what_was_tried() {
    let clock = Clock::standing_at(Utc::now());
    let service = Service::start_with(Setting { clock: clock.clone(), ..Setting::default() }).await;
    let shop = service.shop("Shop", 5000).await;
    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let tv = service.offer("TV", 1000).await;
    let done = buy(&service, &alice, tv).await;
    service.succeed(done, &alice, tv).await;
    let refused = buy(&service, &bob, tv).await;
    service.fail(refused).await;
    let waiting = buy_by(&service, &shop, &bob, tv).await;
    service.all_listed().await;
    clock.advance(TimeDelta::hours(1));
    let root = service.admin().await;
    let all = service.walk(&root, "/admin/transactions/?limit=2").await;
    assert_eq!(ids(&all), [json!(waiting), json!(refused), json!(done)]);
    assert_eq!(all[0]["attempts"], json!([]));
    assert_eq!((&all[0]["partner_id"], &all[0]["partner_reference"]), (&json!(shop.id), &json!("order-1")));
    assert_eq!((&all[0]["account_id"], &all[2]["account_id"]), (&json!(shop.id), &json!(alice.id)));
    let attempt = |row: &Value, evidence: &str, detail: &str| {
        let attempts = row["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "{row}");
        assert_eq!(attempts[0]["kind"], "activate");
        assert!(attempts[0]["at"].as_str().unwrap() <= row["completed_at"].as_str().unwrap());
        assert_eq!((&attempts[0]["evidence"], &attempts[0]["detail"]), (&json!(evidence), &json!(detail)));
    };
    attempt(&all[1], "rejected", "rejected: No");
    attempt(&all[2], "activated", "EXT-1");
    for (query, expected) in [
        ("status=FAILED".to_owned(), vec![refused]),
        ("status=PENDING".to_owned(), vec![waiting]),
        (format!("user_id={}", bob.id), vec![waiting, refused]),
        (format!("partner_id={}", shop.id), vec![waiting]),
        (format!("partner_id={}&status=SUCCESS", shop.id), vec![]),
        ("in_doubt=true".to_owned(), vec![]),
        ("in_doubt=false&older_than_s=0".to_owned(), vec![waiting, refused, done]),
        ("older_than_s=3000".to_owned(), vec![waiting, refused, done]),
        ("older_than_s=4000".to_owned(), vec![]),
    ] {
        let found = service.walk(&root, &format!("/admin/transactions/?{query}")).await;
        assert_eq!(ids(&found), expected.iter().map(|id| json!(id)).collect::<Vec<_>>(), "{query}");
    }
    for query in ["status=DONE", "user_id=7", "partner_id=x", "in_doubt=maybe", "older_than_s=-1"] {
        service.get(&root, &format!("/admin/transactions/?{query}")).await.is(400, "invalid_request");
    }
    let carol = service.person("carol", &["user"]).await;
    service.get(&carol, "/admin/transactions/").await.is(403, "forbidden");
}

#[tokio::test]
async fn an_operator_sees_callbacks_and_sends_them_again() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let (root, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    for name in ["One", "Two", "Three"] {
        let shop = service.shop_at(name, 0, Some("https://shop.example/hook")).await;
        service.app.callbacks.enqueue_ping(shop.id).await.unwrap();
    }
    let all = service.walk(&root, "/admin/callbacks/?limit=2").await;
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|callback| callback["type"] == "ping" && callback["status"] == "pending"));
    let path = format!("/admin/callbacks/{}/", all[0]["id"].as_str().unwrap());
    assert_eq!(service.get(&root, &path).await.json(), all[0]);
    assert_eq!(service.walk(&root, "/admin/callbacks/?status=parked").await.len(), 0);
    service.get(&root, "/admin/callbacks/?status=PARKED").await.is(400, "invalid_request");
    let resent = service.post(&root, &format!("{path}resend/"), &json!({"reason": "they asked"})).await;
    assert_eq!(resent.status, 202, "{}", resent.text);
    assert_eq!(resent.headers["location"].to_str().unwrap(), format!("/api/v1{path}"));
    let unknown = format!("/admin/callbacks/{}/resend/", Uuid::now_v7());
    service.post(&root, &unknown, &json!({})).await.is(404, "callback_not_found");
    service.post(&root, &format!("{path}resend/"), &json!({"url": "x"})).await.is(400, "invalid_request");
    let subject = format!("callback:{}", all[0]["id"].as_str().unwrap());
    assert_eq!(
        acts(&sandbox, &subject).await,
        [(format!("user:{}", root.id), "callback.resent".to_owned(), Some("they asked".to_owned()))]
    );
    for path in [path.as_str(), "/admin/callbacks/"] {
        service.get(&alice, path).await.is(403, "forbidden");
    }
}

#[tokio::test]
async fn an_operator_sees_mails_and_sends_them_again() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let (root, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    let bob = service.person("bob", &["user"]).await;
    let mut database = PgConnection::connect(&sandbox.database_url).await.unwrap();
    for (position, to, state) in [
        (1, &alice, "sent"),
        (2, &bob, "parked"),
        (3, &alice, "skipped"),
        (4, &alice, "pending"),
        (5, &bob, "sent"),
    ] {
        sqlx::query(
            "insert into sent_mail (event_id, user_id, position, kind, aggregate_id, state, next_attempt_at, created_at)
             values (gen_random_uuid(), $1, $2, 'failed', gen_random_uuid(), $3, now(), now())",
        )
        .bind(to.id.0)
        .bind(i64::from(position))
        .bind(state)
        .execute(&mut database)
        .await
        .unwrap();
    }
    let unhandled = Unhandled {
        position: 2,
        subject: "offers.events.transaction.failed".to_owned(),
        event_id: None,
        aggregate_id: None,
        reason: "for tests".to_owned(),
        attempts: 1,
    };
    service.app.parked.keep("mail", &unhandled).await.unwrap();

    let positions = async |path: &str| -> Vec<i64> {
        let mails = service.walk(&root, path).await;
        mails.iter().map(|mail| mail["position"].as_i64().unwrap()).collect()
    };
    assert_eq!(positions("/admin/mail/?limit=2").await, [5, 4, 3, 2, 1]);
    for (status, expected) in
        [("sent", vec![5, 1]), ("parked", vec![2]), ("skipped", vec![3]), ("pending", vec![4])]
    {
        assert_eq!(positions(&format!("/admin/mail/?status={status}")).await, expected, "{status}");
    }
    assert_eq!(positions(&format!("/admin/users/{}/mail/?limit=1", alice.id)).await, [4, 3, 1]);

    let parked =
        service.walk(&root, "/admin/mail/?status=parked").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/mail/{parked}/resend/");
    let resent = service.post(&root, &path, &json!({"reason": "she has room again"})).await;
    assert_eq!(resent.status, 202, "{}", resent.text);
    assert_eq!(positions("/admin/mail/?status=pending").await, [4, 2]);
    assert_eq!(service.walk(&root, "/admin/parked/").await.len(), 0, "it does not wait there as well");
    service.post(&root, &path, &json!({})).await.is(409, "conflict");
    let unknown = format!("/admin/mail/{}/resend/", Uuid::now_v7());
    service.post(&root, &unknown, &json!({})).await.is(404, "mail_not_found");

    let changes = service.walk(&root, &format!("/admin/changes/?subject=mail:{parked}")).await;
    assert_eq!(changes.len(), 1);
    let change = &changes[0];
    assert_eq!(change["actor"], format!("user:{}", root.id));
    assert_eq!((&change["action"], &change["reason"]), (&json!("mail.resent"), &json!("she has room again")));
    assert_eq!(change["details"], json!({"status": "parked"}));
}

#[tokio::test]
async fn an_operator_sees_what_runs_by_the_clock() {
    let now: DateTime<Utc> = "2026-11-27T12:30:00Z".parse().unwrap();
    let sandbox = Stack::get().await.sandbox().await;
    let setting = Setting { clock: Clock::standing_at(now), ..Setting::default() };
    let service = Service::start_in(&sandbox, setting).await;
    let root = service.admin().await;
    let mut database = PgConnection::connect(&sandbox.database_url).await.unwrap();
    sqlx::query(
        "insert into schedule_runs (run_id, name, due_at, started_at, finished_at, outcome, found, changed)
         select gen_random_uuid(), 'announce_expiry', $1 - interval '1 day' * n, $1, $1, 'done', n, n
         from generate_series(1, 30) n",
    )
    .bind(now)
    .execute(&mut database)
    .await
    .unwrap();
    let seen = service.get(&root, "/admin/schedules/").await.json();
    let schedules = seen["results"].as_array().unwrap();
    let known: Vec<_> = schedules.iter().map(|schedule| (&schedule["name"], &schedule["cron"])).collect();
    assert_eq!(
        known,
        [(&json!("expire"), &json!("* * * * *")), (&json!("announce_expiry"), &json!("0 8 * * *"))]
    );
    assert_eq!(schedules[0]["next_due_at"], "2026-11-27T12:31:00.000000Z");
    assert_eq!(schedules[1]["next_due_at"], "2026-11-28T08:00:00.000000Z");
    let runs = schedules[1]["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &runs[0]["found"], &runs[0]["outcome"]), (20, &json!(1), &json!("done")));
}

#[tokio::test]
async fn an_operator_reads_who_changed_what() {
    let service = Service::start().await;
    let root = service.admin().await;
    let alice = service.person("alice", &["user"]).await;
    for roles in [["user", "auditor"].as_slice(), &["user"]] {
        let change = json!({"roles": roles, "reason": "audit week"});
        assert_eq!(service.patch(&root, &format!("/admin/users/{}/", alice.id), &change).await.status, 200);
    }
    let by_root = service.walk(&root, &format!("/admin/changes/?actor=user:{}&limit=1", root.id)).await;
    let actions: Vec<_> = by_root.iter().map(|change| change["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["user.roles_changed", "user.roles_changed"]);
    assert_eq!(by_root[0]["details"], json!({"from": ["user", "auditor"], "to": ["user"]}), "newest first");
    let about_alice = service.walk(&root, &format!("/admin/users/{}/changes/", alice.id)).await;
    assert_eq!(about_alice[..2], by_root[..]);
    assert_eq!(about_alice.last().unwrap()["action"], "user.created");
    let all = service.walk(&root, "/admin/changes/?limit=2").await;
    assert!(all.len() >= about_alice.len() && about_alice.iter().all(|change| all.contains(change)));
}

#[tokio::test]
async fn an_operator_reads_all_that_is_known_of_a_transaction() {
    let service = Service::start().await;
    let root = service.admin().await;
    let (shop, alice) = (service.shop("Shop", 5000).await, service.rich("alice").await);
    let offer = service.offer("TV", 1000).await;
    let sold = buy_by(&service, &shop, &alice, offer).await;
    let path = format!("/admin/transactions/{sold}/");
    let known = service.get(&root, &path).await.json();
    assert_eq!((&known["status"], &known["attempts"]), (&json!("PENDING"), &json!([])));
    let history: Vec<_> =
        known["history"].as_array().unwrap().iter().map(|entry| entry["event"].clone()).collect();
    assert_eq!(history, ["ActivationRequested"]);
    assert_eq!((&known["callbacks"], &known["mails"]), (&json!([]), &json!([])));
    service.all_listed().await;
    let listed = service.walk(&root, "/admin/transactions/").await;
    for (member, value) in listed[0].as_object().unwrap() {
        assert_eq!(&known[member], value, "{member} as in the list");
    }
    service
        .get(&root, &format!("/admin/transactions/{}/", Uuid::now_v7()))
        .await
        .is(404, "transaction_not_found");
    let bought = buy(&service, &alice, offer).await;
    service.succeed(bought, &alice, offer).await;
    service.all_listed().await;
    let subscriptions = service.walk(&root, &format!("/admin/users/{}/subscriptions/", alice.id)).await;
    assert_eq!(subscriptions, service.walk(&alice, "/account/subscriptions/").await);
    assert_eq!(subscriptions.len(), 1);
}

/// What the audit log has of `subject`: who, what, why.
async fn acts(sandbox: &Sandbox, subject: &str) -> Vec<(String, String, Option<String>)> {
    let mut database = PgConnection::connect(&sandbox.database_url).await.unwrap();
    sqlx::query_as("select actor, action, reason from audit_log where subject = $1 order by at, id")
        .bind(subject)
        .fetch_all(&mut database)
        .await
        .unwrap()
}

/// Parks a message about the event at `position`, as a processor does.
async fn park(service: &Service, position: i64) -> Uuid {
    let unhandled = Unhandled {
        position,
        subject: "offers.events.transaction.activation_requested".to_owned(),
        event_id: None,
        aggregate_id: None,
        reason: "not an event".to_owned(),
        attempts: 1,
    };
    service.app.parked.keep("activation", &unhandled).await.unwrap();
    service.app.parked.waiting(None, 1).await.unwrap().items[0].id
}

#[tokio::test]
async fn a_requeued_message_drives_its_purchase_again() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let tv = service.offer("TV", 1000).await;
    let bought = buy(&service, &alice, tv).await;
    let position = service.resources.log.head().await.unwrap();
    let (offers_event, about) = (park(&service, 1).await, park(&service, position).await);
    let waiting = service.walk(&root, "/admin/parked/?limit=1").await;
    let listed: Vec<_> = waiting.iter().map(|row| row["id"].clone()).collect();
    assert_eq!(listed, [json!(about), json!(offers_event)]);
    assert_eq!((&waiting[0]["position"], &waiting[0]["reason"]), (&json!(position), &json!("not an event")));

    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let external = simulator::start(simulator::Settings::default()).await.unwrap();
    let system = ActivationSystem::new(&Settings::new(external.url())).unwrap();
    let processor = ActivationProcessor::new(
        service.resources.log.clone(),
        system,
        Clock::system(),
        ActivationLimits::default(),
    );
    let (parked, log) = (service.app.parked.clone(), service.resources.log.clone());
    let pool = PgPool::connect(&sandbox.database_url).await.unwrap();
    let rechecks = Rechecks::new(pool, parked.clone(), Clock::system(), Duration::from_secs(600));
    tokio::spawn(RequeuedActivations::new(parked, log, processor, rechecks).run(stop));

    let requeue = |id: Uuid| format!("/admin/parked/{id}/requeue/");
    let requeued = send(service.request(&root, Method::POST, &requeue(about))).await;
    assert_eq!(requeued.status, 202, "{}", requeued.text);
    let status = format!("/activation/status/{bought}/");
    let succeeded = async || service.get(&alice, &status).await.json()["status"] == "SUCCESS";
    eventually("the purchase is done", succeeded).await;
    let location = requeued.headers["location"].to_str().unwrap().strip_prefix("/api/v1").unwrap();
    eventually("the message counts as handled", async || {
        let shown = service.get(&root, location).await.json();
        shown["requeued_at"].is_string() && shown["resumed_at"].is_string()
    })
    .await;
    let again = service.post(&root, &requeue(about), &json!({})).await;
    again.is(409, "conflict");
    let detail = again.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&format!("user:{}", root.id)), "{detail}");
    service.post(&root, &requeue(Uuid::now_v7()), &json!({})).await.is(404, "parked_not_found");

    assert_eq!(
        service.post(&root, &requeue(offers_event), &json!({"reason": "once more"})).await.status,
        202
    );
    assert_eq!(
        acts(&sandbox, &format!("parked:{offers_event}")).await,
        [(format!("user:{}", root.id), "message.requeued".to_owned(), Some("once more".to_owned()))]
    );
    let again = "the log has no transaction at this position";
    let waits = async || {
        let waiting = service.walk(&root, "/admin/parked/").await;
        waiting.len() == 1 && waiting[0]["id"] == json!(offers_event) && waiting[0]["reason"] == again
    };
    eventually("what cannot be handled waits again", waits).await;
    for path in ["/admin/parked/", location] {
        service.get(&alice, path).await.is(403, "forbidden");
    }
}

#[tokio::test]
async fn an_auditor_asks_what_somebody_had_at_any_moment() {
    let service = Service::start().await;
    let (auditor, alice) = (service.person("auditor", &["auditor"]).await, service.rich("alice").await);
    let shop = service.shop("Shop", 5000).await;
    let tv = service.offer("TV", 1000).await;
    let before = service.resources.log.head().await.unwrap();
    let bought = buy(&service, &alice, tv).await;
    let reserved = service.resources.log.head().await.unwrap();
    service.fail(bought).await;
    let after = service.resources.log.head().await.unwrap();
    let path = format!("/audit/accounts/{}/balance/", alice.id);
    let at = |at: String| {
        let (service, auditor, path) = (&service, &auditor, &path);
        async move { service.get(auditor, &format!("{path}?at={at}")).await.json() }
    };
    for (position, balance) in [(0, "0.00"), (before, "1000.00"), (reserved, "990.00"), (after, "1000.00")] {
        let told = at(position.to_string()).await;
        assert_eq!((&told["balance"], &told["position"]), (&json!(balance), &json!(position)));
        assert_eq!(told.as_object().unwrap().len(), 3);
    }
    assert_eq!(at("0".into()).await["recorded_at"], Value::Null);
    let at_reservation = at(reserved.to_string()).await["recorded_at"].as_str().unwrap().to_owned();
    let told = at(at_reservation.clone()).await;
    assert_eq!((&told["balance"], &told["position"]), (&json!("990.00"), &json!(reserved)));
    let moment: DateTime<Utc> = at_reservation.parse().unwrap();
    let just_before =
        (moment - TimeDelta::microseconds(1)).to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    assert_eq!(at(just_before).await["balance"], "1000.00");
    assert_eq!(at("2020-01-01T00:00:00Z".into()).await["position"], 0);
    for beyond in ["2100-01-01T00:00:00%2B02:00".to_owned(), i64::MAX.to_string()] {
        assert_eq!(at(beyond).await["position"], json!(after));
    }
    assert_eq!(service.get(&auditor, &path).await.json()["balance"], "1000.00");
    let float = service.get(&auditor, &format!("/audit/accounts/{}/balance/", shop.id)).await.json();
    assert_eq!(float["balance"], "50.00");
    for odd in ["-1", "yesterday", "2026-13-01T00:00:00Z", "1.5"] {
        service.get(&auditor, &format!("{path}?at={odd}")).await.is(400, "invalid_request");
    }
    let blank = service.get(&auditor, &format!("{path}?at=2026-01-01T00:00:00+02:00")).await;
    assert!(blank.text.contains("%2B"), "a + arrives as a blank: {}", blank.text);
    let nobody = format!("/audit/accounts/{}/balance/", Uuid::now_v7());
    service.get(&auditor, &nobody).await.is(404, "account_not_found");
    service.get(&alice, &path).await.is(403, "forbidden");
    let by_shop = send(service.request_by(&shop, Method::GET, &path)).await;
    by_shop.is(403, "forbidden");
}
