//! What docs/analysts.md promises, done by a program that shares no code with the service.

use super::analyst::{API_PREFIX, NAME};
use crate::outage::processes::{Serving, System};
use crate::support::eventually::eventually;
use crate::support::http;
use crate::support::languages::python_is_missing;
use crate::support::nats_server::NatsServer;
use async_nats::jetstream;
use serde_json::{Value, json};
use std::path::Path;
use tokio::process::Command;

/// Buys the offer and waits until it is known what became of it.
async fn buy(system: &System, token: &str, offer: uuid::Uuid) -> String {
    let (client, api) = (http(), format!("{}/api/v1/activation", system.url));
    let wish = client.post(format!("{api}/")).bearer_auth(token).json(&json!({"offer_id": offer}));
    let accepted: Value = wish.send().await.unwrap().json().await.unwrap();
    let status = format!("{api}/status/{}/", accepted["transaction_id"].as_str().unwrap());
    let wait = client.get(status).bearer_auth(token).header("prefer", "wait=30");
    let status: Value = wait.send().await.unwrap().json().await.unwrap();
    status["status"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_finds_the_revenue_of_each_offer_as_an_analyst() {
    if python_is_missing().await {
        return;
    }
    let nats = NatsServer::start().await;
    let environment = vec![
        ("OFFERS_NATS_URL", nats.url("app")),
        ("OFFERS_NATS_ANALYTICS_URL", nats.url("analytics_admin")),
        ("OFFERS_NATS_STREAM", NAME.to_owned()),
        ("OFFERS_NATS_SUBJECTS", "offers.events".to_owned()),
    ];
    let system = System::start_with(&[], Serving { environment, ..Serving::default() }).await;
    let token = system.log_in("alice").await;
    let offers = &system.members.offers;
    let (first, second, refused) = (offers[0], offers[1], *offers.last().unwrap());
    for (offer, status) in [(first, "SUCCESS"), (refused, "FAILED"), (second, "SUCCESS"), (first, "SUCCESS")]
    {
        assert_eq!(buy(&system, &token, offer).await, status);
    }
    let head = u64::try_from(system.log.head().await.unwrap()).unwrap();
    let admin = jetstream::new(nats.client("analytics_admin").await);
    eventually("the mirror has everything", async || {
        let Ok(mirror) = admin.get_stream(NAME).await else { return false };
        mirror.cached_info().state.last_sequence == head
    })
    .await;

    let file = std::env::temp_dir().join(format!("offers-analyst-{}.json", std::process::id()));
    let analyst = json!({ "nats_url": nats.url("analyst"), "js_api_prefix": API_PREFIX });
    std::fs::write(&file, json!({ "analyst": analyst }).to_string()).unwrap();
    let export = std::env::temp_dir().join(format!("offers-analyst-{}.ndjson", std::process::id()));
    std::fs::write(&export, everything_exported(&system).await).unwrap();
    let from_stream = run_example(&[&file]).await;
    let from_both = run_example(&[&file, &export]).await;
    let _ = std::fs::remove_file(&file);
    let _ = std::fs::remove_file(&export);
    assert_eq!(from_stream, from_both);
    let said = from_stream;

    let [name, price, other, other_price, refund] = terms(&system, first, second, refused).await;
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let has = |words: &str| lines.iter().any(|line| line.join(" ") == words);
    let twice = format!("{:.2}", 2.0 * price.parse::<f64>().unwrap());
    assert!(has(&format!("{name} 2 {twice}")) && has(&format!("{other} 1 {other_price}")), "{said}");
    assert!(has(&format!("refunded {refund}, not decided yet 0")), "{said}");
    assert!(has(&format!("positions 1 to {head}, none missing")), "{said}");
}

/// What the example says when it is given these files.
async fn run_example(files: &[&Path]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/analyst.py");
    let run = Command::new("python3").arg(script).args(files).kill_on_drop(true).output().await.unwrap();
    let (said, failed) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}{failed}");
    said.into_owned()
}

/// All records, as an auditor fetches them.
async fn everything_exported(system: &System) -> String {
    let token = system.log_in("auditor").await;
    let all = http().get(format!("{}/api/v1/audit/events/?after=0", system.url));
    let all = all.bearer_auth(token).header("accept", "application/x-ndjson").send().await.unwrap();
    all.error_for_status().unwrap().text().await.unwrap()
}

#[test]
fn the_guide_has_every_event_with_all_its_members() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/analysts.md")).unwrap();
    let rows: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
    for event in domain::schema::events() {
        let name = format!("`{}`", domain::dotted(event.aggregate_type, &event.event_type));
        let row = rows.iter().find(|row| row.split('|').nth(1).is_some_and(|first| first.contains(&name)));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the table"));
        let required = event.schema["required"].as_array().unwrap();
        for member in event.schema["properties"].as_object().unwrap().keys().filter(|name| *name != "type") {
            let optional = if required.iter().any(|name| name == member) { "" } else { "?" };
            assert!(row.contains(&format!("`{member}`{optional}")), "{name}: {member}{optional}");
        }
    }
}

/// Name and price of two offers, and the price of a third.
async fn terms(system: &System, one: uuid::Uuid, other: uuid::Uuid, third: uuid::Uuid) -> [String; 5] {
    let token = system.log_in("alice").await;
    let of = async |offer: uuid::Uuid| {
        let url = format!("{}/api/v1/offers/{offer}/", system.url);
        let offer: Value = http().get(url).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
        ["name", "price"].map(|member| offer[member].as_str().unwrap().to_owned())
    };
    let ([name, price], [other, other_price], [_, refund]) =
        (of(one).await, of(other).await, of(third).await);
    [name, price, other, other_price, refund]
}
