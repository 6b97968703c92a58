//! What a flood of guessed passwords costs the others: the 99th percentile of activations in the quiet and
//! meanwhile. And whether the time of a failed login tells an unknown name from a known one.
//! `cargo bench --bench guessing`, on a machine that does nothing else; it fails when the ratio is too high in
//! every round. The last line is for programs.

#![expect(
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

use processes::{Serving, System};
use reqwest::StatusCode;
use serde_json::json;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use support::door::{Door, password_of};

const ACCOUNTS: usize = 20;
/// Between two activations of the one who measures.
const PAUSE: Duration = Duration::from_millis(4);
/// What is quicker than this is quick enough: on so small a figure the machine's other work would decide.
const FLOOR: Duration = Duration::from_millis(15);
/// How often all of it is measured; the best round counts.
const MEASUREMENTS: u8 = 3;
/// So many times as long activations may take while passwords are guessed.
const MOST: f64 = 2.0;

/// Failed logins of each kind; fewer than the throttle allows for one name.
const FAILED_LOGINS: usize = 8;

/// What happens while an activation is measured.
const QUIET: u8 = 0;
const GUESSING: u8 = 1;
const OVER: u8 = 2;

impl Door {
    async fn disable(&self, admin: &str, path: &str) {
        let request = self.client.patch(format!("{}{path}", self.url)).bearer_auth(admin);
        let answer = request.json(&json!({"is_active": false})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    /// How long one login took that failed.
    async fn fail(&self, username: &str, password: &str) -> Duration {
        let begun = Instant::now();
        let (status, _) = self.log_in(username, password).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{username}");
        begun.elapsed()
    }

    /// How long one activation took.
    async fn activate(&self, token: &str, offer: &uuid::Uuid) -> Duration {
        let request = self.client.post(format!("{}/api/v1/activation/", self.url)).bearer_auth(token);
        let begun = Instant::now();
        let answer = request.json(&json!({"offer_id": offer})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        begun.elapsed()
    }
}

/// The 99th percentile.
fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort();
    latencies[latencies.len() * 99 / 100]
}

#[tokio::main]
async fn main() {
    let environment = vec![
        // The throttle of logins alone, as under ./dev.
        ("OFFERS_RATE_LIMIT_LOGIN", "off".to_owned()),
        ("OFFERS_ACCESS_TOKEN_TTL", "1h".to_owned()),
    ];
    let system = System::start_with(&[], Serving { environment, log: None }).await;
    compare_failed_logins(&system).await;
    let mut best = f64::INFINITY;
    for round in 0..MEASUREMENTS {
        let (quiet, meanwhile) = flood(&system, round).await;
        let ratio = meanwhile.as_secs_f64() / quiet.as_secs_f64();
        println!(
            "p99 of activations: quiet {quiet:.1?}, while passwords are guessed {meanwhile:.1?}: {ratio:.2}"
        );
        if meanwhile < FLOOR {
            best = 1.0;
        }
        best = best.min(ratio);
    }
    println!("ratio={best:.2}");
    assert!(best < MOST, "while passwords are guessed, activations take {best:.2} times as long");
}

/// An unknown name, a wrong password and a disabled user take about the same time. Noise only slows, so the
/// fastest of each are compared.
async fn compare_failed_logins(system: &System) {
    let admin = Door::at(&system.url, 3);
    let token = admin.token("admin").await;
    admin.create(&token, "known").await;
    let disabled = admin.create(&token, "disabled").await;
    admin.disable(&token, &disabled).await;
    let guesser = Door::at(&system.url, 99);
    let mut fastest = [Duration::MAX; 3];
    for _ in 0..FAILED_LOGINS {
        for (best, name) in fastest.iter_mut().zip(["unknown", "known", "disabled"]) {
            let password = if name == "known" { "a wrong guess".to_owned() } else { password_of(name) };
            *best = guesser.fail(name, &password).await.min(*best);
        }
    }
    println!("failed logins: unknown, wrong, disabled {fastest:.1?}");
    let [least, most] = [fastest.iter().min(), fastest.iter().max()].map(Option::unwrap);
    assert!(*most < *least * 2, "the time of a failed login tells who exists: {fastest:?}");
}

/// Guesses at fresh accounts, one after another, with as much quiet in between. Returns the p99 of
/// activations in the quiet and meanwhile: measured in turns, so that what else happens on the machine
/// hits both.
async fn flood(system: &System, round: u8) -> (Duration, Duration) {
    let admin = Door::at(&system.url, 3);
    let token = admin.token("admin").await;
    let names: Vec<String> = (0..ACCOUNTS).map(|number| format!("owner-{round}-{number}")).collect();
    for name in &names {
        admin.create(&token, name).await;
    }
    let (guesser, home, phase) =
        (Door::at(&system.url, 100 + round), Door::at(&system.url, 2), AtomicU8::new(QUIET));
    let guesses = async {
        for name in &names {
            phase.store(GUESSING, Ordering::Relaxed);
            let (begun, password) = (Instant::now(), password_of(name));
            let (_, (status, _)) = tokio::join!(guesser.guess(name), home.log_in(name, &password));
            assert_eq!(status, StatusCode::OK, "{name} logs in");
            phase.store(QUIET, Ordering::Relaxed);
            tokio::time::sleep(begun.elapsed()).await;
        }
        phase.store(OVER, Ordering::Relaxed);
    };
    let buyer = Door::at(&system.url, 4);
    let (token, offer) = (buyer.token("alice").await, system.members.offers[0]);
    let activations = async {
        let mut latencies = [Vec::new(), Vec::new()];
        loop {
            let begun_in = phase.load(Ordering::Relaxed);
            let Some(these) = latencies.get_mut(usize::from(begun_in)) else { return latencies };
            these.push(buyer.activate(&token, &offer).await);
            tokio::time::sleep(PAUSE).await;
        }
    };
    let ((), [quiet, meanwhile]) = tokio::join!(guesses, activations);
    (p99(quiet), p99(meanwhile))
}
