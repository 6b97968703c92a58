//! Waits until everything is final and derived, then reads what there is: by SQL, HTTP, NATS, Redis and from files.

use crate::processes;
use crate::recording::{Effect, Event, Message, Recording};
use crate::support::http;
use crate::system::System;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::Row;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How long the system may take from the last fault until everything is final.
const RECOVERY: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// For one question to one server.
const ANSWER: Duration = Duration::from_secs(5);

/// The exit code of a verb that could not say yes or no.
const CANNOT: i32 = 2;

/// What is still to come, by its name and how it is counted.
const UNSETTLED: [(&str, &str); 6] = [
    (
        "transactions without an end",
        "select (select count(*) from events where event_type = 'ActivationRequested')
            - (select count(*) from events where event_type in ('Succeeded', 'Failed'))",
    ),
    (
        "events that the follower of the log has not",
        "select (select max(position) from events) - (select position from callback_checkpoint)",
    ),
    ("cancelled transactions to be looked up once more", "select count(*) from activation_rechecks"),
    (
        "events that the read tables have not",
        "select (select max(position) from events) - (select position from read.checkpoint)",
    ),
    (
        "callbacks that are not delivered",
        "select count(*) from events first join events last using (aggregate_id)
            where first.event_type = 'ActivationRequested' and first.payload ->> 'partner_id' is not null
                and last.event_type in ('Succeeded', 'Failed') and not exists
                (select from callback_deliveries d where d.event_id = last.event_id and d.status = 'delivered')",
    ),
    ("parked messages", "select count(*) from parked where requeued_at is null"),
];

/// Waits until nothing is under way, and says what was last; as an error when it takes too long.
pub async fn settled(system: &System) -> Result<Option<String>, String> {
    let deadline = Instant::now() + RECOVERY;
    let mut last = None;
    loop {
        let Some(under_way) = under_way(system).await else { return Ok(last) };
        if Instant::now() >= deadline {
            return Err(format!("after {} s there are {under_way}", RECOVERY.as_secs()));
        }
        last = Some(under_way);
        sleep(LOOK_EVERY).await;
    }
}

async fn under_way(system: &System) -> Option<String> {
    for (what, count) in UNSETTLED {
        let counted = sqlx::query_scalar::<_, i64>(count).fetch_one(&system.database).await;
        match counted {
            Ok(0) => {}
            Ok(count) => return Some(format!("{count} {what}")),
            Err(error) => return Some(format!("{what}: {error}")),
        }
    }
    match timeout(ANSWER, missing_messages(system)).await {
        Ok(Some(0)) => None,
        Ok(Some(missing)) => Some(format!("{missing} events that the stream has not")),
        Ok(None) | Err(_) => Some("no stream".to_owned()),
    }
}

async fn missing_messages(system: &System) -> Option<i64> {
    let head: i64 =
        sqlx::query_scalar("select max(position) from events").fetch_one(&system.database).await.ok()?;
    Some((head - last_sequence(system).await?).abs())
}

/// Where the stream ends, if there is one.
pub async fn last_sequence(system: &System) -> Option<i64> {
    let stream = system.jetstream().await?.get_stream(&system.sandbox.stream).await.ok()?;
    i64::try_from(stream.cached_info().state.last_sequence).ok()
}

/// Everything but what the clients have noted.
pub async fn recording(system: &System) -> Recording {
    let events = events(system).await;
    let ids = events.iter().filter(|event| event.name == "ActivationRequested");
    let ids: Vec<String> = ids.map(|event| event.aggregate_id.clone()).collect();
    let callbacks = system.told.lock().unwrap().clone();
    Recording {
        effects: effects(system),
        balances: balances(system).await,
        told: told(system).await,
        hashes: hashes(system, &ids).await,
        messages: messages(system).await,
        callbacks,
        contradicted: contradicted(system).await,
        differences: differences(system),
        events,
        ..Recording::default()
    }
}

async fn events(system: &System) -> Vec<Event> {
    let rows = sqlx::query(
        "select position, event_id::text, aggregate_type, aggregate_id, sequence, event_type, payload, commit_end,
            (extract(epoch from recorded_at) * 1000000)::bigint from events order by position",
    );
    let rows = rows.fetch_all(&system.database).await.unwrap();
    let event = |row: &sqlx::postgres::PgRow| Event {
        position: row.get(0),
        id: row.get(1),
        aggregate: row.get(2),
        aggregate_id: row.get(3),
        sequence: row.get(4),
        name: row.get(5),
        payload: row.get(6),
        commit_end: row.get(7),
        recorded_at_us: row.get(8),
    };
    rows.iter().map(event).collect()
}

/// A last line that is still being written is left out.
pub fn effects(system: &System) -> Vec<Effect> {
    let text = std::fs::read_to_string(&system.simulator_log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let effect = |line: Value| Effect {
        name: line["effect"].as_str().unwrap().to_owned(),
        transaction: line["transaction_id"].as_str().unwrap().to_owned(),
        amount: line["amount"].as_str().map(str::to_owned),
        at_us: line["at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap().timestamp_micros(),
    };
    lines.map(effect).collect()
}

async fn balances(system: &System) -> BTreeMap<String, Decimal> {
    let rows = sqlx::query("select account_id::text, balance from accounts");
    let rows = rows.fetch_all(&system.database).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn told(system: &System) -> BTreeMap<String, Decimal> {
    let id =
        |name: &str| system.members.users.iter().find(|user| user.username == name).unwrap().id.to_string();
    let partner = system.members.partner.as_ref().unwrap().id.to_string();
    let callers = [
        (id("alice"), system.log_in("alice").await, "/account/balance/"),
        (id("bob"), system.log_in("bob").await, "/account/balance/"),
        (partner, system.partner_key(), "/partner/balance/"),
    ];
    let mut told = BTreeMap::new();
    for (account, authorization, path) in callers {
        let request = http().get(format!("{}/api/v1{path}", system.urls[0]));
        let answer = request.header("Authorization", authorization).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        told.insert(account, body["balance"].as_str().unwrap().parse().unwrap());
    }
    told
}

/// Each hash; one that is not there is asked for by its status first.
async fn hashes(system: &System, ids: &[String]) -> BTreeMap<String, BTreeMap<String, String>> {
    let admin = system.log_in("admin").await;
    let mut redis = system.redis().await.unwrap();
    let mut hashes = BTreeMap::new();
    let client = http();
    for id in ids {
        let key = format!("transaction:{id}");
        let mut hash = read_hash(&mut redis, &key).await;
        if hash.len() < 2 {
            let url = format!("{}/api/v1/activation/status/{id}/", system.urls[0]);
            client.get(url).header("Authorization", &admin).send().await.unwrap();
            hash = read_hash(&mut redis, &key).await;
        }
        hashes.insert(id.clone(), hash);
    }
    hashes
}

async fn read_hash(redis: &mut redis::aio::MultiplexedConnection, key: &str) -> BTreeMap<String, String> {
    redis::cmd("HGETALL").arg(key).query_async(redis).await.unwrap_or_default()
}

async fn messages(system: &System) -> Vec<Message> {
    let stream = system.jetstream().await.unwrap().get_stream(&system.sandbox.stream).await.unwrap();
    let last = stream.cached_info().state.last_sequence;
    let config = async_nats::jetstream::consumer::pull::OrderedConfig::default();
    let mut arriving = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
    let mut messages: Vec<Message> = Vec::new();
    while messages.last().is_none_or(|message| message.sequence.unsigned_abs() < last) {
        let message = timeout(ANSWER, arriving.try_next()).await.unwrap().unwrap().unwrap();
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        let sequence = i64::try_from(message.info().unwrap().stream_sequence).unwrap();
        let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
        let event_id = id.map(ToString::to_string).unwrap_or_default();
        messages.push(Message { sequence, event_id, data: body["data"].clone() });
    }
    messages
}

async fn contradicted(system: &System) -> std::collections::BTreeSet<String> {
    let listed = "select transaction_id::text from read.transactions where pending_reason = 'contradicted'";
    let listed = sqlx::query_scalar::<_, String>(listed).fetch(&system.database);
    listed.map(Result::unwrap).collect().await
}

/// What differs from the log and from read tables that are made of it from the start.
fn differences(system: &System) -> Vec<String> {
    let mut lines = Vec::new();
    for verb in [&["check"][..], &["replay", "--check"]] {
        let mut command = processes::offers(verb);
        command.env("OFFERS_DATABASE_URL", &system.sandbox.database_url);
        command.env("OFFERS_DATABASE_OWNER_URL", &system.sandbox.database_owner_url);
        command.env("OFFERS_REDIS_URL", &system.sandbox.redis_url);
        command.stdout(std::process::Stdio::piped());
        let mut output = command.output().unwrap();
        if output.status.code() == Some(CANNOT) {
            output = command.output().unwrap(); // a server was slow on a busy machine
        }
        if output.status.success() {
            continue;
        }
        let name = verb.join(" ");
        let said = String::from_utf8_lossy(&output.stdout);
        lines.extend(said.lines().map(|line| format!("offers {name}: {line}")));
        let why = String::from_utf8_lossy(&output.stderr);
        lines.push(format!("offers {name} ended with {}: {why}", output.status));
    }
    lines
}
