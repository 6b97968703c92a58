//! What must be true afterwards, whatever was done to the system.

use super::load::Accepted;
use super::processes::System;
use crate::support::eventually::eventually;
use crate::support::http;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::collections::{HashMap, HashSet};
use std::process::Command;

/// Bought in the tests: the cheapest offer, and the one that is always rejected.
const PRICE: &str = "5.00";

/// Every 202 ends final; each has at most one effect and exactly one if SUCCESS; the money adds up; the
/// log has no gaps; `offers check` agrees.
pub async fn holds(system: &System, accepted: &Accepted) {
    assert_eq!(
        accepted.iter().collect::<HashSet<_>>().len(),
        accepted.len(),
        "a transaction was given twice"
    );
    let finals = all_final(system, accepted).await;
    each_effect_at_most_once(system, &finals);
    balances_add_up(system).await;
    positions_have_no_gap(system).await;
    check_agrees(system);
}

/// Every accepted transaction's last status, from the log itself.
async fn all_final(system: &System, accepted: &Accepted) -> HashMap<String, String> {
    let all = async || {
        let finals = finals(system).await;
        accepted.iter().all(|id| finals.contains_key(id))
    };
    eventually("every accepted transaction is final", all).await;
    finals(system).await
}

async fn finals(system: &System) -> HashMap<String, String> {
    let mut finals = HashMap::new();
    let mut after = 0;
    loop {
        let page = system.log.page(after, 1_000).await.unwrap();
        let Some(last) = page.last() else { return finals };
        after = last.position;
        for event in page {
            if event.event_type == "Succeeded" || event.event_type == "Failed" {
                let earlier = finals.insert(event.aggregate_id.clone(), event.event_type.clone());
                assert_eq!(earlier, None, "a transaction became final twice");
            }
        }
    }
}

fn each_effect_at_most_once(system: &System, finals: &HashMap<String, String>) {
    let text = std::fs::read_to_string(&system.simulator_log).unwrap_or_default();
    let effects = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let activated = effects.filter(|effect| effect["effect"] == "activated");
    let mut count: HashMap<String, usize> = HashMap::new();
    for effect in activated {
        *count.entry(effect["transaction_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for (id, outcome) in finals {
        let expected = usize::from(outcome == "Succeeded");
        assert_eq!(count.get(id).copied().unwrap_or_default(), expected, "{outcome} transaction {id}");
    }
}

/// Opening + credits − successes = what the service says each user has.
async fn balances_add_up(system: &System) {
    let mut expected: HashMap<String, Decimal> = HashMap::new();
    let mut buyers: HashMap<String, String> = HashMap::new();
    let mut after = 0;
    loop {
        let page = system.log.page(after, 1_000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.position;
        for event in page {
            let payload: Value = serde_json::from_str(&event.payload).unwrap();
            let amount = || payload["amount"].as_str().unwrap().parse::<Decimal>().unwrap();
            match event.event_type.as_str() {
                "Credited" => *expected.entry(event.aggregate_id.clone()).or_default() += amount(),
                "ActivationRequested" => {
                    let buyer = payload["account_id"].as_str().unwrap().to_owned();
                    *expected.entry(buyer.clone()).or_default() -= amount();
                    buyers.insert(event.aggregate_id.clone(), buyer);
                }
                "Refunded" => *expected.entry(buyers[&event.aggregate_id].clone()).or_default() += amount(),
                _ => {}
            }
        }
    }
    for username in ["alice", "bob"] {
        let id = system.members.users.iter().find(|user| user.username == username).unwrap().id;
        let answer = http()
            .get(format!("{}/api/v1/account/balance/", system.url))
            .bearer_auth(system.log_in(username).await)
            .send()
            .await
            .unwrap();
        let body: Value = answer.json().await.unwrap();
        let balance: Decimal = body["balance"].as_str().unwrap().parse().unwrap();
        assert_eq!(balance, expected[&id.to_string()], "{username}'s balance");
    }
    assert!(expected.values().all(|balance| (*balance % PRICE.parse::<Decimal>().unwrap()).is_zero()));
}

async fn positions_have_no_gap(system: &System) {
    let head = system.log.head().await.unwrap();
    let mut after = 0;
    while after < head {
        after = system.log.page(after, 1_000).await.unwrap().last().unwrap().position; // asserts contiguity
    }
    assert_eq!(after, head);
}

fn check_agrees(system: &System) {
    let checked = Command::new(env!("CARGO_BIN_EXE_offers"))
        .arg("check")
        .env_clear()
        .env("OFFERS_DATABASE_URL", &system.sandbox.database_url)
        .env("OFFERS_REDIS_URL", &system.sandbox.redis_url)
        .output()
        .unwrap();
    let [told, why] = [&checked.stdout, &checked.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(checked.status.success(), "offers check:\n{told}{why}");
}

/// The hashes of finished transactions are in Redis again, complete, with the status of the log.
pub async fn hashes_came_back(system: &System, accepted: &Accepted) {
    let finals = finals(system).await;
    for id in accepted {
        let expected = if finals[id] == "Succeeded" { "SUCCESS" } else { "FAILED" };
        let back = async || system.hash_status(id).await.as_deref() == Some(expected);
        eventually(&format!("the hash of {id} is {expected}"), back).await;
    }
}

/// Everything that was in doubt has ended, and nothing was contradicted.
pub async fn nothing_is_in_doubt(system: &System) {
    let token = system.log_in("admin").await;
    let url = format!("{}/api/v1/admin/transactions/?in_doubt=true", system.url);
    let none = async || {
        let answer = http().get(&url).bearer_auth(&token).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["results"] == Value::Array(vec![])
    };
    eventually("nothing is in doubt", none).await;
    let mut database = PgConnection::connect(&system.sandbox.database_url).await.unwrap();
    eventually("what was cancelled was looked up once more", async || {
        let count = sqlx::query_scalar::<_, i64>("select count(*) from activation_rechecks");
        count.fetch_one(&mut database).await.unwrap() == 0
    })
    .await;
}
