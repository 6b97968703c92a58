//! What analysts can do with their mirror: read all of it, and nothing else.

use super::{Fixture, everything};
use crate::support::eventually::eventually;
use crate::support::nats_server::NatsServer;
use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull, push};
use async_nats::jetstream::{self, Context};
use domain::Recorded;
use futures::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const NAME: &str = "OFFERS_EVENTS";

/// What an analyst is not allowed to ask is not answered; this is long enough to be sure.
const NO_ANSWER: Duration = Duration::from_millis(300);

async fn until_mirrored(admin: &Context, log: &[Recorded]) {
    let length = log.len() as u64;
    eventually("the mirror has everything", async || {
        let Ok(mirror) = admin.get_stream(NAME).await else { return false };
        let state = &mirror.cached_info().state;
        (state.first_sequence, state.messages, state.last_sequence) == (1, length, length)
    })
    .await;
    let mirror = admin.get_stream(NAME).await.unwrap();
    for event in log {
        let message = mirror.get_raw_message(u64::try_from(event.position).unwrap()).await.unwrap();
        assert_eq!(message.headers.get("Nats-Msg-Id").unwrap().as_str(), event.event_id.to_string());
    }
}

/// A filled stream with its mirror.
async fn mirrored(server: &NatsServer) -> (Fixture, Context) {
    let fixture = Fixture::on(server).await;
    fixture.append(150).await;
    fixture.relay().await;
    fixture.until_copied().await;
    let admin = jetstream::new(server.client("analytics_admin").await);
    until_mirrored(&admin, &everything(&fixture.log).await).await;
    (fixture, admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_reads_every_event_from_the_first() {
    let server = NatsServer::start().await;
    let (fixture, _) = mirrored(&server).await;
    let analyst = jetstream::new(server.client("analyst").await);
    let mirror = analyst.get_stream(NAME).await.unwrap();

    let config = push::OrderedConfig { deliver_subject: analyst.client().new_inbox(), ..Default::default() };
    let ordered = mirror.create_consumer(config).await.unwrap();
    let mut messages = ordered.messages().await.unwrap();
    for event in everything(&fixture.log).await {
        let message = messages.next().await.unwrap().unwrap();
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(
            (&body["id"], &body["position"]),
            (&json!(event.event_id), &json!(event.position.to_string()))
        );
    }

    let pulling = pull::Config { deliver_policy: DeliverPolicy::All, ..Default::default() };
    let pulling = mirror.create_consumer(pulling).await.unwrap();
    let mut batch = pulling.fetch().max_messages(150).messages().await.unwrap();
    for position in 1..=150_u64 {
        let message = batch.next().await.unwrap().unwrap();
        assert_eq!(message.info().unwrap().stream_sequence, position);
        message.ack().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_follows_a_stream_that_was_made_anew() {
    let server = NatsServer::start().await;
    let (fixture, admin) = mirrored(&server).await;
    fixture.outside.delete_stream(NAME).await.unwrap();
    fixture.append(50).await;
    fixture.until_copied().await;
    until_mirrored(&admin, &everything(&fixture.log).await).await;
    admin.delete_stream(NAME).await.unwrap();
    fixture.append(50).await;
    until_mirrored(&admin, &everything(&fixture.log).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_goes_on_after_a_restart_of_nats() {
    let mut server = NatsServer::start().await;
    let (fixture, admin) = mirrored(&server).await;
    server.kill();
    fixture.append(50).await;
    server.restart().await;
    fixture.until_copied().await;
    until_mirrored(&admin, &everything(&fixture.log).await).await;
}

/// Asks, and says whether anything but a refusal came back.
async fn is_granted(analyst: &Client, subject: &str, payload: Value) -> bool {
    let request = analyst.request(subject.to_owned(), payload.to_string().into());
    match tokio::time::timeout(NO_ANSWER, request).await {
        Ok(Ok(answer)) => {
            serde_json::from_slice::<Value>(&answer.payload).is_ok_and(|answer| answer["error"].is_null())
        }
        Ok(Err(_)) | Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_can_change_nothing() {
    let server = NatsServer::start().await;
    let (fixture, admin) = mirrored(&server).await;
    let log = everything(&fixture.log).await;
    let analyst = server.client("analyst").await;

    let form = json!({ "name": NAME, "subjects": ["offers.events.>"], "max_msgs": 1 });
    let consumer =
        json!({ "stream_name": NAME, "config": { "deliver_subject": "offers.events.account.credited" } });
    for (subject, payload) in [
        (format!("$JS.API.STREAM.PURGE.{NAME}"), json!({})),
        (format!("$JS.API.STREAM.DELETE.{NAME}"), json!({})),
        (format!("$JS.API.STREAM.UPDATE.{NAME}"), form.clone()),
        (format!("$JS.API.STREAM.CREATE.{NAME}"), form.clone()),
        ("$JS.API.STREAM.CREATE.MINE".into(), json!({ "name": "MINE", "subjects": ["offers.events.>"] })),
        (format!("$JS.API.STREAM.MSG.DELETE.{NAME}"), json!({ "seq": 1 })),
        (format!("$JS.API.STREAM.SNAPSHOT.{NAME}"), json!({ "deliver_subject": "_INBOX.x" })),
        (format!("$JS.API.CONSUMER.DELETE.{NAME}.x"), json!({})),
        (format!("OFFERSJS.API.CONSUMER.CREATE.{NAME}"), consumer.clone()),
        ("offers.events.account.credited".into(), json!({ "type": "Credited", "amount": "1000000.00" })),
        ("offers.mirror.deliver.x".into(), json!({})),
    ] {
        assert!(!is_granted(&analyst, &subject, payload).await, "{subject} is granted");
    }

    // Answers and deliveries into foreign subjects stay in the analysts' account, where no stream listens.
    let info = format!("$JS.API.STREAM.INFO.{NAME}");
    analyst.publish_with_reply(info, "offers.events.account.credited", "".into()).await.unwrap();
    let create = format!("$JS.API.CONSUMER.CREATE.{NAME}");
    analyst
        .publish_with_reply(create, "offers.events.account.credited", consumer.to_string().into())
        .await
        .unwrap();
    let next = json!({ "seq": 1 }).to_string();
    let get = format!("$JS.API.STREAM.MSG.GET.{NAME}");
    analyst.publish_with_reply(get, "offers.events.account.credited", next.into()).await.unwrap();
    analyst.request("$JS.API.INFO", "".into()).await.unwrap(); // all of it was processed

    fixture.append(10).await; // would be refused by the fence if anything had slipped in
    fixture.until_copied().await;
    let log_now = everything(&fixture.log).await;
    assert_eq!(log_now[..150], log[..]);
    until_mirrored(&admin, &log_now).await;
    let born = fixture.outside.get_stream(NAME).await.unwrap().cached_info().created;
    let description = admin.get_stream(NAME).await.unwrap().cached_info().config.description.clone();
    assert!(description.unwrap().ends_with(&born.to_string()), "it was made anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_analysts_consumers_is_bounded() {
    let server = NatsServer::start().await;
    let (_fixture, _) = mirrored(&server).await;
    let analyst = jetstream::new(server.client("analyst").await);
    let mirror = analyst.get_stream(NAME).await.unwrap();
    let mut made = 0;
    while mirror
        .create_consumer(pull::Config { ack_policy: AckPolicy::None, ..Default::default() })
        .await
        .is_ok()
    {
        made += 1;
        assert!(made <= 64, "no bound");
    }
    assert!(made >= 32, "too few: {made}");
}
