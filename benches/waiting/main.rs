//! How soon somebody who waits for a status hears of it: activations at a steady rate, each followed by a wait for its
//! status, while the activation system answers at once.
//!
//! `cargo bench --bench waiting`. The times hold for a quiet machine; the SQL transactions and flushes for any.

#![expect(
    clippy::cast_precision_loss,
    clippy::disallowed_types,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a bench that cannot go on ends; what it shares is the tests'"
)]

#[path = "../../tests/it/outage/processes.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod processes;
#[path = "../../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;
#[path = "../../tests/it/outage/tunnel.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod tunnel;

use chrono::{DateTime, Utc};
use offers::clock::Clock;
use processes::{Seen, Serving, System};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::time::{Duration, Instant};
use support::stack::Stack;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// One activation begins in each.
const EVERY: Duration = Duration::from_millis(20);
/// Activations of a round.
const NUMBER: usize = 500;
/// Activations before the first round.
const WARMING: usize = 100;
const ROUNDS: usize = 3;
/// Longer than PostgreSQL keeps its counts to itself.
const COUNTS_ARE_IN: Duration = Duration::from_secs(2);

/// What one client saw; milliseconds.
struct Seens {
    post: f64,
    /// From the time that the first event got, before it was written and flushed, to the 202.
    recorded_to_accepted: f64,
    /// From the time that the last event got, before it was written and flushed, to the answer of the wait.
    recorded_to_heard: f64,
    /// From the time of the first event to that of the intent, and from that to the last one's.
    begun: f64,
    ended: f64,
    /// From the POST to the answer of the wait.
    all: f64,
}

async fn activate(client: Client, url: String, token: String, offer: String) -> Seens {
    let begun = Instant::now();
    let post = client.post(format!("{url}/api/v1/activation/")).bearer_auth(&token);
    let answer = post.json(&json!({"offer_id": offer})).send().await.unwrap();
    let (post, accepted_at) = (begun.elapsed(), Clock::system().now().utc());
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let accepted: Value = answer.json().await.unwrap();
    let id = accepted["transaction_id"].as_str().unwrap();
    let wait = client.get(format!("{url}/api/v1/activation/status/{id}/")).bearer_auth(&token);
    let wait = wait.header("Prefer", "wait=30");
    let mut answer = wait.try_clone().unwrap().send().await.unwrap();
    while answer.status() == StatusCode::TOO_MANY_REQUESTS {
        tokio::time::sleep(EVERY).await; // a busy machine: the caller waits for 32 already
        answer = wait.try_clone().unwrap().send().await.unwrap();
    }
    let (all, heard_at) = (begun.elapsed(), Clock::system().now().utc());
    let status: Value = answer.json().await.unwrap();
    assert_eq!(status["status"], "SUCCESS");
    let details = client.get(format!("{url}/api/v1/account/transactions/{id}/")).bearer_auth(&token);
    let details: Value = details.send().await.unwrap().json().await.unwrap();
    let time =
        |step: usize| details["history"][step]["at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let [created_at, begun_at, completed_at] = [0, 1, 2].map(time);
    let between = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).as_seconds_f64() * 1e3;
    Seens {
        post: post.as_secs_f64() * 1e3,
        recorded_to_accepted: between(created_at, accepted_at),
        recorded_to_heard: between(completed_at, heard_at),
        begun: between(created_at, begun_at),
        ended: between(begun_at, completed_at),
        all: all.as_secs_f64() * 1e3,
    }
}

async fn round(system: &System, client: &Client, token: &str, number: usize) -> Vec<Seens> {
    let offer = system.members.offers[0].to_string();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut all = JoinSet::new();
    for _ in 0..number {
        ticks.tick().await;
        all.spawn(activate(client.clone(), system.url.clone(), token.to_owned(), offer.clone()));
    }
    all.join_all().await
}

/// SQL transactions, flushes and bytes of the WAL so far.
async fn counts(database_owner_url: &str) -> [f64; 3] {
    tokio::time::sleep(COUNTS_ARE_IN).await;
    let mut database = PgConnection::connect(database_owner_url).await.unwrap();
    let query = "select (select sum(xact_commit) from pg_stat_database)::float8, wal_sync::float8, wal_bytes::float8 \
                 from pg_stat_wal";
    let (transactions, flushes, bytes): (f64, f64, f64) =
        sqlx::query_as(query).fetch_one(&mut database).await.unwrap();
    [transactions, flushes, bytes]
}

fn print(name: &str, seen: &[Seens], value: impl Fn(&Seens) -> f64) {
    let mut values: Vec<f64> = seen.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let at = |part: usize| values[values.len() * part / 100];
    println!("{name:<48} {:>7.2} {:>7.2} {:>7.2}", at(50), at(90), at(99));
}

#[tokio::main]
async fn main() {
    let stack = Stack::start(true);
    let sandbox = stack.sandbox().await;
    let external = processes::free_address();
    let seen = Seen { sandbox: sandbox.clone(), external: external.clone() };
    let owner_url = sandbox.database_owner_url.clone();
    let environment = vec![("OFFERS_ACCESS_TOKEN_TTL", "1h".to_owned())];
    let serving = Serving { environment, log: None };
    let system = System::start_seeing(seen, sandbox, &external, &["--latency", "0ms"], serving).await;
    let (client, token) = (support::http(), system.log_in("alice").await);
    round(&system, &client, &token, WARMING).await;
    for _ in 0..ROUNDS {
        let (begun, before) = (Instant::now(), counts(&owner_url).await);
        let seen = round(&system, &client, &token, NUMBER).await;
        let after = counts(&owner_url).await;
        println!("{:<48} {:>7} {:>7} {:>7}", "milliseconds", "p50", "p90", "p99");
        print("POST", &seen, |seen| seen.post);
        print("time of the first event to the 202", &seen, |seen| seen.recorded_to_accepted);
        print("time of the first event to that of the intent", &seen, |seen| seen.begun);
        print("time of the intent to that of the last event", &seen, |seen| seen.ended);
        print("time of the last event to the waiter's answer", &seen, |seen| seen.recorded_to_heard);
        print("POST to the waiter's answer", &seen, |seen| seen.all);
        let [transactions, flushes, bytes] =
            std::array::from_fn(|count| (after[count] - before[count]) / NUMBER as f64);
        println!(
            "an activation: {transactions:.1} SQL transactions, {flushes:.1} flushes, {bytes:.0} bytes of WAL, within {:.0?}",
            begun.elapsed()
        );
    }
}
