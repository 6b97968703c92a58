//! A process that dies at any step of a purchase. What was begun is finished after the next start, once.

use super::processes::{Serving, System};
use super::reckoning;
use crate::callbacks::receiver::Receiver;
use crate::support::eventually::eventually;
use crate::support::http;
use chrono::Utc;
use domain::PartnerId;
use futures::StreamExt;
use futures::future::join_all;
use offers::failpoint::Step;
use offers::identity::{Actor, CallbackUrl, PartnerChange};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use strum::VariantArray;
use uuid::Uuid;

/// Systems at the same time.
const AT_ONCE: usize = 3;
/// Without `--full` only every so many steps are tried.
const SAMPLE: usize = 5;
/// How long a buyer waits for an answer.
const ANSWER: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_finished_once_wherever_the_process_dies_once_or_twice() {
    // All steps, and each twice in a row, take the machine for themselves for minutes: `./dev test --full`.
    let full = std::env::var_os("OFFERS_TEST_FULL").is_some_and(|value| value == "1");
    let (every, most_deaths) = if full { (1, 2) } else { (SAMPLE, 1) };
    // The last steps wait longest, for leases and deadlines: they begin first.
    let steps: Vec<Step> = Step::VARIANTS.iter().rev().step_by(every).copied().collect();
    let each = steps.iter().map(|step| dies_at(*step, most_deaths));
    let died: Vec<()> = futures::stream::iter(each).buffer_unordered(AT_ONCE).collect().await;
    assert_eq!(died.len(), steps.len());
}

async fn dies_at(step: Step, most_deaths: u32) {
    let setting = |name, value: &str| (name, value.to_owned());
    let mut environment = vec![setting("OFFERS_CALLBACK_ALLOW_PRIVATE", "true")];
    if is_of_a_cancellation(step) {
        environment.push(setting("OFFERS_ACTIVATION_DEADLINE", "2s"));
        environment.push(setting("OFFERS_CANCEL_RECHECK", "1s"));
    }
    let mut system = System::start_with(&[], Serving { environment, log: None }).await;
    system.simulate(behaviour(step)).await;
    system.stream_has_every_event().await;
    let mut buyers = Buyers::of(&system).await;
    for deaths in 1..=most_deaths {
        for death in 1..=deaths {
            let failpoint = failpoint(step, deaths, death);
            system.start_dying(&failpoint);
            buyers.buy_until_death(&mut system, &failpoint).await;
        }
        system.start_service().await;
        buyers.are_all_answered().await;
        let accepted = buyers.accepted();
        reckoning::holds(&system, &accepted).await;
        reckoning::hashes_came_back(&system, &accepted).await;
        reckoning::nothing_is_in_doubt(&system).await;
        system.stream_has_every_event().await;
        buyers.partner_is_told_once().await;
    }
}

fn is_of_a_cancellation(step: Step) -> bool {
    matches!(step, Step::CancelIntentCommitted | Step::Cancelled | Step::RecheckDone)
}

/// How the activation system behaves, so that purchases come to the step.
fn behaviour(step: Step) -> &'static str {
    match step {
        Step::LookedUp | Step::AttemptRecorded => "done_then_error",
        step if is_of_a_cancellation(step) => "error",
        _ => "ok",
    }
}

/// Of two deaths at a commit, the first is at that of an intent, and the second later.
fn failpoint(step: Step, deaths: u32, death: u32) -> String {
    use Step::{CommitDone, CommitLocked, CommitWaiting, CommitWritten};
    let is_of_the_writer = matches!(step, CommitWaiting | CommitLocked | CommitWritten | CommitDone);
    let nth = if is_of_the_writer { deaths + death - 1 } else { 1 };
    format!("{}:{nth}", <&str>::from(step))
}

/// A user and a partner, who repeat each purchase with its key until it is answered.
struct Buyers {
    client: Client,
    url: String,
    token: String,
    api_key: String,
    user_id: Uuid,
    offer_id: Uuid,
    receiver: Receiver,
    purchases: Vec<Purchase>,
}

#[derive(Clone)]
struct Purchase {
    key: Uuid,
    is_of_the_partner: bool,
    /// When it is answered.
    transaction_id: Option<String>,
}

impl Buyers {
    async fn of(system: &System) -> Self {
        let receiver = Receiver::answering(200).await;
        let partner = system.members.partner.as_ref().unwrap();
        let callback_url = Some(Some(CallbackUrl::parse(&receiver.url).unwrap()));
        let change = PartnerChange { callback_url, ..PartnerChange::default() };
        let by = Actor::system("test");
        system.identity.update_partner(PartnerId(partner.id), &change, &by, Utc::now()).await.unwrap();
        Self {
            client: http(),
            url: system.url.clone(),
            token: system.log_in("alice").await,
            api_key: partner.api_key.clone(),
            user_id: system.members.users[0].id,
            offer_id: system.members.offers[0],
            receiver,
            purchases: Vec::new(),
        }
    }

    /// Each begins a purchase.
    async fn buy_until_death(&mut self, system: &mut System, failpoint: &str) {
        for is_of_the_partner in [false, true] {
            self.purchases.push(Purchase { key: Uuid::now_v7(), is_of_the_partner, transaction_id: None });
        }
        eventually(&format!("the process dies at {failpoint}"), async || {
            self.ask().await;
            system.has_died()
        })
        .await;
    }

    async fn are_all_answered(&mut self) {
        eventually("every purchase is answered", async || {
            self.ask().await;
            self.purchases.iter().all(|purchase| purchase.transaction_id.is_some())
        })
        .await;
    }

    /// Asks for what is not answered yet.
    async fn ask(&mut self) {
        let unanswered = |purchase: &&Purchase| purchase.transaction_id.is_none();
        let asked = self.purchases.iter().filter(unanswered).map(|purchase| self.answer_to(purchase));
        let answers: HashMap<Uuid, String> = join_all(asked).await.into_iter().flatten().collect();
        for purchase in &mut self.purchases {
            if let Some(id) = answers.get(&purchase.key) {
                purchase.transaction_id = Some(id.clone());
            }
        }
    }

    /// The purchase's key with the id of its transaction.
    async fn answer_to(&self, purchase: &Purchase) -> Option<(Uuid, String)> {
        let answer = self.request(purchase).timeout(ANSWER).send().await.ok()?;
        if answer.status().is_server_error() {
            return None;
        }
        assert!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await.unwrap());
        let body: Value = answer.json().await.ok()?;
        Some((purchase.key, body["transaction_id"].as_str().unwrap().to_owned()))
    }

    fn request(&self, purchase: &Purchase) -> RequestBuilder {
        let (path, key) = match purchase.is_of_the_partner {
            true => ("partner/activate", format!("ApiKey {}", self.api_key)),
            false => ("activation", format!("Bearer {}", self.token)),
        };
        let body = match purchase.is_of_the_partner {
            true => json!({"user_id": self.user_id, "offer_id": self.offer_id, "amount": "5.00"}),
            false => json!({"offer_id": self.offer_id}),
        };
        let request = self.client.post(format!("{}/api/v1/{path}/", self.url)).header("authorization", key);
        request.header("Idempotency-Key", purchase.key.to_string()).json(&body)
    }

    fn accepted(&self) -> Vec<String> {
        self.purchases.iter().filter_map(|purchase| purchase.transaction_id.clone()).collect()
    }

    /// One callback for each of its purchases, maybe sent again.
    async fn partner_is_told_once(&self) {
        let bought = self.purchases.iter().filter(|purchase| purchase.is_of_the_partner);
        let mut bought: Vec<_> = bought.map(|purchase| purchase.transaction_id.clone().unwrap()).collect();
        bought.sort();
        eventually("the partner is told of each purchase", async || {
            let mut bodies = HashMap::new();
            for request in self.receiver.requests() {
                let body = bodies.entry(request.id().to_owned()).or_insert_with(|| request.body.clone());
                assert_eq!(*body, request.body, "a callback was sent again with another body");
            }
            let told = bodies.values().map(|body| serde_json::from_str::<Value>(body).unwrap());
            let mut told: Vec<_> =
                told.map(|body| body["data"]["transaction_id"].as_str().unwrap().to_owned()).collect();
            told.sort();
            assert!(told.len() <= bought.len(), "a purchase was told of twice: {told:?}");
            told == bought
        })
        .await;
    }
}
