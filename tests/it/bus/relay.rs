//! Publishing: in log order, once, whatever is killed in between.

use super::{Fixture, WINDOW_BYTES};
use crate::support::eventually::{DEADLINE, eventually};
use crate::support::nats_server::NatsServer;
use async_nats::jetstream;
use domain::{AccountId, History, HistoryAnswer, Metadata, Money, Record, Recorded, account};
use offers::bus::{Bus, Options, State};
use offers::event_log::{AggregateCommand, Plan, Sink};
use std::iter;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_has_every_event_at_its_own_position() {
    let fixture = Fixture::shared().await;
    fixture.append(50).await;
    fixture.relay().await;
    fixture.append(1_500).await;
    fixture.until_copied().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_a_cloud_event_with_the_contract_s_headers() {
    let fixture = Fixture::shared().await;
    let account = AccountId(Uuid::now_v7());
    let metadata = Metadata {
        reason: Some("a private matter".into()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..Metadata::system("test", Uuid::now_v7())
    };
    let amount = Money::from_hundredths(1_990);
    let credit = Plan::new().command(AggregateCommand::Account(account, account::Command::Credit { amount }));
    fixture.log.commit(&metadata, credit).await.unwrap();
    fixture.relay().await;
    fixture.until_copied().await;

    let stream = fixture.outside.get_stream(&fixture.options.stream).await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    assert_eq!(message.subject.as_str(), format!("{}.account.credited", fixture.options.subjects));
    let header = |name: &str| message.headers.get(name).unwrap().as_str().to_owned();
    assert_eq!(header("Offers-Position"), "1");
    assert_eq!(header("Content-Type"), "application/cloudevents+json");
    assert_eq!(header("traceparent"), metadata.traceparent.unwrap());
    let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(body["data"], serde_json::json!({ "type": "Credited", "amount": "19.90" }));
    assert_eq!(body["correlationid"], metadata.correlation_id.to_string());
    assert!(!String::from_utf8_lossy(&message.payload).contains("private"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_relay_publishes_nothing_twice() {
    let fixture = Fixture::shared().await;
    fixture.append(700).await;
    let first = fixture.relay().await;
    eventually("something is published", async || {
        fixture
            .outside
            .get_stream(&fixture.options.stream)
            .await
            .is_ok_and(|stream| stream.cached_info().state.messages > 0)
    })
    .await;
    first.cancel(); // anywhere in between
    for _ in 0..3 {
        let again = fixture.relay().await;
        fixture.append(100).await;
        again.cancel();
    }
    fixture.relay().await;
    fixture.until_copied().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_at_once_still_publish_everything_once() {
    let fixture = Fixture::shared().await;
    fixture.relay().await;
    fixture.relay().await;
    for _ in 0..10 {
        fixture.append(100).await;
    }
    fixture.until_copied().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_killed_in_the_middle_loses_and_doubles_nothing() {
    let mut server = NatsServer::start().await;
    let fixture = Fixture::on(&server).await;
    fixture.relay().await;
    for _ in 0..3 {
        let appended = fixture.append(2_000);
        tokio::pin!(appended);
        eventually("publishing has begun", async || {
            tokio::select! {
                biased;
                () = &mut appended => true,
                moved = async { fixture.outside.get_stream("OFFERS_EVENTS").await.is_ok_and(|stream| stream.cached_info().state.messages > 100) } => moved,
            }
        })
        .await;
        server.kill();
        eventually("the bus is degraded", async || fixture.bus.state().is_degraded()).await;
        fixture.append(100).await; // the log does not care
        server.restart().await;
    }
    fixture.until_copied().await;
    eventually("the bus works again", async || fixture.bus.state() == State::Connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_the_bus_opens_and_says_degraded() {
    let mut server = NatsServer::prepare();
    let stop = CancellationToken::new();
    let opening = timeout(DEADLINE, Bus::open(Options::new(server.url("app")), &stop));
    let bus = opening.await.expect("opening does not wait for NATS").unwrap();
    assert!(bus.state().is_degraded());
    server.restart().await;
    eventually("the bus finds NATS by itself", async || bus.state() == State::Connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_and_its_mirror_keep_the_newest_events() {
    let server = NatsServer::start().await;
    let fixture = Fixture::windowed(&server).await;
    let admin = jetstream::new(server.client("analytics_admin").await);
    let relay = fixture.relay().await;
    fixture.append(1_000).await;
    let (born, first) = until_newest(&fixture, &admin, 1_000).await;
    assert!(first > 1, "nothing was dropped");
    relay.cancel();

    fixture.relay().await;
    fixture.append(1_000).await;
    let (still, later) = until_newest(&fixture, &admin, 2_000).await;
    assert_eq!(still, born, "a window is no reason to make the stream anew");
    assert!(later > first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_stream_is_filled_with_the_events_that_it_can_keep() {
    let server = NatsServer::start().await;
    let fixture = Fixture::windowed(&server).await;
    let admin = jetstream::new(server.client("analytics_admin").await);
    fixture.append(2_000).await;
    fixture.relay().await;
    let (born, first) = until_newest(&fixture, &admin, 2_000).await;
    fixture.outside.delete_stream("OFFERS_EVENTS").await.unwrap();
    fixture.append(10).await;
    let (again, later) = until_newest(&fixture, &admin, 2_010).await;
    assert_ne!(again, born);
    assert!(later.abs_diff(first) < 100, "{first} and {later}");
    let config = fixture.outside.get_stream("OFFERS_EVENTS").await.unwrap().cached_info().config.clone();
    let begins_late = server.client("app").await.is_server_compatible(2, 10, 0);
    assert_eq!(config.first_sequence.is_some_and(|first| first > 1), begins_late);
}

/// Waits until stream and mirror end with `last`; when the stream was made, and its first message.
async fn until_newest(fixture: &Fixture, admin: &jetstream::Context, last: u64) -> (String, u64) {
    // A mirror of 2.9 may stay empty when the stream begins late: one more reason why such a server is too old to
    // be handed to analysts.
    let mirrors_late_streams = admin.client().is_server_compatible(2, 10, 0);
    for context in iter::once(&fixture.outside).chain(mirrors_late_streams.then_some(admin)) {
        eventually("the newest event is there", async || {
            let Ok(stream) = context.get_stream("OFFERS_EVENTS").await else { return false };
            stream.cached_info().state.last_sequence == last
        })
        .await;
        let info = context.get_stream("OFFERS_EVENTS").await.unwrap().cached_info().clone();
        assert_eq!(info.state.messages, last - info.state.first_sequence + 1, "no holes");
        assert!(info.state.bytes <= WINDOW_BYTES);
    }
    let info = fixture.outside.get_stream("OFFERS_EVENTS").await.unwrap().cached_info().clone();
    (info.created.to_string(), info.state.first_sequence)
}

/// A log that knows only the ids of its events.
struct Remembered(Vec<Uuid>);

impl History for Remembered {
    fn head(&self) -> HistoryAnswer<'_, i64> {
        Box::pin(async { Ok(i64::try_from(self.0.len()).unwrap()) })
    }

    fn event_id_at(&self, position: i64) -> HistoryAnswer<'_, Option<Uuid>> {
        Box::pin(async move { Ok(self.0.get(usize::try_from(position - 1).unwrap()).copied()) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_message_that_slips_in_between_is_noticed() {
    let fixture = Fixture::shared().await;
    let events: Vec<Recorded> = (1..=20).map(requested).collect();
    let history = Remembered(events.iter().map(|event| event.event_id).collect());
    let mut relay = fixture.bus.relay(history).await.unwrap();
    relay.checkpoint().await.unwrap();
    relay.apply(&events[..10]).await.unwrap();
    let subject = format!("{}.hello.world", fixture.options.subjects);
    fixture.outside.publish(subject, "not an event".into()).await.unwrap().await.unwrap();
    // It has the sequence of event 11, so the server finds 12 to 20 right behind it.
    relay.apply(&events[10..]).await.unwrap_err();
    assert_eq!(relay.checkpoint().await.unwrap(), 0, "the stream must be recreated");
    relay.apply(&events).await.unwrap();
    assert_eq!(relay.checkpoint().await.unwrap(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_published_before_its_first_acknowledgement() {
    let fixture = Fixture::shared().await;
    let mut url: Url = fixture.options.url.parse().unwrap();
    let gate = Gate::before(format!("127.0.0.1:{}", url.port().unwrap())).await;
    url.set_port(Some(gate.port)).unwrap();
    let bus = Bus::open(Options { url: url.into(), ..fixture.options.clone() }, &fixture.stop).await.unwrap();
    let events: Vec<Recorded> = (1..=200).map(requested).collect();
    let history = Remembered(events.iter().map(|event| event.event_id).collect());
    let mut relay = bus.relay(history).await.unwrap();
    assert_eq!(relay.checkpoint().await.unwrap(), 0);
    relay.apply(&events[..1]).await.unwrap();
    gate.answers.send_replace(false);
    let published = gate.publishes();
    let applying = tokio::spawn(async move { relay.apply(&events[1..]).await });
    eventually("all are published without an answer", async || gate.publishes() == published + 199).await;
    applying.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_last_publish_of_a_page_asks_for_an_answer_except_in_the_first_page() {
    let fixture = Fixture::shared().await;
    let mut url: Url = fixture.options.url.parse().unwrap();
    let gate = Gate::before(format!("127.0.0.1:{}", url.port().unwrap())).await;
    url.set_port(Some(gate.port)).unwrap();
    let bus = Bus::open(Options { url: url.into(), ..fixture.options.clone() }, &fixture.stop).await.unwrap();
    let events: Vec<Recorded> = (1..=320).map(requested).collect();
    let history = Remembered(events.iter().map(|event| event.event_id).collect());
    let mut relay = bus.relay(history).await.unwrap();
    relay.checkpoint().await.unwrap();
    let mut asked = Vec::new();
    for page in [&events[..10], &events[10..20], &events[20..]] {
        relay.apply(page).await.unwrap();
        asked.push(gate.publishes_with_reply());
    }
    assert_eq!(asked, [10, 11, 14], "and at 128 and 256 of a long one");
    assert_eq!(relay.checkpoint().await.unwrap(), 320);
}

/// A way to NATS that counts what is published and can hold the answers back.
struct Gate {
    port: u16,
    requests: Arc<Mutex<Vec<u8>>>,
    answers: watch::Sender<bool>,
    _forwarding: JoinSet<()>,
}

impl Gate {
    async fn before(server: String) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, answers) = (Arc::new(Mutex::new(Vec::new())), watch::Sender::new(true));
        let (seen, mut open, mut forwarding) = (requests.clone(), answers.subscribe(), JoinSet::new());
        forwarding.spawn(async move {
            let (mut near_in, mut near_out) = listener.accept().await.unwrap().0.into_split();
            let (mut far_in, mut far_out) = TcpStream::connect(server).await.unwrap().into_split();
            let there = async {
                let mut bytes = [0; 4_096];
                while let Ok(count @ 1..) = near_in.read(&mut bytes).await {
                    seen.lock().unwrap().extend_from_slice(&bytes[..count]);
                    far_out.write_all(&bytes[..count]).await.unwrap();
                }
            };
            let back = async {
                let mut bytes = [0; 4_096];
                while let Ok(count @ 1..) = far_in.read(&mut bytes).await {
                    open.wait_for(|open| *open).await.unwrap();
                    near_out.write_all(&bytes[..count]).await.unwrap();
                }
            };
            tokio::join!(there, back);
        });
        Gate { port, requests, answers, _forwarding: forwarding }
    }

    fn publishes(&self) -> usize {
        self.requests.lock().unwrap().windows(5).filter(|bytes| bytes == b"HPUB ").count()
    }

    /// Of these, those that want an answer: `HPUB <subject> [reply] <bytes> <bytes>`.
    fn publishes_with_reply(&self) -> usize {
        let requests = String::from_utf8_lossy(&self.requests.lock().unwrap()).into_owned();
        let publishes = requests.lines().filter(|line| line.starts_with("HPUB "));
        publishes.filter(|line| line.split(' ').count() == 5).count()
    }
}

fn requested(position: i64) -> Recorded {
    let id = Uuid::now_v7();
    Recorded::from(Record {
        position,
        event_id: Uuid::now_v7(),
        aggregate_type: "Transaction".into(),
        aggregate_id: id.to_string(),
        sequence: 1,
        event_type: "ActivationRequested".into(),
        event_version: "1.0".into(),
        recorded_at: "2026-11-22T08:30:00.123456Z".parse().unwrap(),
        payload: format!(
            r#"{{"type":"ActivationRequested","kind":"activation","user_id":"{id}","account_id":"{id}","offer_id":"{id}","offer_name":"TV","duration_days":30,"amount":"19.90"}}"#
        ),
        metadata: format!(r#"{{"correlation_id":"{id}","actor":"user:{id}"}}"#),
        commit_end: position,
    })
}
