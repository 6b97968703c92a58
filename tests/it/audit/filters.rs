//! `/audit/events/` by actor, time and type, and what that costs in a long history.

use super::cli;
use crate::support::eventually::eventually;
use crate::support::service::Service;
use crate::support::stack::{Sandbox, Stack};
use offers::event_log::{At, EventLog, Filter, Span};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[tokio::test]
async fn events_are_found_by_actor_and_by_time() {
    let service = Service::start().await;
    let auditor = service.person("auditor", &["auditor"]).await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    service.post(&alice, "/activation/", &json!({"offer_id": tv})).await;
    let all = service.walk(&auditor, "/audit/events/").await;
    let positions = async |query: String| -> Vec<i64> {
        let found = service.walk(&auditor, &format!("/audit/events/?limit=2&{query}")).await;
        found.iter().map(|event| event["position"].as_i64().unwrap()).collect()
    };
    let of = |wanted: &dyn Fn(&Value) -> bool| -> Vec<i64> {
        all.iter().filter(|event| wanted(event)).map(|event| event["position"].as_i64().unwrap()).collect()
    };
    let by_alice = format!("user:{}", alice.id);
    let actors = [by_alice.as_str(), "system:test"];
    for actor in actors {
        let expected = of(&|event| event["metadata"]["actor"] == actor);
        assert!(!expected.is_empty(), "{actor}");
        assert_eq!(positions(format!("actor={actor}")).await, expected, "{actor}");
    }
    assert_eq!(positions(format!("actor=user:{}", Uuid::now_v7())).await, [0_i64; 0]);
    let upper = by_alice.to_uppercase().replace("USER", "user");
    assert_eq!(positions(format!("actor={upper}")).await, positions(format!("actor={by_alice}")).await);

    let third = all[2]["recorded_at"].as_str().unwrap();
    assert_eq!(positions("from=3&to=4".into()).await, [3, 4]);
    assert_eq!(
        positions(format!("from={third}")).await,
        of(&|event| event["recorded_at"].as_str() >= Some(third))
    );
    assert_eq!(
        positions(format!("to={third}")).await,
        of(&|event| event["recorded_at"].as_str() < Some(third))
    );
    assert_eq!(positions("from=2000-01-01T00:00:00Z&to=2001-01-01T00:00:00Z".into()).await, [0_i64; 0]);
    assert_eq!(
        positions("from=3&after=4&to=9999999".into()).await,
        of(&|event| event["position"].as_i64() > Some(4))
    );
    assert_eq!(positions("aggregate_type=Account&event_type=Succeeded".into()).await, [0_i64; 0]);
}

#[tokio::test]
async fn a_filter_that_nothing_can_have_is_refused() {
    let service = Service::start().await;
    let auditor = service.person("auditor", &["auditor"]).await;
    for wrong in ["actor=alice", "actor=user:alice", "actor=system:", "actor=system:A", "from=-1", "to=now"] {
        let reply = service.get(&auditor, &format!("/audit/events/?{wrong}")).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), [wrong.split('=').next().unwrap()], "{wrong}");
    }
}

/// How often PostgreSQL has read all of the log, and how many events it has taken by an index.
async fn reads(sandbox: &Sandbox) -> (i64, i64) {
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    let query = "select seq_scan, idx_tup_fetch, idx_scan from pg_stat_user_tables where relname = 'events'";
    let (seq_scan, fetched, _): (i64, i64, i64) = sqlx::query_as(query).fetch_one(&mut owner).await.unwrap();
    (seq_scan, fetched)
}

/// A connection that ends gives its numbers to PostgreSQL.
pub(crate) async fn all_connections_have_ended(sandbox: &Sandbox) {
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    let query = "select count(*) from pg_stat_activity where datname = current_database() \
                 and pid <> pg_backend_pid() and backend_type = 'client backend'";
    let mut ended = async || {
        let others: i64 = sqlx::query_scalar(query).fetch_one(&mut owner).await.unwrap();
        others == 0
    };
    eventually("the connections have ended", async || ended().await).await;
}

#[tokio::test]
async fn a_rare_event_in_a_long_history_is_found_without_reading_the_history() {
    const LIMIT: i64 = 51;
    let sandbox = Stack::get().await.sandbox().await;
    cli(&sandbox, &["demo", "generate", "--events", "20000"]).await.code(0);
    let log = EventLog::at(&sandbox.database_url, &CancellationToken::new()).unwrap();
    let opened = Filter { event_type: Some("Opened".into()), ..Filter::default() };
    let user = log.search(&opened, Span::ALL, 100).await.unwrap().pop().unwrap().aggregate_id.clone();
    drop(log);
    let filter = |aggregate_type: Option<&str>, event_type: Option<&str>, actor: Option<&str>| Filter {
        aggregate_type: aggregate_type.map(str::to_owned),
        aggregate_id: None,
        event_type: event_type.map(str::to_owned),
        actor: actor.map(str::to_owned),
    };
    let actor = format!("user:{user}");
    let rare = [
        filter(None, Some("Reactivated"), None),
        filter(None, Some("Changed"), None),
        filter(Some("Transaction"), Some("Refunded"), None),
        filter(Some("Offer"), None, None),
        filter(Some("Account"), None, None),
        filter(Some("Account"), Some("Succeeded"), None),
        filter(None, None, Some("user:00000000-0000-0000-0000-000000000000")),
        filter(None, None, Some(&actor)),
        filter(Some("Transaction"), None, Some(&actor)),
        filter(None, None, Some("system:registration")),
        Filter { aggregate_id: Some(user.clone()), ..Filter::default() },
        filter(None, Some("Processing"), None),
        filter(None, None, Some("system:activation")),
        filter(None, None, None),
    ];
    let month = ["2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"].map(|at| At::Time(at.parse().unwrap()));
    for filter in rare {
        all_connections_have_ended(&sandbox).await;
        let before = reads(&sandbox).await;
        let stop = CancellationToken::new();
        let log = EventLog::at(&sandbox.database_url, &stop).unwrap();
        let span = log.span(Some(month[0]), Some(month[1])).await.unwrap();
        let found = log.search(&filter, Span { after: 10_000, ..span }, LIMIT).await.unwrap();
        stop.cancel();
        drop(log);
        all_connections_have_ended(&sandbox).await;
        let after = reads(&sandbox).await;
        let (whole, fetched) = (after.0 - before.0, after.1 - before.1);
        assert_eq!(whole, 0, "{filter:?} has read the whole log");
        let (streams, few) = (250, 8 * LIMIT); // a user's stream; a page of each type, and the search by time
        assert!(fetched <= few.max(streams), "{filter:?} has read {fetched} events for {}", found.len());
    }
}
