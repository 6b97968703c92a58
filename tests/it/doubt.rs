//! Purchases whose outcome nobody knows, from the request by HTTP to their end: two instances with every role, a simulated
//! activation system that misbehaves, and a clock that the test moves.

use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::service::{Person, Service, Setting};
use crate::support::stack::Stack;
use chrono::{DateTime, TimeDelta, Utc};
use domain::OfferId;
use offers::clock::Clock;
use offers::simulator::{self, Running};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use uuid::Uuid;

/// Longer than the deadline of a purchase, and than the time until what was cancelled is looked up once more.
const PAST_THE_DEADLINE: TimeDelta = TimeDelta::minutes(16);
const SERIES: &str = "offers_transactions_oldest_in_doubt_seconds";

/// Two instances; what is bought at one is asked for at the other.
struct World {
    clock: Clock,
    simulator: Running,
    effects: PathBuf,
    shop: Service,
    other: Service,
    alice: Person,
    root: Person,
    tv: OfferId,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.effects);
    }
}

impl World {
    async fn new() -> Self {
        let moment: DateTime<Utc> = "2026-11-22T08:30:00Z".parse().unwrap();
        let clock = Clock::standing_at(moment);
        let effects = std::env::temp_dir().join(format!("offers-effects-{}.ndjson", Uuid::now_v7()));
        let settings = simulator::Settings { log: Some(effects.clone()), ..simulator::Settings::default() };
        let simulator = simulator::start(settings).await.unwrap();
        let sandbox = Stack::get().await.sandbox().await;
        let instance = async || {
            let external_url = Some(simulator.url());
            let setting = Setting { clock: clock.clone(), external_url, ..Setting::default() };
            Box::pin(Service::start_in(&sandbox, setting)).await
        };
        let (shop, other) = (instance().await, instance().await);
        let (alice, root) = (shop.rich("alice").await, shop.admin().await);
        let tv = shop.offer("TV", 1_000).await;
        Self { clock, simulator, effects, shop, other, alice, root, tv }
    }

    async fn simulate(&self, name: &str) {
        let url = format!("{}/_control", self.simulator.url());
        let changes = simulator::named(name).unwrap();
        http().put(url).json(&changes).send().await.unwrap().error_for_status().unwrap();
    }

    async fn buy(&self) -> Uuid {
        self.shop.post(&self.alice, "/activation/", &json!({"offer_id": self.tv})).await.id("transaction_id")
    }

    /// One that the activation system does not answer to.
    async fn buy_in_doubt(&self) -> Uuid {
        self.simulate("silent").await;
        let id = self.buy().await;
        self.is_in_doubt(id).await;
        id
    }

    async fn is_in_doubt(&self, id: Uuid) {
        let in_doubt = async || self.status(id).await["pending_reason"] == "outcome_unknown";
        eventually("it is in doubt", in_doubt).await;
    }

    async fn status(&self, id: Uuid) -> Value {
        self.other.get(&self.alice, &format!("/activation/status/{id}/")).await.json()
    }

    async fn ends_as(&self, id: Uuid, status: &str) {
        eventually(&format!("it ends as {status}"), async || self.status(id).await["status"] == status).await;
    }

    /// As the auditor sees them.
    async fn events(&self, id: Uuid) -> Vec<Value> {
        let path = format!("/audit/transactions/{id}/");
        self.other.get(&self.root, &path).await.json()["events"].as_array().unwrap().clone()
    }

    /// How many of each event there are.
    async fn count(&self, id: Uuid, name: &str) -> usize {
        self.events(id).await.iter().filter(|event| event["event_type"] == name).count()
    }

    /// Those that are listed in doubt, with why.
    async fn in_doubt(&self) -> Vec<(Uuid, String)> {
        self.other.all_listed().await;
        let listed = self.other.walk(&self.root, "/admin/transactions/?in_doubt=true").await;
        let text = |of: &Value, member: &str| of[member].as_str().unwrap().to_owned();
        listed
            .iter()
            .map(|of| (text(of, "transaction_id").parse().unwrap(), text(of, "pending_reason")))
            .collect()
    }

    async fn balance(&self) -> String {
        self.other.balance(&self.alice).await
    }

    /// The activation system's own log of one purchase.
    fn effects(&self, id: Uuid) -> Vec<String> {
        let text = std::fs::read_to_string(&self.effects).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_it = lines.filter(|line| line["transaction_id"] == json!(id));
        of_it.map(|line| line["effect"].as_str().unwrap().to_owned()).collect()
    }

    /// What Prometheus is shown now.
    async fn oldest_in_doubt_s(&self) -> f64 {
        let text =
            http().get(format!("{}/metrics", self.other.url)).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with(SERIES)).unwrap_or_default();
        line.split_whitespace().last().and_then(|value| value.parse().ok()).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_activation_system_is_silent_for_ten_minutes_nothing_is_refunded_and_somebody_is_woken() {
    let world = World::new().await;
    world.simulate("silent").await;
    let mut ids = [world.buy().await, world.buy().await, world.buy().await];
    for id in ids {
        world.is_in_doubt(id).await;
    }
    world.clock.advance(TimeDelta::minutes(10));
    let mut measured = 0.0;
    eventually("its age is measured", async || {
        measured = world.oldest_in_doubt_s().await;
        measured >= 600.0
    })
    .await;
    fires(measured);
    let mut listed: Vec<Uuid> = world.in_doubt().await.into_iter().map(|(id, _)| id).collect();
    listed.sort();
    ids.sort();
    assert_eq!(listed, ids);
    for id in ids {
        assert_eq!((world.count(id, "Refunded").await, world.effects(id).len()), (0, 0));
    }
    assert_eq!(world.balance().await, "970.00");

    world.simulate("ok").await;
    for id in ids {
        world.ends_as(id, "SUCCESS").await;
        assert_eq!(world.effects(id), ["activated"]);
    }
    assert_eq!((world.in_doubt().await, world.balance().await), (vec![], "970.00".to_owned()));
}

/// The alert fires when its series has this value: asked of promtool.
fn fires(value: f64) {
    let directory = std::env::temp_dir().join(format!("offers-rules-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&directory).unwrap();
    let rules = format!("{}/deploy/prometheus/rules.yml", env!("CARGO_MANIFEST_DIR"));
    let test = json!({
        "rule_files": [rules],
        "tests": [{
            "interval": "1m",
            "input_series": [{"series": format!("{SERIES}{{instance=\"a\"}}"), "values": format!("{value}x5")}],
            "promql_expr_test": [{
                "expr": "count(ALERTS{alertname=\"OffersPurchasesInDoubt\",alertstate=\"firing\"})",
                "eval_time": "3m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }],
        }],
    });
    let file = directory.join("test.yml");
    std::fs::write(&file, test.to_string()).unwrap();
    let done = Command::new("promtool").args(["test", "rules"]).arg(&file).output().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_is_always_followed_by_503_ends_as_one_success_by_look_up() {
    let world = World::new().await;
    world.simulate("done_then_error").await;
    let id = world.buy().await;
    world.ends_as(id, "SUCCESS").await;
    assert_eq!((world.count(id, "AttemptFailed").await, world.count(id, "Succeeded").await), (1, 1));
    assert_eq!(
        (world.effects(id), world.balance().await),
        (vec!["activated".to_owned()], "990.00".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_attempt_was_refused_the_deadline_refunds_without_a_cancellation() {
    let world = World::new().await;
    world.simulate("busy").await;
    let id = world.buy().await;
    eventually("it was refused", async || world.count(id, "AttemptFailed").await > 0).await;
    assert_eq!((world.in_doubt().await, world.balance().await), (vec![], "990.00".to_owned()));
    world.clock.advance(PAST_THE_DEADLINE);
    world.ends_as(id, "FAILED").await;
    assert_eq!((world.count(id, "CancelRequested").await, world.count(id, "Refunded").await), (0, 1));
    assert_eq!((world.effects(id).len(), world.balance().await), (0, "1000.00".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_cancellation_refunds_once() {
    let world = World::new().await;
    let id = world.buy_in_doubt().await;
    world.clock.advance(PAST_THE_DEADLINE);
    eventually("it is being cancelled", async || world.count(id, "CancelRequested").await == 1).await;
    assert_eq!(world.balance().await, "990.00", "not before it is confirmed");
    world.simulate("ok").await;
    world.ends_as(id, "FAILED").await;
    assert_eq!((world.count(id, "CancelRequested").await, world.count(id, "Refunded").await), (1, 1));
    assert_eq!(
        (world.effects(id), world.balance().await),
        (vec!["cancelled".to_owned()], "1000.00".to_owned())
    );
    assert_eq!(world.in_doubt().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_cancellation_is_a_late_success() {
    let world = World::new().await;
    world.simulate("done_then_silent").await;
    let id = world.buy().await;
    eventually("it is done", async || world.effects(id) == ["activated"]).await;
    world.simulate("silent").await; // before the call has ended, so that no look-up is answered
    world.is_in_doubt(id).await;
    world.clock.advance(PAST_THE_DEADLINE);
    eventually("it is being cancelled", async || world.count(id, "CancelRequested").await == 1).await;
    world.simulate("ok").await;
    world.ends_as(id, "SUCCESS").await;
    assert_eq!(
        (world.effects(id), world.balance().await),
        (vec!["activated".to_owned()], "990.00".to_owned())
    );
    assert_eq!((world.count(id, "Refunded").await, world.in_doubt().await), (0, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_found_after_a_refund_is_listed_and_moves_no_money() {
    let world = World::new().await;
    let id = world.buy_in_doubt().await;
    world.clock.advance(PAST_THE_DEADLINE);
    world.simulate("done_after_cancel").await;
    world.ends_as(id, "FAILED").await;
    assert_eq!((world.in_doubt().await, world.balance().await), (vec![], "1000.00".to_owned()));
    world.clock.advance(PAST_THE_DEADLINE);
    let contradicted = vec![(id, "contradicted".to_owned())];
    eventually("it is listed", async || world.in_doubt().await == contradicted).await;
    assert_eq!(
        (world.status(id).await["status"].clone(), world.balance().await),
        (json!("FAILED"), "1000.00".to_owned())
    );
    assert_eq!(world.count(id, "Contradicted").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_resolves_what_is_in_doubt_with_a_name_and_a_reason() {
    let world = World::new().await;
    let id = world.buy_in_doubt().await;
    let body = json!({"outcome": "failed", "reason": "not in their list"});
    let path = format!("/admin/transactions/{id}/resolve/");
    assert_eq!(world.other.post(&world.root, &path, &body).await.status, 202);
    assert_eq!(
        (world.status(id).await["status"].clone(), world.balance().await),
        (json!("FAILED"), "1000.00".to_owned())
    );
    let events = world.events(id).await;
    let resolved = events.iter().find(|event| event["event_type"] == "Resolved").unwrap();
    let by = (&resolved["metadata"]["actor"], &resolved["metadata"]["reason"]);
    assert_eq!(by, (&json!(format!("user:{}", world.root.id)), &json!("not in their list")));
    world.simulate("ok").await;
    let again = world.buy().await;
    world.ends_as(again, "SUCCESS").await;
    assert_eq!((world.effects(id).len(), world.count(id, "Refunded").await), (0, 1));
}
