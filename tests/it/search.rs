//! `/admin/search/`, and what it and statements cost in a long history.

use crate::audit::{cli, filters::all_connections_have_ended};
use crate::support::service::{Person, Service, send};
use crate::support::stack::{Sandbox, Stack};
use domain::{SubscriptionId, TransactionId, UserId};
use offers::app::Search;
use offers::app::statement::{Audience, Period, Statements};
use offers::event_log::{EventLog, Filter, Span};
use offers::identity::Identity;
use projections::Readers;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The kinds and ids of what is found.
async fn find(service: &Service, root: &Person, q: &str) -> Vec<(String, Uuid)> {
    let url = reqwest::Url::parse_with_params("http://host/", [("q", q)]).unwrap();
    let found = service.get(root, &format!("/admin/search/?{}", url.query().unwrap())).await;
    assert_eq!(found.status, 200, "{q}: {}", found.text);
    let results = found.json()["results"].as_array().unwrap().clone();
    for result in &results {
        let url = result["url"].as_str().unwrap().strip_prefix("/api/v1").unwrap();
        let shown = service.get(root, url).await;
        assert_eq!(shown.status, 200, "{url}: {}", shown.text);
        assert!(shown.text.contains(result["id"].as_str().unwrap()), "{url}: {}", shown.text);
        assert!(!result["label"].as_str().unwrap().is_empty());
    }
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    results.iter().map(|result| (text(&result["kind"]), text(&result["id"]).parse().unwrap())).collect()
}

#[tokio::test]
async fn whatever_an_administrator_has_in_hand_is_found() {
    let service = Service::start().await;
    let root = service.admin().await;
    let (alice, annabel, anna) = (
        service.rich("Alice").await,
        service.person("annabel", &["user"]).await,
        service.person("Anna", &["user"]).await,
    );
    let shop = service.shop("Corner Shop", 10_000).await;
    let tv = service.offer("TV", 1000).await;
    let body =
        json!({"user_id": alice.id, "offer_id": tv, "amount": "10.00", "partner_reference": "order-7"});
    let sold = send(service.request_by(&shop, Method::POST, "/partner/activate/").json(&body)).await;
    let (sold, ours) = (sold.id("transaction_id"), sold.json()["reference"].as_str().unwrap().to_owned());
    service.succeed(TransactionId(sold), &alice, tv).await;
    service.all_listed().await;
    let subscription = SubscriptionId::started_by(TransactionId(sold)).0;
    let one = |kind: &str, id: Uuid| vec![(kind.to_owned(), id)];

    assert_eq!(find(&service, &root, &alice.id.to_string()).await, one("user", alice.id.0));
    assert_eq!(find(&service, &root, &shop.id.to_string()).await, one("partner", shop.id.0));
    assert_eq!(find(&service, &root, &tv.to_string()).await, one("offer", tv.0));
    assert_eq!(find(&service, &root, &subscription.to_string()).await, one("subscription", subscription));
    let request = ("event".to_owned(), sold); // has the transaction's id
    let by_id = find(&service, &root, &sold.to_string().to_uppercase()).await;
    assert_eq!(by_id, [one("transaction", sold)[0].clone(), request.clone()]);
    for reference in [&*ours, &ours.to_lowercase(), "order-7", " EXT-1 "] {
        assert_eq!(find(&service, &root, reference).await, one("transaction", sold), "{reference}");
    }
    let log = service.app.history.page(&Filter::default(), Span::ALL, 200).await.unwrap().items;
    for event in &log {
        let expected = ("event".to_owned(), event.event_id);
        let by_position = find(&service, &root, &format!("#{}", event.position)).await;
        assert_eq!(by_position, std::slice::from_ref(&expected), "{}", event.position);
        let by_id = find(&service, &root, &event.event_id.to_string()).await;
        assert!(by_id.contains(&expected), "{} {by_id:?}", event.event_id);
    }
    for name in ["alice", "ALICE", "alice@example.com", "Alice@", "ａＬi"] {
        assert_eq!(find(&service, &root, name).await, one("user", alice.id.0), "{name}");
    }
    let both = [("user".to_owned(), anna.id.0), ("user".to_owned(), annabel.id.0)];
    assert_eq!(find(&service, &root, "ANNA").await, both, "what is exactly so comes first");
    for number in 0..30 {
        service.person(&format!("annab{number:02}"), &["user"]).await;
    }
    let many = find(&service, &root, "ann").await;
    assert_eq!((many.len(), &many[0].1), (20, &anna.id.0));
    let nothing =
        ["order-8", "ORDER-7", "EXT-2", "#0", "#99999", "#x", "%", "_", "lice", &Uuid::now_v7().to_string()];
    for nothing in nothing {
        assert_eq!(find(&service, &root, nothing).await, [], "{nothing}");
    }
    for wrong in [
        "",
        "?q=",
        "?q=%20",
        "?q=%E2%80%8B",
        "?q=a%00",
        "?q=a%0Ab",
        "?q=a&q=b",
        "?q=a&limit=5",
        &format!("?q={}", "a".repeat(256)),
    ] {
        service.get(&root, &format!("/admin/search/{wrong}")).await.is(400, "invalid_request");
    }
    service.get(&alice, "/admin/search/?q=alice").await.is(403, "forbidden");
    let auditor = service.person("auditor", &["auditor"]).await;
    service.get(&auditor, "/admin/search/?q=alice").await.is(403, "forbidden");
}

/// How often PostgreSQL has read all of each table, and how many rows it has taken by an index.
async fn reads(sandbox: &Sandbox) -> BTreeMap<String, (i64, i64)> {
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    let query = "select relname::text, seq_scan, coalesce(idx_tup_fetch, 0) from pg_stat_user_tables
                 where relname in ('events', 'users', 'transactions', 'statement', 'subscriptions')";
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(query).fetch_all(&mut owner).await.unwrap();
    rows.into_iter().map(|(table, scans, fetched)| (table, (scans, fetched))).collect()
}

/// A connection to all that is searched.
struct Everything {
    search: Search,
    statements: Statements,
    stop: CancellationToken,
}

impl Everything {
    fn of(sandbox: &Sandbox) -> Self {
        let stop = CancellationToken::new();
        let log = EventLog::at(&sandbox.database_url, &stop).unwrap();
        let readers = Readers::at(sandbox.database_url.parse().unwrap());
        let identity = Arc::new(Identity::at(&sandbox.database_url, None).unwrap());
        let search = Search::new(log.clone(), readers.clone(), identity);
        Self { search, statements: Statements::new(log, readers), stop }
    }
}

#[tokio::test]
async fn nothing_is_scanned_for_a_search_or_a_statement_in_a_long_history() {
    /// Beside the rows of an answer: those of the events near an id, and of what is halved.
    const ROWS: i64 = 20_500;
    const USERS: &str = "
        insert into users (id, username, email, first_name, last_name, password_hash, roles, date_joined, username_folded,
                           search_text, text_rules)
        select gen_random_uuid(), 'user-' || number, 'user-' || number || '@example.com', '', '', 'x', '{user}', now(),
               'user-' || number, '', 1
        from generate_series(1, 20000) as number";
    /// The history has no references of partners.
    const REFERENCES: &str = "
        update read.transactions
        set partner_reference = 'order-' || created_position, reference = 'REF-' || lpad(created_position::text, 12, '0')
        where partner_id is not null";
    let sandbox = Stack::get().await.sandbox().await;
    cli(&sandbox, &["demo", "generate", "--events", "20000"]).await.code(0);
    cli(&sandbox, &["replay", "read-tables"]).await.code(0);
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    sqlx::raw_sql(USERS).execute(&mut owner).await.unwrap();
    sqlx::raw_sql(REFERENCES).execute(&mut owner).await.unwrap();
    sqlx::raw_sql("analyze").execute(&mut owner).await.unwrap();
    let text = async |owner: &mut PgConnection, query: &str| -> String {
        sqlx::query_scalar(query).fetch_one(owner).await.unwrap()
    };
    let newest = async |owner: &mut PgConnection, column: &str, table: &str| {
        let of = "order by created_position desc limit 1";
        text(owner, &format!("select {column}::text from read.{table} where {column} is not null {of}")).await
    };
    let account =
        "select account_id::text from read.statement group by account_id order by count(*) desc limit 1";
    let account: Uuid = text(&mut owner, account).await.parse().unwrap();
    let at = "select recorded_at::text from events where position = 10000";
    let at = text(&mut owner, at).await.replacen(' ', "T", 1).replace("+00", "Z").parse().unwrap();
    let sought = [
        newest(&mut owner, "transaction_id", "transactions").await,
        newest(&mut owner, "external_reference", "transactions").await,
        newest(&mut owner, "reference", "transactions").await,
        newest(&mut owner, "partner_reference", "transactions").await,
        newest(&mut owner, "subscription_id", "subscriptions").await,
        text(&mut owner, "select event_id::text from events where position = 15000").await,
        "#17000".to_owned(),
        "USER-1".to_owned(),
        "user-19999@example.com".to_owned(),
    ];
    owner.close().await.unwrap();
    for sought in sought {
        all_connections_have_ended(&sandbox).await;
        let before = reads(&sandbox).await;
        let everything = Everything::of(&sandbox);
        let found = everything.search.find(&sought).await.unwrap();
        assert!(!found.is_empty(), "{sought}");
        for period in
            [Period::default(), Period { from: Some(at), to: None }, Period { from: None, to: Some(at) }]
        {
            let list =
                everything.statements.list(UserId(account).into(), Audience::Owner, period, None, 50).await;
            assert!(!list.unwrap().items.is_empty(), "{period:?}");
        }
        everything.stop.cancel();
        drop(everything);
        all_connections_have_ended(&sandbox).await;
        for (table, (scans, fetched)) in reads(&sandbox).await {
            let (scans, fetched) = (scans - before[&table].0, fetched - before[&table].1);
            assert_eq!(scans, 0, "all of {table} was read for {sought}");
            assert!(fetched < ROWS, "{fetched} rows of {table} for {sought}");
        }
    }
}
