//! Waiting for a status: with `Prefer: wait`, and as a stream of events.

use crate::support::eventually::{DEADLINE, eventually};
use crate::support::service::{Person, Reply, Service, Setting, send};
use crate::support::stack::Stack;
use domain::{OfferId, TransactionId};
use futures::future::join_all;
use offers::app::status_watch::{MAX_WAITING, Signal};
use reqwest::{Method, Response};
use serde_json::Value;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// How long a test lets a server wait: more than anything here takes.
const LONG: &str = "wait=30";
/// A wait of `LONG` that ends within this was woken: its time was not up.
const LESS_THAN_LONG: Duration = Duration::from_secs(29);

/// The output of `future`, which must not take the time of a whole wait.
fn woken<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let future = Box::pin(future); // it is large
    async { timeout(LESS_THAN_LONG, future).await.expect("woken before its time was up") }
}

async fn buy(service: &Service, person: &Person, offer: OfferId) -> TransactionId {
    let reply = service.post(person, "/activation/", &json!({"offer_id": offer})).await;
    TransactionId(reply.id("transaction_id"))
}

fn path(id: TransactionId) -> String {
    format!("/activation/status/{id}/")
}

async fn wait(service: &Service, person: &Person, id: TransactionId, prefer: &str) -> Reply {
    send(service.request(person, Method::GET, &path(id)).header("Prefer", prefer)).await
}

async fn listen(service: &Service, person: &Person, id: TransactionId, last: Option<&str>) -> Response {
    let request = service.request(person, Method::GET, &path(id)).header("Accept", "text/event-stream");
    let request = last.into_iter().fold(request, |request, last| request.header("Last-Event-ID", last));
    request.send().await.unwrap()
}

/// One event: its id and its data.
type StatusEvent = (i64, Value);

/// The next event; `None` when the stream has ended. Comments are passed over.
async fn next_event(stream: &mut Response, text: &mut String) -> Option<StatusEvent> {
    loop {
        if let Some((event, rest)) = text.clone().split_once("\n\n") {
            rest.clone_into(text);
            if event.starts_with(':') {
                continue;
            }
            let field = |name: &str| {
                let line = event.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
                line.unwrap_or_else(|| panic!("no {name} in {event:?}")).to_owned()
            };
            assert_eq!(field("event"), "status");
            return Some((field("id").parse().unwrap(), serde_json::from_str(&field("data")).unwrap()));
        }
        let chunk = timeout(DEADLINE, stream.chunk()).await.expect("an event or the end").unwrap()?;
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

async fn all_events(mut stream: Response) -> Vec<StatusEvent> {
    let (mut all, mut text) = (Vec::new(), String::new());
    while let Some(event) = next_event(&mut stream, &mut text).await {
        all.push(event);
    }
    all
}

fn statuses(events: &[StatusEvent]) -> Vec<&str> {
    events.iter().map(|(_, data)| data["status"].as_str().unwrap()).collect()
}

/// Runs `wait` and, once it waits, `meanwhile`.
async fn during<T>(service: &Service, wait: impl Future<Output = T>, meanwhile: impl Future) -> T {
    let meanwhile = async {
        eventually("somebody waits", async || service.app.statuses.waiting() > 0).await;
        meanwhile.await;
    };
    tokio::join!(wait, meanwhile).0
}

#[tokio::test]
async fn a_wait_ends_with_the_final_status_and_the_lists_have_it() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    let meanwhile = service.succeed(id, &alice, tv);
    let reply = woken(during(&service, wait(&service, &alice, id, LONG), meanwhile)).await;
    assert_eq!(reply.headers["preference-applied"], "wait=30");
    let shown = reply.json();
    assert_eq!((&shown["status"], &shown["reference"]), (&json!("SUCCESS"), &json!("EXT-1")));
    let subscriptions = service.walk(&alice, "/account/subscriptions/").await;
    assert_eq!(subscriptions[0]["transaction_id"], id.to_string());
    let listed = service.walk(&alice, "/account/transactions/?status=SUCCESS").await;
    assert_eq!(listed[0]["transaction_id"], id.to_string());
    assert_eq!(service.get(&alice, &path(id)).await.json(), shown);
}

#[tokio::test]
async fn a_wait_that_is_over_is_answered_with_the_status_of_then() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    let begun = Instant::now();
    let reply = during(&service, wait(&service, &alice, id, "wait=2"), service.begin(id)).await;
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(reply.headers["preference-applied"], "wait=2");
    assert_eq!(reply.json()["status"], "PROCESSING");
    assert_eq!(service.app.statuses.waiting(), 0, "the place is free again");
}

#[tokio::test]
async fn waits_and_streams_end_with_the_access_of_their_caller() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let shop = service.shop("Shop", 1000).await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    let mut stream = listen(&service, &alice, id, None).await;
    let mut text = String::new();
    assert!(next_event(&mut stream, &mut text).await.is_some());
    let (off, user) = (json!({"is_active": false}), format!("/admin/users/{}/", alice.id));
    let disable = service.patch(&root, &user, &off);
    let waited = during(&service, wait(&service, &alice, id, LONG), disable).await;
    waited.is(401, "token_invalid");
    service.succeed(id, &alice, tv).await;
    assert_eq!(next_event(&mut stream, &mut text).await, None);

    let body = json!({"user_id": alice.id, "offer_id": tv, "amount": "10.00"});
    let sell = service.request_by(&shop, Method::POST, "/partner/activate/").json(&body);
    send(sell).await.is(400, "user_not_found");
    let bob = service.person("bob", &["user"]).await;
    let body = json!({"user_id": bob.id, "offer_id": tv, "amount": "10.00"});
    let sold = send(service.request_by(&shop, Method::POST, "/partner/activate/").json(&body)).await;
    let sold = TransactionId(sold.id("transaction_id"));
    let waiting = send(service.request_by(&shop, Method::GET, &path(sold)).header("Prefer", LONG));
    let partner = format!("/admin/partners/{}/", shop.id);
    let disable = service.patch(&root, &partner, &off);
    during(&service, waiting, disable).await.is(401, "token_invalid");
}

#[tokio::test]
async fn who_has_not_the_role_user_buys_nothing() {
    let service = Service::start().await;
    let auditor = service.person("auditor", &["auditor"]).await;
    service.pay_in(auditor.id.into(), 10_000).await;
    let tv = service.offer("TV", 1000).await;
    service.post(&auditor, "/activation/", &json!({"offer_id": tv})).await.is(403, "forbidden");
    service.post(&auditor, "/offers/renew/", &json!({"offer_id": tv})).await.is(403, "forbidden");
    let body = json!({"user_id": auditor.id, "offer_id": tv, "amount": "10.00"});
    service.post(&auditor, "/partner/activate/", &body).await.is(403, "forbidden");
    assert_eq!(service.balance(&auditor).await, "100.00");
}

#[tokio::test]
async fn a_final_status_is_answered_at_once() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    service.fail(id).await;
    wait(&service, &alice, id, LONG).await;
    for (prefer, applied) in [
        ("wait=31", Some("wait=30")),
        ("respond-async, wait=\"9\"; x=y", Some("wait=9")),
        ("wait=0", Some("wait=0")),
        ("wait=-1", None),
        ("wait", None),
        ("wait=soon", None),
        ("return=minimal", None),
    ] {
        let reply = wait(&service, &alice, id, prefer).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (200, &json!("FAILED")), "{prefer}");
        let seen = reply.headers.get("preference-applied").map(|value| value.to_str().unwrap());
        assert_eq!(seen, applied, "{prefer}");
    }
}

#[tokio::test]
async fn a_wait_is_the_callers_own_too() {
    let service = Service::start().await;
    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    wait(&service, &bob, id, LONG).await.is(404, "transaction_not_found");
    let refused = listen(&service, &bob, id, None).await;
    assert_eq!(refused.status(), 404);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn a_stream_tells_every_change_and_ends_with_the_final_one() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    let mut stream = listen(&service, &alice, id, None).await;
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["cache-control"], "no-store");
    let mut text = String::new();
    let first = next_event(&mut stream, &mut text).await.unwrap();
    assert_eq!(first.1, service.get(&alice, &path(id)).await.json());
    service.succeed(id, &alice, tv).await;
    let (mut events, mut listed) = (vec![first], Vec::new());
    while let Some(next) = next_event(&mut stream, &mut text).await {
        listed = service.walk(&alice, "/account/subscriptions/").await;
        events.push(next);
    }
    assert_eq!(statuses(&events), ["PENDING", "PROCESSING", "SUCCESS"], "also what was passed quickly");
    assert_eq!(listed[0]["transaction_id"], id.to_string(), "SUCCESS was in the lists when the event came");
    assert_eq!(events[2].1, service.get(&alice, &path(id)).await.json());
    let history = service.get(&alice, &format!("/account/transactions/{id}/")).await.json();
    let positions: Vec<_> =
        history["history"].as_array().unwrap().iter().map(|step| &step["position"]).collect();
    assert_eq!(
        events.iter().map(|(id, _)| json!(id)).collect::<Vec<_>>(),
        positions.into_iter().cloned().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_failure_and_its_refund_are_one_event() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    let stream = listen(&service, &alice, id, None).await;
    service.fail(id).await;
    let events = all_events(stream).await;
    assert_eq!(statuses(&events), ["PENDING", "PROCESSING", "FAILED"]);
    assert!(events[2].1["refunded_at"].is_string());
    assert!(events[1].1.get("refunded_at").is_none());
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_that_was_heard() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    let stream = listen(&service, &alice, id, None).await;
    service.succeed(id, &alice, tv).await;
    let all = all_events(stream).await;
    assert_eq!(all.len(), 3);
    let heard = |index: usize| all[index].0.to_string();
    for index in 0..2 {
        let rest = all_events(listen(&service, &alice, id, Some(&heard(index))).await).await;
        assert_eq!(rest, all[index + 1..]);
    }
    assert_eq!(listen(&service, &alice, id, Some(&heard(2))).await.status(), 204, "nothing will come");
    for foreign in ["0", "999999", "x", "-1"] {
        let events = all_events(listen(&service, &alice, id, Some(foreign)).await).await;
        assert_eq!(
            events,
            all[2..],
            "{foreign} is no event of this one, so it starts with the present status"
        );
    }
    let other = buy(&service, &alice, tv).await;
    let first = all_events_until(listen(&service, &alice, other, None).await, 1).await;
    let waits =
        async { all_events(listen(&service, &alice, other, Some(&first[0].0.to_string())).await).await };
    let rest = during(&service, waits, service.fail(other)).await;
    assert_eq!(statuses(&rest), ["PROCESSING", "FAILED"], "what was heard is not repeated");
}

async fn all_events_until(mut stream: Response, count: usize) -> Vec<StatusEvent> {
    let (mut all, mut text) = (Vec::new(), String::new());
    while all.len() < count {
        all.push(next_event(&mut stream, &mut text).await.expect("more events"));
    }
    all
}

#[tokio::test]
async fn a_stream_without_changes_is_kept_alive_by_comments() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    let mut stream = listen(&service, &alice, id, None).await;
    let begun = Instant::now();
    let mut text = String::new();
    next_event(&mut stream, &mut text).await.unwrap();
    let chunk = timeout(DEADLINE, stream.chunk()).await.unwrap().unwrap().unwrap();
    assert!(chunk.starts_with(b":"), "{chunk:?}");
    assert!(begun.elapsed() >= Duration::from_secs(14), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_waits_hears_wherever_the_projector_runs() {
    let sandbox = Stack::get().await.sandbox().await;
    let here = Service::start_in(&sandbox, Setting::default()).await;
    let elsewhere = Service::start_in(&sandbox, Setting { projects: false, ..Setting::default() }).await;
    let alice = here.rich("alice").await;
    let tv = here.offer("TV", 100).await;
    let ids = join_all((0..15).map(|_| buy(&here, &alice, tv))).await;
    let lists = async |service: &Service| service.walk(&alice, "/account/subscriptions/?limit=200").await;
    let waits = join_all(ids.iter().flat_map(|id| [(&here, *id), (&elsewhere, *id)]).map(|(service, id)| {
        let (alice, lists) = (&alice, &lists);
        async move {
            let held = async {
                let reply = wait(service, alice, id, LONG).await;
                assert_eq!(reply.json()["status"], "SUCCESS");
                assert!(lists(service).await.iter().any(|row| row["transaction_id"] == id.to_string()));
            };
            let events = async { all_events(listen(service, alice, id, None).await).await };
            let ((), events) = tokio::join!(held, events);
            assert_eq!(statuses(&events).last(), Some(&"SUCCESS"));
        }
    }));
    let succeed = async {
        eventually("somebody waits elsewhere", async || elsewhere.app.statuses.waiting() > 0).await;
        for id in &ids {
            here.succeed(*id, &alice, tv).await;
        }
    };
    woken(during(&here, waits, succeed)).await;
    assert_eq!((here.app.statuses.waiting(), elsewhere.app.statuses.waiting()), (0, 0));
}

#[tokio::test]
async fn who_waits_hears_without_redis() {
    let setting = Setting { redis_url: Some("redis://127.0.0.1:1/0".into()), ..Setting::default() };
    let service = Service::start_with(setting).await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    for _ in 0..3 {
        let id = buy(&service, &alice, tv).await;
        let meanwhile = service.succeed(id, &alice, tv);
        let reply = woken(during(&service, wait(&service, &alice, id, LONG), meanwhile)).await;
        assert_eq!(reply.json()["status"], "SUCCESS");
    }
}

#[tokio::test]
async fn who_waits_hears_although_redis_is_flushed() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let redis = redis::Client::open(service.redis_url.as_str()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    for _ in 0..5 {
        let id = buy(&service, &alice, tv).await;
        let meanwhile = async {
            redis::cmd("FLUSHDB").exec_async(&mut redis).await.unwrap();
            service.succeed(id, &alice, tv).await;
        };
        let stream = listen(&service, &alice, id, None).await;
        let waits = async { tokio::join!(wait(&service, &alice, id, LONG), all_events(stream)) };
        let (reply, events) = woken(during(&service, waits, meanwhile)).await;
        assert_eq!(reply.json()["status"], "SUCCESS");
        assert_eq!(statuses(&events), ["PENDING", "PROCESSING", "SUCCESS"]);
    }
}

#[tokio::test]
async fn a_caller_holds_32_streams_and_others_still_get_theirs() {
    let service = Service::start().await;
    let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
    let tv = service.offer("TV", 1000).await;
    let (hers, his) = (buy(&service, &alice, tv).await, buy(&service, &bob, tv).await);
    let mut streams = Vec::new();
    for _ in 0..32 {
        streams.push(listen(&service, &alice, hers, None).await);
    }
    let stream = || service.request(&alice, Method::GET, &path(hers)).header("Accept", "text/event-stream");
    woken(send(stream())).await.is(429, "rate_limited");
    wait(&service, &alice, hers, LONG).await.is(429, "rate_limited");
    assert_eq!(listen(&service, &bob, his, None).await.status(), 200);
    streams.pop();
    eventually("a place is free again", async || listen(&service, &alice, hers, None).await.status() == 200)
        .await;
}

#[tokio::test]
async fn when_all_seats_are_taken_a_wait_is_answered_at_once_and_a_stream_refused() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    let waits: Vec<_> = (0..MAX_WAITING).map(|_| service.app.statuses.wait_for(id).unwrap()).collect();
    let reply = woken(wait(&service, &alice, id, LONG)).await;
    assert_eq!((reply.status.as_u16(), reply.headers.get("preference-applied")), (200, None));
    assert_eq!(reply.json()["status"], "PENDING");
    let refused = service.request(&alice, Method::GET, &path(id)).header("Accept", "text/event-stream");
    let refused = woken(send(refused)).await;
    refused.is(503, "overloaded");
    assert_eq!(refused.headers["retry-after"], "1");
    drop(waits);
    assert_eq!(listen(&service, &alice, id, None).await.status(), 200);
}

/// A Redis that takes connections and says nothing.
async fn hanging_redis() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    format!("redis://127.0.0.1:{port}/0")
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_who_wait_while_redis_hangs_leave_the_database_to_others() {
    const WAITING: usize = 4_200;
    let sandbox = Stack::get().await.sandbox().await;
    let setting = Setting { redis_url: Some(hanging_redis().await), ..Setting::default() };
    let service = Service::start_in(&sandbox, setting).await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 100).await;
    let id = buy(&service, &alice, tv).await;
    // Of one transaction they share a read; of as many others none can, and each asks PostgreSQL.
    let ids = (0..WAITING / 2).flat_map(|_| [id, TransactionId(Uuid::now_v7())]);
    let statuses = &service.app.statuses;
    let waits: Vec<_> = ids.map(|id| statuses.wait_for(id).unwrap()).collect();
    let looks = join_all(waits.iter().map(|wait| statuses.look(wait)));
    let others = async {
        let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
        let mut lock = owner.begin().await.unwrap();
        sqlx::query("lock table events in access exclusive mode").execute(&mut *lock).await.unwrap();
        let mut watcher = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
        eventually("those who wait hold what connections they get", async || {
            let held = "select count(*) from pg_locks where not granted and relation = 'events'::regclass";
            sqlx::query_scalar::<_, i64>(held).fetch_one(&mut watcher).await.unwrap() >= 3
        })
        .await;
        for _ in 0..20 {
            assert_eq!(service.balance(&alice).await, "999.00");
        }
        lock.rollback().await.unwrap();
    };
    let (seen, ()) = tokio::join!(looks, others);
    let seen = seen.into_iter().map(|seen| seen.expect("it waits its turn and is read"));
    let (found, missing): (Vec<_>, Vec<_>) = seen.partition(|seen| seen.now.is_some());
    assert_eq!((found.len(), missing.len()), (WAITING / 2, WAITING / 2));
    let reads: HashSet<_> = found.iter().map(Arc::as_ptr).collect();
    assert!(reads.len() < 10, "{} reads of one transaction", reads.len());
}

#[tokio::test]
async fn a_seat_hears_what_happened_since_it_was_taken() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let (id, other) = (buy(&service, &alice, tv).await, buy(&service, &alice, tv).await);
    let mut quiet = service.app.statuses.wait_for(other).unwrap();
    let mut wait = service.app.statuses.wait_for(id).unwrap();
    service.all_listed().await;
    assert_eq!(timeout(DEADLINE, quiet.signalled()).await, Ok(Signal::Changed), "the usher has begun");
    service.begin(id).await;
    service.all_listed().await;
    eventually("it is called", async || timeout(DEADLINE, wait.signalled()).await == Ok(Signal::Changed))
        .await;
    assert!(timeout(Duration::from_millis(200), quiet.signalled()).await.is_err(), "nothing happened to it");
}

#[tokio::test]
async fn who_hangs_up_leaves_the_seat() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    for (header, value) in [("Prefer", LONG), ("Accept", "text/event-stream")] {
        let address = service.url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        let (path, token) = (path(id), &alice.token);
        let request = format!(
            "GET /api/v1{path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n{header}: {value}\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        eventually("it waits", async || service.app.statuses.waiting() == 1).await;
        drop(connection);
        woken(eventually("it has left", async || service.app.statuses.waiting() == 0)).await;
    }
}

#[tokio::test]
async fn when_the_service_stops_who_waits_is_answered_and_streams_end() {
    let service = Service::start().await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = buy(&service, &alice, tv).await;
    let mut stream = listen(&service, &alice, id, None).await;
    let mut text = String::new();
    next_event(&mut stream, &mut text).await.unwrap();
    let request = service.request(&alice, Method::GET, &path(id)).header("Prefer", LONG);
    let held = tokio::spawn(send(request));
    eventually("both wait", async || service.app.statuses.waiting() == 2).await;
    let stopping = tokio::spawn(service.stop());
    let reply = woken(held).await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (200, &json!("PENDING")));
    assert!(next_event(&mut stream, &mut text).await.is_none());
    stopping.await.unwrap();
}
