//! The client of the activation system and the simulated system, over the wire.

use crate::support::http;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::eventually::{DEADLINE, eventually};
use domain::transaction::Evidence;
use offers::external::{Activation, ActivationSystem, Cancellation, LookUp, Rejection, Request, Settings};
use offers::simulator::{self, Behaviour, Running};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

/// A file of its own for a test's log, removed at the end.
struct Log(PathBuf);

impl Log {
    fn new() -> Log {
        Log(std::env::temp_dir().join(format!("offers-simulator-{}.ndjson", Uuid::now_v7())))
    }

    /// The lines about `id`, oldest first.
    fn effects_of(&self, id: Uuid) -> Vec<Value> {
        let about = |line: &Value| line["transaction_id"] == json!(id);
        self.effects().into_iter().filter(about).collect()
    }

    fn effects(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn simulator(log: Option<&Path>, behaviour: Behaviour) -> Running {
    let settings =
        simulator::Settings { log: log.map(Path::to_owned), behaviour, ..simulator::Settings::default() };
    simulator::start(settings).await.unwrap()
}

fn client_of(running: &Running) -> ActivationSystem {
    let settings = Settings { timeout: Duration::from_millis(500), ..Settings::new(running.url()) };
    ActivationSystem::new(&settings).unwrap()
}

async fn control(running: &Running, changes: Value) -> reqwest::StatusCode {
    let url = format!("{}/_control", running.url());
    http().put(url).json(&changes).send().await.unwrap().status()
}

fn request(transaction_id: Uuid) -> Request<'static> {
    Request {
        transaction_id,
        user_id: Uuid::from_u128(8),
        offer_id: Uuid::from_u128(9),
        amount: "19.99".to_owned(),
        kind: "activation",
    }
}

async fn activated(system: &ActivationSystem, id: Uuid) -> String {
    match system.activate(&request(id), None).await {
        Activation::Activated { reference } => reference,
        other => panic!("not activated: {other:?}"),
    }
}

#[tokio::test]
async fn an_activation_is_done_once_however_often_it_is_asked_for() {
    let log = Log::new();
    let running = simulator(Some(&log.0), Behaviour::default()).await;
    let system = client_of(&running);
    let id = Uuid::now_v7();
    assert_eq!(system.look_up(id, None).await, LookUp::NotSeen);
    let answers = futures::future::join_all((0..20).map(|_| activated(&system, id))).await;
    let reference = &answers[0];
    assert!(reference.starts_with("EXT-") && reference.len() == 16, "{reference}");
    assert!(answers.iter().all(|other| other == reference));
    assert_eq!(system.look_up(id, None).await, LookUp::Activated { reference: reference.clone() });
    let too_late = Cancellation::TooLate { reference: reference.clone() };
    assert_eq!(system.cancel(id, None).await, too_late);

    let effects = log.effects_of(id);
    assert_eq!(effects.len(), 1, "{effects:?}");
    let mut effect = effects[0].clone();
    let at = effect["at"].take();
    assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
    assert_eq!(
        effect,
        json!({
            "at": null, "effect": "activated", "transaction_id": id,
            "user_id": Uuid::from_u128(8), "offer_id": Uuid::from_u128(9),
            "amount": "19.99", "kind": "activation", "reference": reference,
        })
    );
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_cancelled_activation_is_never_done_even_if_the_request_arrives_later() {
    let log = Log::new();
    let running = simulator(Some(&log.0), Behaviour::default()).await;
    let system = client_of(&running);
    let id = Uuid::now_v7();
    assert_eq!(system.cancel(id, None).await, Cancellation::Cancelled);
    assert_eq!(system.cancel(id, None).await, Cancellation::Cancelled);
    let Activation::Rejected(Rejection { code, .. }) = system.activate(&request(id), None).await else {
        panic!("a cancelled activation was not rejected");
    };
    assert_eq!(code, "cancelled");
    assert!(
        matches!(system.look_up(id, None).await, LookUp::Rejected(Rejection { code, .. }) if code == "cancelled")
    );
    let effects = log.effects_of(id);
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0]["effect"], "cancelled");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_effect_is_in_the_log_before_anybody_hears_of_it() {
    let log = Log::new();
    let running = simulator(Some(&log.0), Behaviour::default()).await;
    let system = ActivationSystem::new(&Settings::new(running.url())).unwrap(); // patient on a busy machine
    let callers = (0..16).map(|_| async {
        for _ in 0..10 {
            let id = Uuid::now_v7();
            activated(&system, id).await;
            assert_eq!(log.effects_of(id).len(), 1);
        }
    });
    futures::future::join_all(callers).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_restarted_system_remembers_what_it_did_and_what_it_must_never_do() {
    let log = Log::new();
    let running = simulator(Some(&log.0), Behaviour::default()).await;
    let system = client_of(&running);
    let (done, cancelled, cut) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let reference = activated(&system, done).await;
    assert_eq!(system.cancel(cancelled, None).await, Cancellation::Cancelled);
    running.stop().await.unwrap();
    // A crash in the middle of a line: nobody was told of that effect.
    let mut text = std::fs::read_to_string(&log.0).unwrap();
    text += &format!(r#"{{"at":"2026-11-22T08:30:00.000000Z","effect":"activated","transaction_id":"{cut}"#);
    std::fs::write(&log.0, text).unwrap();

    let running = simulator(Some(&log.0), Behaviour::default()).await;
    let system = client_of(&running);
    assert_eq!(activated(&system, done).await, reference);
    assert!(matches!(system.activate(&request(cancelled), None).await, Activation::Rejected { .. }));
    assert_eq!(system.look_up(cut, None).await, LookUp::NotSeen);
    activated(&system, cut).await;
    assert_eq!(log.effects().len(), 3);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_pending_activation_is_done_later_unless_it_is_cancelled_before() {
    let log = Log::new();
    let behaviour = Behaviour { pending_rate: 1.0, pending_for_ms: 150, ..Behaviour::default() };
    let running = simulator(Some(&log.0), behaviour).await;
    let system = client_of(&running);
    let (kept, cancelled) = (Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(system.activate(&request(kept), None).await, Activation::Pending);
    assert_eq!(system.activate(&request(kept), None).await, Activation::Pending);
    assert_eq!(system.look_up(kept, None).await, LookUp::Pending);
    assert_eq!(system.activate(&request(cancelled), None).await, Activation::Pending);
    assert_eq!(system.cancel(cancelled, None).await, Cancellation::Cancelled);

    eventually("it is decided", async || system.look_up(kept, None).await != LookUp::Pending).await;
    assert!(matches!(system.look_up(kept, None).await, LookUp::Activated { .. }));
    assert!(matches!(system.look_up(cancelled, None).await, LookUp::Rejected { .. }));
    assert_eq!(log.effects_of(kept)[0]["amount"], "19.99");
    assert_eq!(log.effects_of(cancelled).len(), 1);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_behaviour_can_be_changed_while_it_runs() {
    let running = simulator(None, Behaviour::default()).await;
    let system = client_of(&running);
    assert_eq!(control(&running, json!({"down": true})).await, 200);
    let id = Uuid::now_v7();
    assert!(matches!(system.activate(&request(id), None).await, Activation::Inconclusive(_)));
    assert!(matches!(system.look_up(id, None).await, LookUp::Inconclusive(_)));
    assert!(matches!(system.cancel(id, None).await, Cancellation::Inconclusive(_)));
    assert_eq!(control(&running, json!({"down": false, "reject_offers": [Uuid::from_u128(9)]})).await, 200);
    assert_eq!(system.look_up(id, None).await, LookUp::NotSeen);
    let Activation::Rejected(Rejection { code, .. }) = system.activate(&request(id), None).await else {
        panic!("not rejected");
    };
    assert_eq!(code, "offer_rejected");
    assert_eq!(control(&running, json!({"failure_rate": 2})).await, 400);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn whoever_follows_the_rules_loses_and_doubles_nothing_with_a_system_that_fails_every_other_call() {
    let log = Log::new();
    let behaviour =
        Behaviour { failure_rate: 0.5, pending_rate: 0.2, pending_for_ms: 50, ..Behaviour::default() };
    let running = simulator(Some(&log.0), behaviour).await;
    let system = client_of(&running);
    let drive = |id| {
        let system = system.clone();
        async move {
            let mut answer = system.activate(&request(id), None).await;
            loop {
                match answer {
                    Activation::Activated { reference } => return (id, reference),
                    Activation::Rejected(_) => panic!("{answer:?}"),
                    _ => (),
                }
                answer = match system.look_up(id, None).await {
                    LookUp::Activated { reference } => Activation::Activated { reference },
                    LookUp::NotSeen => system.activate(&request(id), None).await,
                    _ => answer,
                };
            }
        }
    };
    let known: HashMap<Uuid, String> =
        futures::future::join_all((0..200).map(|_| drive(Uuid::now_v7()))).await.into_iter().collect();
    let effects = log.effects();
    assert_eq!(effects.len(), known.len(), "as many effects as transactions");
    for effect in effects {
        let id: Uuid = effect["transaction_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(effect["reference"], known[&id]);
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_calls_that_hang() {
    let running = simulator(None, Behaviour { latency_ms: 600_000, ..Behaviour::default() }).await;
    let system = client_of(&running);
    assert!(matches!(system.activate(&request(Uuid::now_v7()), None).await, Activation::Inconclusive(_)));
    timeout(DEADLINE, running.stop()).await.expect("it stops while a call hangs").unwrap();
    let refused = system.activate(&request(Uuid::now_v7()), None).await;
    assert!(matches!(refused, Activation::Inconclusive(call) if call.evidence == Evidence::NotSent));
}

#[tokio::test]
async fn a_log_that_cannot_be_used_keeps_the_system_from_starting() {
    let log = Log::new();
    std::fs::write(&log.0, "not a log\n").unwrap();
    let settings = simulator::Settings { log: Some(log.0.clone()), ..simulator::Settings::default() };
    assert!(matches!(simulator::start(settings).await, Err(simulator::StartError::Log(_))));
}
