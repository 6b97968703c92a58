//! Connections that fall silent without an end, as when a machine on the way dies.

use super::processes::System;
use super::tunnel::Tunnel;
use crate::support::eventually::eventually;
use crate::support::http;
use reqwest::Client;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Within which silence is noticed, and again within which new connections are used.
const NOTICED: Duration = Duration::from_secs(30);
/// How long a buyer waits for an answer.
const ANSWER: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_postgresql_is_noticed_within_30_seconds() {
    let (system, tunnels) = System::start_behind_tunnels().await;
    noticed(&system, &tunnels.postgres, async |buyer| buyer.part("postgresql").await != "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_redis_is_noticed_within_30_seconds() {
    let (system, tunnels) = System::start_behind_tunnels().await;
    noticed(&system, &tunnels.redis, async |buyer| buyer.part("redis").await != "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_nats_is_noticed_within_30_seconds() {
    let (system, tunnels) = System::start_behind_tunnels().await;
    noticed(&system, &tunnels.nats, async |buyer| buyer.part("nats").await != "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_activation_system_is_noticed_within_30_seconds() {
    let (system, tunnels) = System::start_behind_tunnels().await;
    let key = Uuid::now_v7();
    noticed(&system, &tunnels.activation_system, async |buyer| {
        let status = buyer.status(&buyer.buy(key).await.unwrap_or_default()).await;
        status["pending_reason"] == "outcome_unknown"
    })
    .await;
}

/// Everything that goes through `tunnel` falls silent, until `is_noticed`. Then new connections work, and what is bought
/// comes to its end on every channel, while the old connections stay silent.
async fn noticed(system: &System, tunnel: &Tunnel, is_noticed: impl AsyncFn(&Buyer) -> bool) {
    let buyer = Buyer::of(system).await;
    buyer.a_purchase_comes_everywhere(system).await;
    let since = Instant::now();
    tunnel.stop();
    eventually("the silence is noticed", async || is_noticed(&buyer).await).await;
    assert!(since.elapsed() < NOTICED, "noticed after {:?}", since.elapsed());
    let since = Instant::now();
    tunnel.admit();
    buyer.a_purchase_comes_everywhere(system).await;
    eventually("the service is ready again", async || buyer.ready().await["status"] == "ok").await;
    assert!(since.elapsed() < NOTICED, "it worked again after {:?}", since.elapsed());
    tunnel.end_frozen();
    buyer.a_purchase_comes_everywhere(system).await;
}

struct Buyer {
    client: Client,
    url: String,
    token: String,
    offer_id: Uuid,
}

impl Buyer {
    async fn of(system: &System) -> Self {
        let (token, offer_id) = (system.log_in("alice").await, system.members.offers[0]);
        Self { client: http(), url: system.url.clone(), token, offer_id }
    }

    /// The answer, or null if there is none in time.
    async fn get(&self, path: &str) -> Value {
        let sent = self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        let Ok(answer) = sent.timeout(ANSWER).send().await else { return Value::Null };
        answer.json().await.unwrap_or_default()
    }

    async fn ready(&self) -> Value {
        self.get("/readyz").await
    }

    /// What `/readyz` says of a part; `ok` also when it says nothing.
    async fn part(&self, name: &str) -> String {
        self.ready().await["parts"][name].as_str().unwrap_or("ok").to_owned()
    }

    /// The transaction's id, if it is accepted.
    async fn buy(&self, key: Uuid) -> Option<String> {
        let request = self.client.post(format!("{}/api/v1/activation/", self.url)).bearer_auth(&self.token);
        let request = request.header("Idempotency-Key", key.to_string());
        let sent = request.json(&json!({"offer_id": self.offer_id})).timeout(ANSWER).send().await.ok()?;
        let answer: Value = sent.json().await.ok()?;
        Some(answer["transaction_id"].as_str()?.to_owned())
    }

    async fn status(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/activation/status/{id}/")).await
    }

    /// It is accepted, succeeds, and is in Redis and in the stream.
    async fn a_purchase_comes_everywhere(&self, system: &System) {
        let key = Uuid::now_v7();
        let mut id = String::new();
        eventually("a purchase is accepted", async || {
            id = self.buy(key).await.unwrap_or_default();
            !id.is_empty()
        })
        .await;
        eventually("it succeeds", async || self.status(&id).await["status"] == "SUCCESS").await;
        eventually("it is in Redis", async || system.hash_status(&id).await.as_deref() == Some("SUCCESS"))
            .await;
        system.stream_has_every_event().await;
    }
}
