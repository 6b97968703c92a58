//! `offers demo generate`.

use super::cli;
use crate::support::stack::Stack;
use offers::event_log::EventLog;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_generated_history_has_exactly_its_events_and_all_that_is_derived_equals_it() {
    let sandbox = Stack::get().await.sandbox().await;
    let generate = ["demo", "generate", "--events", "3000", "--seed", "7"];
    cli(&sandbox, &generate).await.code(0);
    cli(&sandbox, &generate).await.code(1).says("has events already");
    let checked = cli(&sandbox, &["check"]).await;
    checked.code(0).prints("3000 events").prints("all equal");
    let log = EventLog::at(&sandbox.database_url, &CancellationToken::new()).unwrap();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for event in log.page(0, 3000).await.unwrap() {
        *kinds.entry(event.event_type).or_default() += 1;
    }
    for kind in
        ["Opened", "Credited", "Created", "Processing", "Succeeded", "Activated", "Failed", "Refunded"]
    {
        assert!(kinds.contains_key(kind), "{kind} is missing in {kinds:?}");
    }
}
