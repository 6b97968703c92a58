//! What an analyst may try: nothing that the service or another analyst has changes.
//!
//! NATS checks what a client publishes to, but neither the reply subject nor the deliver subject that it
//! names. So each call that an analyst may make is tried with each foreign subject as the place of the
//! answer.

use super::analyst::{API_PREFIX, NAME, mirrored, publish_checkpoint, until_mirrored};
use super::{Fixture, everything};
use crate::support::nats_server::NatsServer;
use async_nats::jetstream::Context;
use async_nats::{Client, Subscriber};
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// What an analyst is not allowed to ask is not answered; this is long enough to be sure.
const NO_ANSWER: Duration = Duration::from_millis(300);
/// What an analyst is allowed to ask is answered.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a consumer that pushes says that it is alive: the shortest time that NATS takes.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// How many heartbeats an attack has to show what it does.
const HEARTBEATS: usize = 3;
/// The other analyst's consumer.
const VICTIM: &str = "victim";
/// The attacker's consumer, which has read everything.
const OWN: &str = "own";

/// The calls that change something, by every prefix that exists, and where messages are taken up.
fn foreign_subjects() -> Vec<String> {
    let changes = [
        format!("STREAM.DELETE.{NAME}"),
        format!("STREAM.PURGE.{NAME}"),
        format!("STREAM.CREATE.{NAME}"),
        format!("STREAM.UPDATE.{NAME}"),
        format!("STREAM.SNAPSHOT.{NAME}"),
        format!("STREAM.MSG.DELETE.{NAME}"),
        format!("CONSUMER.CREATE.{NAME}"),
        format!("CONSUMER.DELETE.{NAME}.{VICTIM}"),
        format!("CONSUMER.MSG.NEXT.{NAME}.{VICTIM}"),
    ];
    let prefixes = ["$JS.API", API_PREFIX, "OFFERSJS.API"];
    let changes =
        prefixes.iter().flat_map(|prefix| changes.iter().map(move |change| format!("{prefix}.{change}")));
    let others = [
        format!("$JS.FC.{NAME}.x"),
        format!("$JS.FC.{NAME}.{VICTIM}.x"),
        format!("$JS.ACK.{NAME}.x.1.1.1.0.0"),
        "offers.events.account.credited".to_owned(),
        "offers.mirror.deliver.x".to_owned(),
        "offers.checkpoints".to_owned(),
        "$JS.API.STREAM.DELETE.OFFERS_CHECKPOINTS".to_owned(),
    ];
    changes.chain(others).collect()
}

/// The calls that an analyst may make, with and without something to be found.
fn calls() -> Vec<(String, Value)> {
    let api = |call: &str, body: Value| (format!("{API_PREFIX}.{call}"), body);
    let short = json!({ "ack_policy": "none", "mem_storage": true, "inactive_threshold": 1_000_000_000 });
    let create = json!({ "stream_name": NAME, "config": short });
    vec![
        api(&format!("STREAM.INFO.{NAME}"), json!({})),
        api(&format!("STREAM.MSG.GET.{NAME}"), json!({ "seq": 1 })),
        api(&format!("STREAM.MSG.GET.{NAME}"), json!({ "seq": 99_999_999 })),
        api(&format!("DIRECT.GET.{NAME}"), json!({ "seq": 1 })),
        api(&format!("DIRECT.GET.{NAME}"), json!({ "seq": 99_999_999 })),
        api(&format!("DIRECT.GET.{NAME}.offers.events.account.credited"), json!({})),
        api(&format!("DIRECT.GET.{NAME}.no.such.subject"), json!({})),
        api(&format!("CONSUMER.CREATE.{NAME}"), json!({ "stream_name": "OTHER" })),
        api(&format!("CONSUMER.CREATE.{NAME}"), create.clone()),
        api(&format!("CONSUMER.INFO.{NAME}.{VICTIM}"), json!({})),
        api(&format!("CONSUMER.INFO.{NAME}.none"), json!({})),
        api(&format!("CONSUMER.MSG.NEXT.{NAME}.{OWN}"), json!({ "batch": 1, "no_wait": true })),
        api(&format!("CONSUMER.MSG.NEXT.{NAME}.{OWN}"), json!({ "batch": 1, "expires": 1_000_000 })),
        (format!("$JS.ACK.{NAME}.{OWN}.1.1.1.0.0"), json!({})),
        (format!("$JS.FC.{NAME}.x"), json!({})),
    ]
}

/// All that may not change: both accounts' streams, all but the attacker's consumers, and what those have
/// delivered.
type Everything = BTreeMap<String, Value>;

async fn look(service: &Client, admin: &Client) -> Everything {
    let mut seen = Everything::new();
    for (account, client) in [("OFFERS", service), ("ANALYTICS", admin)] {
        for call in [
            "STREAM.NAMES".to_owned(),
            format!("STREAM.INFO.{NAME}"),
            "STREAM.INFO.OFFERS_CHECKPOINTS".to_owned(),
            format!("CONSUMER.INFO.{NAME}.{VICTIM}"),
        ] {
            let answer = client.request(format!("$JS.API.{call}"), "".into()).await.unwrap();
            let mut answer: Value = serde_json::from_slice(&answer.payload).unwrap();
            for changing in ["ts", "mirror", "cluster", "num_waiting", "push_bound", "total"] {
                answer.as_object_mut().unwrap().remove(changing);
            }
            if let Some(state) = answer["state"].as_object_mut() {
                state.remove("consumer_count");
            }
            seen.insert(format!("{account} {call}"), answer);
        }
    }
    seen
}

/// A server with a stream, its mirror, one analyst who reads, and one who attacks.
struct Scene {
    fixture: Fixture,
    service: Client,
    admin: Context,
    attacker: Client,
    /// A consumer of the attacker's that pushes nothing but heartbeats.
    beats: Subscriber,
    before: Everything,
}

impl Scene {
    async fn set(server: &NatsServer) -> Scene {
        let (fixture, admin) = mirrored(server).await;
        publish_checkpoint(&fixture.bus, "a checkpoint").await;
        let (service, attacker) = (server.client("app").await, server.client("analyst").await);
        let other = server.client("analyst").await;
        let idle = Duration::from_secs(600).as_nanos();
        let all = json!({ "deliver_policy": "all", "ack_policy": "explicit", "inactive_threshold": idle });
        assert!(create(&other, VICTIM, all).await);
        let mut inbox = other.subscribe("_INBOX.other").await.unwrap();
        let next = format!("{API_PREFIX}.CONSUMER.MSG.NEXT.{NAME}.{VICTIM}");
        other.publish_with_reply(next, "_INBOX.other", "5".into()).await.unwrap();
        for _ in 0..5 {
            inbox.next().await.unwrap(); // being handled, so not acknowledged yet
        }
        let new = json!({ "deliver_policy": "new", "ack_policy": "explicit", "inactive_threshold": idle });
        assert!(create(&attacker, OWN, new).await);
        let beats = attacker.subscribe("_INBOX.beats").await.unwrap();
        let beating = json!({ "deliver_policy": "new", "ack_policy": "none", "deliver_subject": "_INBOX.beats",
            "idle_heartbeat": HEARTBEAT.as_nanos() });
        assert!(create(&attacker, "beats", beating).await);
        let before = look(&service, &admin.client()).await;
        assert_eq!(before[&format!("ANALYTICS CONSUMER.INFO.{NAME}.{VICTIM}")]["num_ack_pending"], 5);
        Scene { fixture, service, admin, attacker, beats, before }
    }

    /// Waits until the server has done what it was asked, and has had time for more.
    async fn pass_time(&mut self) {
        self.attacker.request(format!("{API_PREFIX}.STREAM.INFO.{NAME}"), "".into()).await.unwrap();
        while self.beats.next().now_or_never().is_some() {}
        let beats = (&mut self.beats).take(HEARTBEATS).count();
        let _are_gone_with_the_mirror = timeout(ANSWER, beats).await;
    }

    async fn is_unchanged(&mut self, after: &str) {
        self.pass_time().await;
        assert_eq!(look(&self.service, &self.admin.client()).await, self.before, "after {after}");
    }

    /// The relay still finds the stream as it left it, and the mirror follows.
    async fn still_works(self) {
        self.fixture.append(10).await; // would be refused by the fence if anything had slipped in
        self.fixture.until_copied().await;
        until_mirrored(&self.admin, &everything(&self.fixture.log).await).await;
    }
}

/// Makes a consumer on the mirror, as an analyst; false when that is refused.
async fn create(analyst: &Client, name: &str, mut config: Value) -> bool {
    config["name"] = json!(name);
    let body = json!({ "stream_name": NAME, "config": config });
    let subject = format!("{API_PREFIX}.CONSUMER.CREATE.{NAME}.{name}");
    is_granted(analyst, &subject, body.to_string(), ANSWER).await
}

/// Asks, and says whether anything but a refusal came back.
async fn is_granted(analyst: &Client, subject: &str, payload: String, patience: Duration) -> bool {
    let request = analyst.request(subject.to_owned(), payload.into());
    match timeout(patience, request).await {
        Ok(Ok(answer)) => {
            serde_json::from_slice::<Value>(&answer.payload).is_ok_and(|answer| answer["error"].is_null())
        }
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Consumers that push, each with another kind of empty message.
fn pushes() -> [Value; 4] {
    let heartbeat = HEARTBEAT.as_nanos();
    [
        json!({ "ack_policy": "explicit" }),
        json!({ "ack_policy": "none", "headers_only": true }),
        json!({ "ack_policy": "none", "headers_only": true, "idle_heartbeat": heartbeat, "flow_control": true }),
        json!({ "ack_policy": "none", "deliver_policy": "new", "idle_heartbeat": heartbeat }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_can_change_nothing() {
    let server = NatsServer::start().await;
    let mut scene = Scene::set(&server).await;

    let form = json!({ "name": NAME, "subjects": ["offers.events.>"], "max_msgs": 1 });
    let may = [format!("{API_PREFIX}.CONSUMER.CREATE"), format!("{API_PREFIX}.CONSUMER.MSG.NEXT")];
    for subject in foreign_subjects().iter().filter(|subject| !may.iter().any(|may| subject.starts_with(may)))
    {
        let has_form = subject.contains("CREATE") || subject.contains("UPDATE");
        let body = if has_form { form.to_string() } else { String::new() };
        assert!(!is_granted(&scene.attacker, subject, body, NO_ANSWER).await, "{subject} is granted");
    }
    scene.is_unchanged("calls that are not allowed").await;

    let is_old = !scene.attacker.is_server_compatible(2, 9, 15);
    for reply in foreign_subjects() {
        if is_old && reply.starts_with(&format!("{API_PREFIX}.CONSUMER.MSG.NEXT")) {
            continue; // ends such a server, which is why it must not be handed to analysts
        }
        for (call, body) in calls() {
            let asked = scene.attacker.publish_with_reply(call, reply.clone(), body.to_string().into());
            asked.await.unwrap();
        }
        scene.is_unchanged(&format!("answers to {reply}")).await;
    }

    for deliver in foreign_subjects() {
        if deliver == format!("$JS.API.CONSUMER.MSG.NEXT.{NAME}.{VICTIM}") {
            continue; // whoever knows the (random) name of a consumer may pull from it anyway
        }
        let attacker = &scene.attacker;
        join_all(pushes().into_iter().enumerate().map(async |(number, mut config)| {
            config["deliver_subject"] = json!(deliver);
            create(attacker, &format!("push-{number}"), config).await
        }))
        .await;
        scene.is_unchanged(&format!("deliveries to {deliver}")).await;
        for number in 0..pushes().len() {
            let _ = scene.admin.delete_consumer_from_stream(&format!("push-{number}"), NAME).await;
        }
    }
    scene.still_works().await;
}
