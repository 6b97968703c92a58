//! Clients who buy, and repeat with the same key until they are answered.

use super::processes::System;
use crate::support::eventually::eventually;
use crate::support::http;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long the clients may take to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause of a client who got no answer.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Ids of accepted transactions, each once.
pub type Accepted = Vec<String>;

/// Clients at work.
pub struct Load {
    accepted: Arc<Mutex<Accepted>>,
    clients: JoinSet<()>,
    stop: CancellationToken,
}

impl Load {
    /// `clients` of them, half alice's, half bob's; every seventh purchase is of the rejected offer.
    pub fn begin(system: &System, clients: usize) -> Self {
        let load = Self { accepted: Arc::default(), clients: JoinSet::new(), stop: CancellationToken::new() };
        let (cheap, rejected) = (system.members.offers[0], *system.members.offers.last().unwrap());
        let mut load = load;
        for number in 0..clients {
            let buyer = Buyer { url: system.url.clone(), client: http(), accepted: load.accepted.clone() };
            let stop = load.stop.clone();
            load.clients.spawn(async move {
                let username = if number % 2 == 0 { "alice" } else { "bob" };
                let token = buyer.log_in(username).await;
                for purchase in number.. {
                    if stop.is_cancelled() {
                        return;
                    }
                    buyer.buy(&token, if purchase % 7 == 0 { rejected } else { cheap }).await;
                }
            });
        }
        load
    }

    /// Waits until `more` have been accepted from now on.
    pub async fn accepted_more(&self, more: usize) {
        let count = || self.accepted.lock().unwrap().len();
        let wanted = count() + more;
        eventually("so many are accepted", async || count() >= wanted).await;
    }

    /// Lets every client finish what it has begun.
    pub async fn end(self) -> Accepted {
        self.stop.cancel();
        timeout(PATIENCE, self.clients.join_all()).await.unwrap();
        std::mem::take(&mut *self.accepted.lock().unwrap())
    }
}

struct Buyer {
    url: String,
    client: Client,
    accepted: Arc<Mutex<Accepted>>,
}

impl Buyer {
    async fn log_in(&self, username: &str) -> String {
        let body = json!({"username": username, "password": format!("{username}-demo")});
        loop {
            let answer =
                self.client.post(format!("{}/api/v1/auth/login/", self.url)).json(&body).send().await;
            match answer {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    let grant: Value = answer.json().await.unwrap();
                    return grant["access"].as_str().unwrap().to_owned();
                }
                _ => sleep(PAUSE).await,
            }
        }
    }

    /// Buys once, repeating with the same key while there is no clear answer.
    async fn buy(&self, token: &str, offer: Uuid) {
        let key = Uuid::now_v7();
        loop {
            let sent = self
                .client
                .post(format!("{}/api/v1/activation/", self.url))
                .bearer_auth(token)
                .header("Idempotency-Key", key.to_string())
                .json(&json!({"offer_id": offer}))
                .timeout(ANSWER)
                .send()
                .await;
            match sent {
                Ok(answer) if answer.status() == StatusCode::ACCEPTED => {
                    let Ok(body) = answer.json::<Value>().await else { continue };
                    let id = body["transaction_id"].as_str().unwrap().to_owned();
                    return self.accepted.lock().unwrap().push(id);
                }
                Ok(answer) if answer.status().is_server_error() => sleep(PAUSE).await,
                Ok(answer) => panic!("{}: {}", answer.status(), answer.text().await.unwrap_or_default()),
                Err(_) => sleep(PAUSE).await, // killed just now
            }
        }
    }
}
