//! Clients who buy on both instances and repeat with the same key, and a watcher of what statuses are told.

use crate::recording::{Answer, Seen};
use crate::support::http;
use crate::system::System;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Buying for alice's account, which all of them share; for bob's; for the partner's, which runs out of money.
const CLIENTS: [(Who, usize); 3] = [(Who::Alice, 5), (Who::Bob, 2), (Who::Partner, 3)];
/// The pause of a client who got no answer, or was refused.
const PAUSE: Duration = Duration::from_millis(50);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a client may take to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Transactions that are watched at a time, the newest.
const WATCHED: usize = 24;
/// The longest page of a list.
const PAGE: usize = 200;
/// One of so many purchases is sent again after its answer; of the rejected offer; a renewal.
const REPEATED: u32 = 10;
const REJECTED: u32 = 7;
const RENEWAL: u32 = 12;

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Alice,
    Bob,
    Partner,
}

/// What all clients know and note.
struct Shared {
    urls: [String; 2],
    alice: String,
    alice_token: String,
    cheap: String,
    rejected: String,
    /// With whose authorisation its status can be read.
    answers: Mutex<Vec<(Answer, String)>>,
    seen: Mutex<Vec<Seen>>,
    wrong: Mutex<Vec<String>>,
    stop: CancellationToken,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

/// What was answered and seen, and answers that no client may get.
pub struct Noted {
    pub answers: Vec<Answer>,
    pub seen: Vec<Seen>,
    pub wrong: Vec<String>,
    /// How long the clients took to finish what they had begun.
    pub finished_in: Duration,
}

impl Load {
    pub async fn begin(system: &System, seed: u64) -> Self {
        let alice = system.members.users.iter().find(|user| user.username == "alice").unwrap();
        let tokens = [system.log_in("alice").await, system.log_in("bob").await, system.partner_key()];
        let shared = Arc::new(Shared {
            urls: system.urls.clone(),
            alice: alice.id.to_string(),
            alice_token: tokens[0].clone(),
            cheap: system.members.offers[0].to_string(),
            rejected: system.members.offers.last().unwrap().to_string(),
            answers: Mutex::default(),
            seen: Mutex::default(),
            wrong: Mutex::default(),
            stop: CancellationToken::new(),
        });
        let all = CLIENTS.into_iter().zip(&tokens);
        let all = all.flat_map(|((who, count), token)| std::iter::repeat_n((who, token.clone()), count));
        let mut clients = JoinSet::new();
        for (number, (who, token)) in (0_u64..).zip(all) {
            let random = StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(number));
            let buyer = Buyer { shared: shared.clone(), client: http(), who, token, random, number };
            clients.spawn(buyer.work());
        }
        clients.spawn(watch(shared.clone(), system.sandbox.redis_url.clone()));
        Self { shared, clients }
    }

    /// Waits until so many answers said that a purchase is accepted, repeats too.
    pub async fn has_accepted(&self, count: usize) {
        while self.shared.answers.lock().unwrap().len() < count {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Lets every client finish what it has begun.
    pub async fn end(self) -> Noted {
        self.shared.stop.cancel();
        let begun = Instant::now();
        timeout(PATIENCE, self.clients.join_all()).await.expect("every client gets its answer");
        let answers = std::mem::take(&mut *self.shared.answers.lock().unwrap());
        Noted {
            answers: answers.into_iter().map(|(answer, _)| answer).collect(),
            seen: std::mem::take(&mut *self.shared.seen.lock().unwrap()),
            wrong: std::mem::take(&mut *self.shared.wrong.lock().unwrap()),
            finished_in: begun.elapsed(),
        }
    }
}

struct Buyer {
    shared: Arc<Shared>,
    client: Client,
    who: Who,
    token: String,
    random: StdRng,
    number: u64,
}

impl Buyer {
    async fn work(mut self) {
        for purchase in 0.. {
            if self.shared.stop.is_cancelled() {
                return;
            }
            let (path, body) = self.purchase();
            let key = format!("{}-{purchase}", self.number);
            let again = self.random.random_ratio(1, REPEATED);
            for _ in 0..=u32::from(again) {
                self.buy(path, &body, &key).await;
            }
        }
    }

    fn purchase(&mut self) -> (&'static str, Value) {
        let rejected = self.random.random_ratio(1, REJECTED);
        let (offer, amount) =
            if rejected { (&self.shared.rejected, "50.00") } else { (&self.shared.cheap, "5.00") };
        match self.who {
            Who::Partner => {
                let body = json!({"user_id": self.shared.alice, "offer_id": offer, "amount": amount});
                ("/partner/activate/", body)
            }
            // There may be no subscription yet: then it is a 404, as anybody's.
            Who::Bob if self.random.random_ratio(1, RENEWAL) => {
                ("/offers/renew/", json!({"offer_id": self.shared.cheap}))
            }
            _ => ("/activation/", json!({"offer_id": offer})),
        }
    }

    /// Sends it to one instance after the other until there is a clear answer.
    async fn buy(&mut self, path: &str, body: &Value, key: &str) {
        for instance in self.random.random_range(0..2_usize).. {
            let url = format!("{}/api/v1{path}", self.shared.urls[instance % 2]);
            let Ok(answer) = self.request(&url, body, key).send().await else {
                sleep(PAUSE).await; // killed just now
                continue;
            };
            let status = answer.status();
            let Ok(text) = answer.text().await else { continue };
            match status {
                StatusCode::ACCEPTED | StatusCode::CREATED => return self.note(key, &text),
                StatusCode::SERVICE_UNAVAILABLE => sleep(PAUSE).await,
                StatusCode::NOT_FOUND if path == "/offers/renew/" => return,
                StatusCode::BAD_REQUEST if text.contains("insufficient_balance") => {
                    return sleep(PAUSE).await;
                }
                _ => {
                    self.shared.wrong.lock().unwrap().push(format!("{path} answered {status}: {text}"));
                    return sleep(PAUSE).await;
                }
            }
        }
    }

    fn request(&self, url: &str, body: &Value, key: &str) -> RequestBuilder {
        let request = self.client.post(url).header("Authorization", &self.token).timeout(ANSWER);
        if self.who == Who::Partner {
            let mut body = body.clone();
            body["partner_reference"] = json!(key);
            request.json(&body)
        } else {
            request.header("Idempotency-Key", key).json(body)
        }
    }

    fn note(&self, key: &str, text: &str) {
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(transaction) = body["transaction_id"].as_str() else {
            return self.shared.wrong.lock().unwrap().push(format!("accepted without a transaction: {text}"));
        };
        let answer = Answer { key: key.to_owned(), transaction: transaction.to_owned() };
        self.shared.answers.lock().unwrap().push((answer, self.token.clone()));
    }
}

/// Reads the status of the newest transactions, in turn from each instance and from Redis, one after another.
async fn watch(shared: Arc<Shared>, redis_url: String) {
    let client = http();
    let redis = redis::Client::open(redis_url).unwrap();
    let mut connection = None;
    let mut found = HashSet::new();
    for turn in 0_usize.. {
        if shared.stop.is_cancelled() {
            return;
        }
        let newest: Vec<_> = {
            let answers = shared.answers.lock().unwrap();
            answers.iter().rev().step_by(3).take(WATCHED).cloned().collect()
        };
        for (answer, token) in newest {
            if shared.stop.is_cancelled() {
                return;
            }
            let transaction = answer.transaction;
            let base = format!("{}/api/v1", shared.urls[turn % 2]);
            let get = |path: &str| {
                client.get(format!("{base}{path}")).header("Authorization", &token).timeout(ANSWER)
            };
            if !token.starts_with("ApiKey") {
                let status = get(&format!("/activation/status/{transaction}/"));
                let has_succeeded = see_http(&shared, status, &transaction).await;
                // Bob renews, and a renewal is no subscription of its own.
                if has_succeeded && token == shared.alice_token && found.insert(transaction.clone()) {
                    find(&shared, &get, &transaction).await;
                }
            }
            if connection.is_none() {
                let connecting = timeout(ANSWER, redis.get_multiplexed_async_connection()).await;
                connection = connecting.ok().and_then(Result::ok);
            }
            let Some(open) = &mut connection else { continue };
            if !see_redis(&shared, open, transaction).await {
                connection = None;
            }
        }
        sleep(PAUSE).await;
    }
}

/// Whether it was told that it has succeeded.
async fn see_http(shared: &Shared, request: RequestBuilder, transaction: &str) -> bool {
    let Some((status, body)) = read(request).await else { return false };
    match (status, body["status"].as_str()) {
        (StatusCode::OK, Some(told)) => {
            let (transaction, status) = (transaction.to_owned(), told.to_owned());
            shared.seen.lock().unwrap().push(Seen { channel: "HTTP", transaction, status, position: None });
            told == "SUCCESS"
        }
        (StatusCode::SERVICE_UNAVAILABLE, _) => false,
        _ => {
            shared.wrong.lock().unwrap().push(format!("the status of {transaction} was {status}: {body}"));
            false
        }
    }
}

/// Who was told SUCCESS finds the subscription, on whichever page of the list.
async fn find(shared: &Shared, get: impl Fn(&str) -> RequestBuilder, transaction: &str) {
    let mut query = format!("limit={PAGE}");
    loop {
        let request = get(&format!("/account/subscriptions/?{query}"));
        let Some((StatusCode::OK, body)) = read(request).await else { return };
        let Some(listed) = body["results"].as_array() else { return };
        if listed.iter().any(|one| one["transaction_id"] == transaction) {
            return;
        }
        let next = body["next"].as_str().and_then(|link| link.split_once('?'));
        let Some((_, after)) = next else { break };
        after.clone_into(&mut query);
    }
    let what = format!("{transaction} is SUCCESS, and its subscription is not listed");
    shared.wrong.lock().unwrap().push(what);
}

async fn read(request: RequestBuilder) -> Option<(StatusCode, Value)> {
    let answer = request.send().await.ok()?;
    Some((answer.status(), answer.json().await.ok()?))
}

/// False when the connection is of no more use.
async fn see_redis(
    shared: &Shared,
    open: &mut redis::aio::MultiplexedConnection,
    transaction: String,
) -> bool {
    let mut read = redis::cmd("HMGET");
    read.arg(format!("transaction:{transaction}")).arg("status").arg("position");
    let reading = read.query_async::<(Option<String>, Option<i64>)>(open);
    match timeout(ANSWER, reading).await {
        Ok(Ok((Some(status), position))) => {
            shared.seen.lock().unwrap().push(Seen { channel: "Redis", transaction, status, position });
            true
        }
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.code() == Some("WRONGTYPE"), // of our making
        Err(_) => false,
    }
}
