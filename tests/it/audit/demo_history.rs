//! `offers demo generate`.

use super::cli;
use crate::support::stack::Stack;
use offers::event_log::{EventLog, Span};
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
        *kinds.entry(event.event_type.clone()).or_default() += 1;
    }
    for kind in
        ["Opened", "Credited", "Created", "Processing", "Succeeded", "Activated", "Failed", "Refunded"]
    {
        assert!(kinds.contains_key(kind), "{kind} is missing in {kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_in_bulk_is_cut_after_whole_commits_so_that_it_can_be_folded() {
    let sandbox = Stack::get().await.sandbox().await;
    cli(&sandbox, &["demo", "generate", "--events", "40000"]).await.code(0);
    let log = EventLog::at(&sandbox.database_url, &CancellationToken::new()).unwrap();
    let (mut scan, mut pages, mut at) = (log.scan(Span::ALL), 0, 0);
    while let Some(page) = scan.next().await {
        let page = page.unwrap();
        let (first, last) = (&page[0], &page[page.len() - 1]);
        assert_eq!((first.position, last.commit_end), (at + 1, last.position), "page {pages}");
        (pages, at) = (pages + 1, last.position);
    }
    assert!(at == 40_000 && pages > 8, "{pages} pages up to {at}");
    cli(&sandbox, &["verify"]).await.code(0).prints("0 differences");
}
