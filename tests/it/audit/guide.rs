//! docs/auditors.md: its commands print what it says.

use crate::outage::processes::{Serving, System};
use crate::support::eventually::eventually;
use crate::support::guide::{Guide, Reader};
use crate::support::http;
use crate::support::languages::python_with_packages;
use offers::notary::TreeStore;

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_auditors_guide_prints_what_the_guide_says() {
    let Some(python) = python_with_packages().await else { return };
    let system = System::start_with(&[], Serving::default()).await;
    buy(&system).await;
    everything_is_signed(&system).await;
    let environment =
        vec![("URL", system.url.clone()), ("OFFERS_DATABASE_URL", system.sandbox.database_url.clone())];
    Reader::new("auditor", Some(&python), environment).runs(&Guide::read("auditors.md").steps).await;
}

async fn buy(system: &System) {
    let token = system.log_in("alice").await;
    let (client, api) = (http(), format!("{}/api/v1/activation", system.url));
    let wish = serde_json::json!({"offer_id": system.members.offers[0]});
    let accepted = client.post(format!("{api}/")).bearer_auth(&token).json(&wish).send().await.unwrap();
    let accepted: serde_json::Value = accepted.json().await.unwrap();
    let status = format!("{api}/status/{}/", accepted["transaction_id"].as_str().unwrap());
    let status = client.get(status).bearer_auth(token).header("prefer", "wait=30").send().await.unwrap();
    assert!(status.text().await.unwrap().contains("SUCCESS"));
}

async fn everything_is_signed(system: &System) {
    let store = TreeStore::at(system.sandbox.database_url.parse().unwrap());
    eventually("all records are in a checkpoint", async || {
        let head = system.log.head().await.unwrap().unsigned_abs();
        store.newest().await.unwrap().is_some_and(|newest| newest.size == head)
    })
    .await;
}
