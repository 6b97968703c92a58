//! What analysts can do with their mirror: read all of it, and nothing else.

use super::{Fixture, everything};
use crate::support::eventually::eventually;
use crate::support::nats_server::NatsServer;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull, push};
use async_nats::jetstream::{self, Context, Message};
use domain::Recorded;
use futures::{Stream, StreamExt};
use offers::bus::{Bus, State};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

pub(super) const NAME: &str = "OFFERS_EVENTS";
/// The prefix of the JetStream API for analysts.
pub(super) const API_PREFIX: &str = "EVENTS.API";

/// Less than the 30 s that a large mirror has before it is recreated. A small one has 4 s, but one that was just created,
/// as in a test, has 15.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(25);

/// JetStream as an analyst sees it.
pub(super) async fn analyst(server: &NatsServer) -> Context {
    jetstream::with_prefix(server.client("analyst").await, API_PREFIX)
}

pub(super) async fn until_mirrored(admin: &Context, log: &[Recorded]) {
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
pub(super) async fn mirrored(server: &NatsServer) -> (Fixture, Context) {
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
    let log = everything(&fixture.log).await;
    let analyst = analyst(&server).await;
    let mirror = analyst.get_stream(NAME).await.unwrap();

    let pushing = push::OrderedConfig { deliver_subject: analyst.client().new_inbox(), ..Default::default() };
    let pushing = mirror.create_consumer(pushing).await.unwrap();
    is_everything(pushing.messages().await.unwrap(), &log).await;
    let ordered = mirror.create_consumer(pull::OrderedConfig::default()).await.unwrap();
    is_everything(ordered.messages().await.unwrap(), &log).await;

    let pulling = pull::Config { deliver_policy: DeliverPolicy::All, ..Default::default() };
    let pulling = mirror.create_consumer(pulling).await.unwrap();
    let mut batch = pulling.fetch().max_messages(150).messages().await.unwrap();
    for position in 1..=150_u64 {
        let message = batch.next().await.unwrap().unwrap();
        assert_eq!(message.info().unwrap().stream_sequence, position);
        message.ack().await.unwrap();
    }
}

pub(super) async fn publish_checkpoint(bus: &Bus, note: &str) {
    let checkpoints = bus.checkpoints();
    checkpoints.publish(note.to_owned());
    let is_there = async || checkpoints.newest().await.unwrap().as_deref() == Some(note);
    eventually("the checkpoint is published", is_there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_hears_of_checkpoints_and_the_stream_keeps_the_newest() {
    let server = NatsServer::start().await;
    let fixture = Fixture::on(&server).await;
    let analyst = server.client("analyst").await;
    let mut heard = analyst.subscribe("offers.checkpoints").await.unwrap();
    analyst.flush().await.unwrap();
    for note in ["one", "two"] {
        publish_checkpoint(&fixture.bus, note).await;
        assert_eq!(heard.next().await.unwrap().payload, note);
    }
    // A stream that was deleted is made again with the next one.
    fixture.outside.delete_stream("OFFERS_CHECKPOINTS").await.unwrap();
    assert_eq!(fixture.bus.checkpoints().newest().await.unwrap(), None);
    publish_checkpoint(&fixture.bus, "three").await;
}

/// Reads `messages` up to the end of `log`, and compares.
async fn is_everything<E: std::fmt::Debug>(
    messages: impl Stream<Item = Result<Message, E>> + Unpin,
    log: &[Recorded],
) {
    let messages: Vec<_> = messages.take(log.len()).collect().await;
    for (message, event) in messages.into_iter().zip(log) {
        let body: Value = serde_json::from_slice(&message.unwrap().payload).unwrap();
        assert_eq!(
            (&body["id"], &body["position"]),
            (&json!(event.event_id), &json!(event.position.to_string()))
        );
    }
}

/// More than the server sends before it wants to hear that the client follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_pushes_does_not_stall() {
    let server = NatsServer::start().await;
    let (fixture, admin) = mirrored(&server).await;
    fixture.append(6_000).await;
    let log = everything(&fixture.log).await;
    until_mirrored(&admin, &log).await;
    let analyst = analyst(&server).await;
    let mirror = analyst.get_stream(NAME).await.unwrap();
    let pushing = push::OrderedConfig { deliver_subject: analyst.client().new_inbox(), ..Default::default() };
    let pushing = mirror.create_consumer(pushing).await.unwrap();
    is_everything(pushing.messages().await.unwrap(), &log).await;
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
    let log = everything(&fixture.log).await;
    let follows = timeout(FOLLOWS_WITHIN, until_mirrored(&admin, &log)).await;
    follows.expect("a mirror that is quickly copied is not waited for as one that is large");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_analysts_consumers_is_bounded() {
    let server = NatsServer::start().await;
    let (_fixture, _) = mirrored(&server).await;
    let analyst = analyst(&server).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_any_analyst_could_end_is_named() {
    let server = NatsServer::start().await;
    let fixture = Fixture::on(&server).await;
    eventually("the bus is connected", async || fixture.bus.state() == State::Connected).await;
    let client = server.client("analyst").await;
    let named = fixture.bus.unfit_for_analysts();
    assert_eq!(named.is_none(), client.is_server_compatible(2, 9, 15), "{named:?}");
    let version = client.server_info().version;
    assert!(named.is_none_or(|why| why.contains(&version) && why.contains("2.9.15")));
}
