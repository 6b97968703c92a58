//! What a request and a whole activation cost, counted: instructions and allocations of the service, statements and WAL
//! of PostgreSQL, messages of NATS, commands of Redis. Counts do not depend on what else the machine does.
//!
//! `cargo bench --bench cost` prints them. With `-- --check` it fails when one has grown by more than a tenth
//! beyond [`KNOWN`], the figures of the build without optimisation, which `./dev test` makes anyway.

#![expect(
    clippy::cast_precision_loss,
    clippy::disallowed_types,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a bench that cannot go on ends; what it shares is the tests'"
)]

mod callgrind;
mod meter;
#[path = "../../tests/it/outage/processes.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod processes;
#[path = "../../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;
#[path = "../../tests/it/outage/tunnel.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod tunnel;

use callgrind::{Callgrind, Counted};
use futures::StreamExt;
use meter::{Meter, Protocol};
use processes::{Seen, Serving, System};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::eventually::eventually;
use support::stack::Stack;

/// Activations one after another: each is over before the next begins, so nothing is shared among them.
const ALONE: usize = 40;
/// Activations of a load, and how many of them are under way at once.
const LOAD: usize = 2_000;
const IN_FLIGHT: usize = 64;
/// Events of an activation that succeeds: requested, processing, succeeded, and the subscription's.
const EVENTS: i64 = 4;
/// How long nothing may happen before nothing more is expected.
const QUIET: Duration = Duration::from_millis(300);
/// How long the service is watched while nobody asks it for anything.
const IDLE: Duration = Duration::from_secs(3);
/// Requests of a kind in a round, in callgrind.
const REQUESTS: usize = 20;
/// Rounds of which the median counts.
const ROUNDS: usize = 5;
/// Whole activations, in callgrind.
const COUNTED: usize = 100;
/// Requests or activations before those that are counted.
const WARMING: usize = 20;
/// Activations before those that are counted: enough to open every connection.
const WARMING_ACTIVATIONS: usize = 150;
/// How often a purchase is repeated that is refused for the moment.
const REFUSALS: usize = 100;
/// How often figures are counted before they count as grown: a busy machine adds to them.
const TRIES: u32 = 3;
/// How much a figure may grow.
const GROWTH: f64 = 1.1;

/// What a figure is called and what it was, in a build without optimisation.
const KNOWN: &[(&str, f64)] = &[
    ("GET /livez: instructions", 285_000.0),
    ("GET /livez: allocations", 34.0),
    ("GET of a final status: instructions", 600_000.0),
    ("GET of a final status: allocations", 60.0),
    ("POST alone: instructions", 1_620_000.0),
    ("POST alone: allocations", 210.0),
    ("activation alone: messages of NATS", 7.6),
    ("activation under load: messages of NATS", 6.1),
    ("activation under load: bytes of WAL", 4_850.0),
    ("activation under load: bytes of tables", 3_750.0),
];

/// What a service does that does everything.
const ALL_ROLES: &str = "api,relay,projector,processor,scheduler";

/// How the names of what callgrind counts end.
const COUNTED_BY_CALLGRIND: [&str; 2] = [": instructions", ": allocations"];

type Figures = BTreeMap<String, f64>;

/// The service, and what lies on its ways.
struct Measured {
    system: System,
    postgres: Meter,
    redis: Meter,
    nats: Meter,
    client: Client,
    token: String,
}

impl Measured {
    async fn start() -> Self {
        let sandbox = Stack::get().await.sandbox().await;
        let external = processes::free_address();
        let mut seen = Seen { sandbox: sandbox.clone(), external: external.clone() };
        let postgres = Meter::before(&mut seen.sandbox.database_url, Protocol::Postgres).await;
        let redis = Meter::before(&mut seen.sandbox.redis_url, Protocol::Redis).await;
        let nats = Meter::before(&mut seen.sandbox.nats_url, Protocol::Nats).await;
        let set = |name, value: &str| (name, value.to_owned());
        let environment = vec![
            set("OFFERS_ACCESS_TOKEN_TTL", "2h"),
            set("OFFERS_EXTERNAL_TIMEOUT", "10s"),
            set("OFFERS_BACKLOG", "10m"), // in callgrind everything takes long
            set("RUST_LOG", "info,async_nats=warn,sqlx=warn"), // as usual
        ];
        let serving = Serving { environment, log: Some("/dev/null".into()) };
        let system = System::start_seeing(seen, sandbox, &external, &[], serving).await;
        let token = system.log_in("alice").await;
        Self { system, postgres, redis, nats, client: support::http(), token }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.system.url)).bearer_auth(&self.token)
    }

    fn post(&self) -> RequestBuilder {
        let offer = self.system.members.offers[0];
        let request = self.client.post(format!("{}/api/v1/activation/", self.system.url));
        request.bearer_auth(&self.token).json(&json!({"offer_id": offer}))
    }

    /// Accepted, and its id.
    async fn accepted(&self) -> String {
        let mut answer = self.post().send().await.unwrap();
        for _ in 0..REFUSALS {
            if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
                break;
            }
            tokio::time::sleep(QUIET).await; // the machine has much else to do
            answer = self.post().send().await.unwrap();
        }
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let answer: Value = answer.json().await.unwrap();
        answer["transaction_id"].as_str().unwrap().to_owned()
    }

    /// So many, of which `at_once` are being accepted at the same time; returns when all are done.
    async fn activate(&self, number: usize, at_once: usize) -> Vec<String> {
        let before = self.system.log.head().await.unwrap();
        let activations = futures::stream::iter(0..number).map(|_| self.accepted());
        let accepted = activations.buffer_unordered(at_once).collect().await;
        self.done(before, number).await;
        accepted
    }

    /// Waits until as many as `number` activations that begin after position `before` are done.
    async fn done(&self, before: i64, number: usize) {
        let all = before + EVENTS * i64::try_from(number).unwrap();
        eventually("all are done", async || self.system.log.head().await.unwrap() == all).await;
    }

    /// Waits until nothing follows from what was done: the mails too.
    async fn settled(&self) {
        let mut database = PgConnection::connect(&self.system.sandbox.database_owner_url).await.unwrap();
        let mut before = -1;
        eventually("nothing more is written", async || {
            tokio::time::sleep(QUIET).await;
            let now = wal(&mut database).await;
            now == std::mem::replace(&mut before, now)
        })
        .await;
    }

    /// Starts the service anew with `roles`, in callgrind.
    async fn count_instructions(&mut self, roles: &str) -> Callgrind {
        let output = std::env::temp_dir().join(format!("offers-cost-{roles}-{}", std::process::id()));
        let settings = [("OFFERS_ROLES", roles.to_owned())];
        let mut pid = 0;
        self.system.start_service_by(&settings, |service| {
            let counted = callgrind::spawn(&service, &output);
            pid = counted.id();
            counted
        });
        eventually("the service is ready", async || {
            let answer = self.get("/readyz").send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        Callgrind::of(pid, output)
    }

    async fn counts(&self) -> Figures {
        let mut database = PgConnection::connect(&self.system.sandbox.database_owner_url).await.unwrap();
        let tables = "select sum(pg_total_relation_size(oid))::int8 from pg_class where relkind = 'r'";
        let tables: i64 = sqlx::query_scalar(tables).fetch_one(&mut database).await.unwrap();
        let nats = self.nats.sent() + self.nats.received();
        let counts = [
            ("statements", self.postgres.sent()),
            ("bytes of WAL", u64::try_from(wal(&mut database).await).unwrap()),
            ("bytes of tables", u64::try_from(tables).unwrap()),
            ("commands of Redis", self.redis.sent()),
            ("messages of NATS", nats),
        ];
        counts.into_iter().map(|(name, count)| (name.to_owned(), count as f64)).collect()
    }
}

/// Bytes of WAL that PostgreSQL has written.
async fn wal(database: &mut PgConnection) -> i64 {
    let wal = "select (pg_current_wal_insert_lsn() - '0/0')::int8";
    sqlx::query_scalar(wal).fetch_one(database).await.unwrap()
}

/// What the servers do for one activation.
async fn count_servers(measured: &Measured, figures: &mut Figures) {
    measured.activate(ALONE, 1).await; // plans, connections, caches
    measured.settled().await;
    let (begun, before) = (Instant::now(), measured.counts().await);
    tokio::time::sleep(IDLE).await;
    let idle = per(&before, &measured.counts().await, begun.elapsed().as_secs_f64());
    for (name, &count) in &idle {
        figures.insert(format!("idle second: {name}"), count);
    }
    for (kind, number, at_once) in [("alone", ALONE, 1), ("under load", LOAD, IN_FLIGHT)] {
        let (begun, before) = (Instant::now(), measured.counts().await);
        measured.activate(number, at_once).await;
        measured.settled().await;
        let (seconds, after) = (begun.elapsed().as_secs_f64(), measured.counts().await);
        for (name, count) in per(&before, &after, number as f64) {
            figures
                .insert(format!("activation {kind}: {name}"), count - idle[&name] * seconds / number as f64);
        }
    }
}

fn per(before: &Figures, after: &Figures, parts: f64) -> Figures {
    after.iter().map(|(name, count)| (name.clone(), (count - before[name]) / parts)).collect()
}

/// What the service does for a request. Gives the position after which activations were accepted and not done.
async fn count_requests(measured: &mut Measured, figures: &mut Figures) -> i64 {
    let status = format!("/api/v1/activation/status/{}/", measured.activate(1, 1).await[0]);
    eventually("the hash is final", async || {
        let answer: Value = measured.get(&status).send().await.unwrap().json().await.unwrap();
        answer["status"] == "SUCCESS"
    })
    .await;
    let before = measured.system.log.head().await.unwrap();

    let mut callgrind = measured.count_instructions("api").await;
    for path in ["/livez", &status] {
        let name = if path == "/livez" { "GET /livez" } else { "GET of a final status" };
        let request = async || {
            let answer = measured.get(path).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            answer.bytes().await.unwrap();
        };
        count(&mut callgrind, figures, name, request).await;
    }
    count(&mut callgrind, figures, "POST alone", async || drop(measured.accepted().await)).await;
    before
}

/// What the service does for an activation. A build without optimisation takes minutes for it.
async fn count_activations(measured: &mut Measured, figures: &mut Figures, before: i64) {
    let mut callgrind = measured.count_instructions(ALL_ROLES).await;
    measured.done(before, WARMING + ROUNDS * REQUESTS).await; // what was only accepted
    measured.activate(WARMING_ACTIVATIONS, IN_FLIGHT).await;
    measured.settled().await;
    callgrind.zero();
    tokio::time::sleep(IDLE).await;
    let idle = callgrind.dump().instructions as f64 / IDLE.as_secs_f64();
    figures.insert("idle second: instructions".to_owned(), idle);
    callgrind.zero();
    let begun = Instant::now();
    measured.activate(COUNTED, IN_FLIGHT).await;
    measured.settled().await;
    let (seconds, counted) = (begun.elapsed().as_secs_f64(), callgrind.dump());
    let instructions = (counted.instructions as f64 - idle * seconds) / COUNTED as f64;
    figures.insert("activation under load: instructions".to_owned(), instructions);
    let allocations = counted.allocations as f64 / COUNTED as f64;
    figures.insert("activation under load: allocations".to_owned(), allocations);
}

/// The median of some rounds, without what the service does by itself.
async fn count(callgrind: &mut Callgrind, figures: &mut Figures, name: &str, request: impl AsyncFn()) {
    for _ in 0..WARMING {
        request().await;
    }
    callgrind.zero();
    tokio::time::sleep(IDLE).await;
    let by_itself = callgrind.dump();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        callgrind.zero();
        let begun = Instant::now();
        for _ in 0..REQUESTS {
            request().await;
        }
        let idle = begun.elapsed().as_secs_f64() / IDLE.as_secs_f64();
        rounds.push((callgrind.dump(), idle));
    }
    for (what, counted) in [
        ("instructions", (|counted: &Counted| counted.instructions) as fn(&Counted) -> u64),
        ("allocations", |counted| counted.allocations),
    ] {
        let of_requests =
            |(round, idle): &(Counted, f64)| counted(round) as f64 - counted(&by_itself) as f64 * idle;
        let mut all: Vec<f64> = rounds.iter().map(of_requests).collect();
        all.sort_by(f64::total_cmp);
        figures.insert(format!("{name}: {what}"), all[ROUNDS / 2] / REQUESTS as f64);
    }
}

/// What is wrong with the figures: one has grown too much, or is missing.
fn wrong(figures: &Figures, has_callgrind: bool) -> Vec<String> {
    let judge = |(name, was): &(&str, f64)| match figures.get(*name) {
        Some(is) if *is > was * GROWTH => Some(format!("{name}: {is:.1}, and was {was}")),
        None if has_callgrind || !COUNTED_BY_CALLGRIND.iter().any(|end| name.ends_with(end)) => {
            Some(format!("{name} was not counted"))
        }
        _ => None,
    };
    KNOWN.iter().filter_map(judge).collect()
}

async fn measure(checks: bool) -> Figures {
    let mut measured = Measured::start().await;
    let mut figures = Figures::new();
    count_servers(&measured, &mut figures).await;
    if callgrind::is_installed() {
        let before = count_requests(&mut measured, &mut figures).await;
        if !checks {
            count_activations(&mut measured, &mut figures, before).await;
        }
    } else {
        println!("SKIPPED: instructions and allocations; valgrind counts them");
    }
    for (name, count) in &figures {
        println!("{name:<45} {count:>12.1}");
    }
    figures
}

#[tokio::main]
async fn main() {
    let checks = std::env::args().any(|argument| argument == "--check");
    let mut wrong = Vec::new();
    for _ in 0..TRIES {
        let figures = measure(checks).await;
        wrong = if checks { self::wrong(&figures, callgrind::is_installed()) } else { Vec::new() };
        if wrong.is_empty() {
            return;
        }
    }
    panic!("more than a tenth beyond what is known, {TRIES} times:\n{}", wrong.join("\n"));
}
