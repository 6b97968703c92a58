//! The event log on a real PostgreSQL.

mod memory;

use crate::support::eventually::{DEADLINE, eventually};
use crate::support::stack::Stack;
use domain::{
    AccountId, Metadata, Money, OfferId, Recorded, TransactionId, UserId, account, offer, transaction,
};
use futures::future::join_all;
use offers::event_log::{
    AggregateCommand, EventLog, ExecuteError, LogError, Outcome, Plan, Sink, SinkError, StreamId,
    WriterOptions, follow,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Row};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A log in a database of its own; `pool` is the owner's.
struct Fixture {
    log: EventLog,
    owner: PgPool,
    app_url: String,
}

async fn fixture() -> Fixture {
    let (owner_url, app_url) = Stack::get().await.fresh_database().await;
    let owner = PgPoolOptions::new().max_connections(2).connect(&owner_url).await.unwrap();
    Fixture { log: open(&app_url), owner, app_url }
}

/// One more process on the same log.
fn open(url: &str) -> EventLog {
    let options: PgConnectOptions = url.parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(8).connect_lazy_with(options.clone());
    EventLog::open(pool, options, WriterOptions::default(), &CancellationToken::new())
}

fn actor() -> Metadata {
    Metadata::system("test", Uuid::now_v7())
}

async fn credit(log: &EventLog, account: AccountId, hundredths: i64) -> Result<Outcome, ExecuteError> {
    let amount = Money::from_hundredths(hundredths);
    log.commit(
        &actor(),
        Plan::new().command(AggregateCommand::Account(account, account::Command::Credit { amount })),
    )
    .await
}

fn request(account: AccountId, hundredths: i64) -> transaction::Command {
    transaction::Command::Request(transaction::ActivationRequested {
        kind: transaction::Kind::Activation,
        user_id: UserId(account.0),
        account_id: account,
        partner_id: None,
        subscription_id: None,
        offer_id: OfferId(Uuid::nil()),
        offer_name: "TV".into(),
        duration_days: 30,
        amount: Money::from_hundredths(hundredths),
        partner_reference: None,
        reference: None,
    })
}

async fn buy(log: &EventLog, id: Uuid, account: AccountId, hundredths: i64) -> Result<Outcome, ExecuteError> {
    let command = AggregateCommand::Transaction(TransactionId(id), request(account, hundredths));
    log.commit(&actor(), Plan::new().first_command(command).idempotent_on(id)).await
}

/// As from an idempotency key.
fn derived() -> Uuid {
    Uuid::new_v5(&Uuid::now_v7(), b"an idempotency key")
}

async fn everything(log: &EventLog) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    loop {
        let page = log.page(all.len() as i64, 100).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_buyers_on_one_account_get_exactly_what_it_pays_for() {
    let Fixture { log, owner, .. } = fixture().await;
    let account = AccountId(Uuid::now_v7());
    credit(&log, account, 10_000).await.unwrap();
    let mut buyers = JoinSet::new();
    for _ in 0..50 {
        let log = log.clone();
        buyers.spawn(async move { buy(&log, Uuid::now_v7(), account, 1_000).await });
    }
    let outcomes = buyers.join_all().await;
    let poor = |outcome: &&Result<Outcome, ExecuteError>| matches!(outcome, Err(ExecuteError::InsufficientFunds { account: who }) if *who == account);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10);
    assert_eq!(outcomes.iter().filter(poor).count(), 40);
    assert_eq!(log.balance(account).await.unwrap().balance, Money::ZERO);
    let events: i64 = sqlx::query_scalar("select count(*) from events").fetch_one(&owner).await.unwrap();
    assert_eq!(events, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_become_one_event_however_many_processes_send_them() {
    let Fixture { log, app_url, .. } = fixture().await;
    let other = open(&app_url);
    let account = AccountId(Uuid::now_v7());
    credit(&log, account, 100_000).await.unwrap();
    let id = derived();
    let mut twins = JoinSet::new();
    for n in 0..50 {
        let log = if n % 2 == 0 { log.clone() } else { other.clone() };
        twins.spawn(async move { buy(&log, id, account, 1_000).await });
    }
    let outcomes = twins.join_all().await;
    let repeated = |outcome: &&Result<Outcome, ExecuteError>| matches!(outcome, Err(ExecuteError::Repeated { event_id }) if *event_id == id);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(outcomes.iter().filter(repeated).count(), 49);
    assert_eq!(log.balance(account).await.unwrap().balance, Money::from_hundredths(99_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_leave_no_gap_and_lose_no_command_on_one_aggregate() {
    let Fixture { log, app_url, .. } = fixture().await;
    let other = open(&app_url);
    let account = AccountId(Uuid::now_v7());
    let mut payments = JoinSet::new();
    for n in 0..60 {
        let log = if n % 2 == 0 { log.clone() } else { other.clone() };
        payments.spawn(async move {
            for _ in 0..3 {
                loop {
                    match credit(&log, account, 1).await {
                        Ok(_) => break,
                        Err(ExecuteError::Conflict) => {} // bounded inside; a client would repeat too
                        Err(cause) => panic!("{cause}"),
                    }
                }
            }
        });
    }
    payments.join_all().await;
    assert_eq!(log.balance(account).await.unwrap().balance, Money::from_hundredths(180));
    let all = everything(&log).await;
    assert_eq!(all.iter().map(|event| event.position).collect::<Vec<_>>(), (1..=180).collect::<Vec<_>>());
    assert_eq!(all.iter().map(|event| event.sequence).collect::<HashSet<_>>().len(), 180);
    assert!(all.windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_aggregates_are_one_commit_or_none() {
    let Fixture { log, .. } = fixture().await;
    let account = AccountId(Uuid::now_v7());
    credit(&log, account, 5_000).await.unwrap();
    let (id, offer_id) = (TransactionId(Uuid::now_v7()), OfferId(Uuid::now_v7()));
    let terms = offer::Terms {
        name: "TV".into(),
        description: String::new(),
        price: Money::from_hundredths(5_001),
        duration_days: 30,
    };
    let both = async |amount| {
        log.commit(
            &actor(),
            Plan::new()
                .command(AggregateCommand::Offer(offer_id, offer::Command::Create(terms.clone())))
                .command(AggregateCommand::Transaction(id, request(account, amount))),
        )
        .await
    };
    assert!(matches!(both(5_001).await, Err(ExecuteError::InsufficientFunds { .. })));
    assert_eq!(log.head().await.unwrap(), 1);
    let Outcome::Committed(committed) = both(5_000).await.unwrap() else { panic!("it is no repeat") };
    assert_eq!((committed.first, committed.last), (2, 3));
    let all = everything(&log).await;
    assert_eq!(all[1].commit_end, 3);
    assert_eq!(both(5_000).await.unwrap(), Outcome::Unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_at_an_old_price_is_decided_again() {
    let Fixture { log, app_url, .. } = fixture().await;
    let other = open(&app_url);
    let offer_id = OfferId(Uuid::now_v7());
    let terms = |price| offer::Terms {
        name: "TV".into(),
        description: String::new(),
        price: Money::from_hundredths(price),
        duration_days: 30,
    };
    let plan = |command| Plan::new().command(AggregateCommand::Offer(offer_id, command));
    log.commit(&actor(), plan(offer::Command::Create(terms(500)))).await.unwrap();
    let account = AccountId(Uuid::now_v7());
    credit(&log, account, 10_000).await.unwrap();
    log.load::<offer::Offer>(offer_id.0).await.unwrap(); // now in this process's cache
    other.commit(&actor(), plan(offer::Command::Change(terms(700)))).await.unwrap();

    log.commit_with(&actor(), async |log| {
        let offer = log.load::<offer::Offer>(offer_id.0).await?;
        let price = offer.state.terms().unwrap().price;
        let transaction::Command::Request(mut asked) = request(account, 0) else { unreachable!() };
        asked.amount = price;
        let command = AggregateCommand::Transaction(
            TransactionId(Uuid::now_v7()),
            transaction::Command::Request(asked),
        );
        Ok(Plan::new().first_command(command).expect_version::<offer::Offer>(offer_id.0, offer.version))
    })
    .await
    .unwrap();
    assert_eq!(log.balance(account).await.unwrap().balance, Money::from_hundredths(9_300));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_follows_sees_every_event_once_while_two_processes_write() {
    let Fixture { log, app_url, .. } = fixture().await;
    let other = open(&app_url);
    let mut feed = other.feed();
    let reader = tokio::spawn(async move {
        let (mut after, mut seen) = (0, Vec::new());
        while after < 400 {
            let page = timeout(DEADLINE, feed.next(after, 64)).await.unwrap().unwrap();
            assert_eq!(page[0].position, after + 1);
            after = page.last().unwrap().position;
            assert_eq!(page.last().unwrap().commit_end, after);
            seen.extend(page);
        }
        seen
    });
    let mut writers = JoinSet::new();
    for n in 0..400 {
        let log = if n % 2 == 0 { log.clone() } else { other.clone() };
        writers.spawn(async move { credit(&log, AccountId(Uuid::now_v7()), 1).await.unwrap() });
    }
    writers.join_all().await;
    assert_eq!(reader.await.unwrap(), log.page(0, 1_000).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_is_read_by_its_position() {
    let Fixture { log, .. } = fixture().await;
    let account = AccountId(Uuid::now_v7());
    for _ in 0..3 {
        credit(&log, account, 1).await.unwrap();
    }
    let page = log.page(0, 1_000).await.unwrap();
    for event in &page {
        assert_eq!(log.event_at(event.position).await.unwrap().as_ref(), Some(event));
    }
    for nowhere in [0, page.len() as i64 + 1] {
        assert_eq!(log.event_at(nowhere).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_given_what_the_table_holds_also_from_memory() {
    let Fixture { log, .. } = fixture().await;
    let metadata = Metadata {
        reason: Some("\u{7}“odd” \\ \"text\"\n".into()),
        ..Metadata::system("test", Uuid::now_v7())
    };
    let (account, amount) = (AccountId(Uuid::now_v7()), Money::from_hundredths(1_990));
    for _ in 0..3 {
        let credit = AggregateCommand::Account(account, account::Command::Credit { amount });
        log.commit(&metadata, Plan::new().command(credit.clone())).await.unwrap();
    }
    let mut feed = log.feed();
    let first = feed.next(0, 1_000).await.unwrap();
    assert_eq!(first, log.page(0, 1_000).await.unwrap());
    let last = first.last().unwrap().position;
    credit(&log, account, 1).await.unwrap();
    assert_eq!(feed.next(last, 1_000).await.unwrap(), log.page(last, 1_000).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_of_its_commit_finds_it_in_the_feed() {
    let Fixture { log, .. } = fixture().await;
    let account = AccountId(Uuid::now_v7());
    let (mut feed, mut last) = (log.feed(), 0);
    for _ in 0..100 {
        credit(&log, account, 1).await.unwrap();
        credit(&log, account, 1).await.unwrap();
        last = feed.next(last, 1_000).await.unwrap().last().unwrap().position;
        assert_eq!(last, log.head().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_rendered_from_the_database_as_it_was_written() {
    let Fixture { log, owner, .. } = fixture().await;
    let metadata = Metadata {
        reason: Some("\u{7}“odd” \\ \"text\"\n".into()),
        ..Metadata::system("test", Uuid::now_v7())
    };
    let account = AccountId(Uuid::now_v7());
    let amount = Money::from_hundredths(1_990);
    log.commit(
        &metadata,
        Plan::new().command(AggregateCommand::Account(account, account::Command::Credit { amount })),
    )
    .await
    .unwrap();
    let event = &log.stream(StreamId::of::<account::Account>(account.0)).await.unwrap()[0];
    assert_eq!(event.payload, r#"{"type":"Credited","amount":"19.90"}"#);
    assert_eq!(event.metadata, serde_json::to_string(&metadata).unwrap());
    let parsed: serde_json::Value = serde_json::from_str(&event.line()).unwrap();
    assert_eq!(parsed["payload"]["amount"], "19.90");
    let stored: (String, String) = sqlx::query("select payload::text, metadata::text from events")
        .fetch_one(&owner)
        .await
        .map(|row| (row.get(0), row.get(1)))
        .unwrap();
    assert!(event.line().contains(&stored.0) && event.line().contains(&stored.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_refuses_update_delete_and_truncate_even_to_its_owner() {
    let Fixture { log, owner, app_url } = fixture().await;
    credit(&log, AccountId(Uuid::now_v7()), 1).await.unwrap();
    let app = PgPool::connect(&app_url).await.unwrap();
    for statement in ["update events set payload = '{}'", "delete from events", "truncate events"] {
        let by_owner = sqlx::query(statement).execute(&owner).await.unwrap_err().to_string();
        assert!(by_owner.contains("history is never rewritten"), "{by_owner}");
        let by_app = sqlx::query(statement).execute(&app).await.unwrap_err().to_string();
        assert!(by_app.contains("permission denied"), "{by_app}");
    }
    let by_app = sqlx::query("delete from accounts").execute(&app).await.unwrap_err().to_string();
    assert!(by_app.contains("permission denied"), "{by_app}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_in_history_stops_the_reader() {
    let Fixture { log, owner, .. } = fixture().await;
    for _ in 0..3 {
        credit(&log, AccountId(Uuid::now_v7()), 1).await.unwrap();
    }
    sqlx::query("alter table events disable trigger events_are_append_only").execute(&owner).await.unwrap();
    sqlx::query("delete from events where position = 2").execute(&owner).await.unwrap();
    let broken = log.page(0, 100).await.unwrap_err().to_string();
    assert!(broken.contains("broken at position 2"), "{broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_a_command_fails_and_nothing_is_written() {
    let log = open("postgres://nobody:wrong@127.0.0.1:9/none");
    let refused = timeout(DEADLINE, buy(&log, Uuid::now_v7(), AccountId(Uuid::nil()), 1));
    assert!(matches!(refused.await.unwrap(), Err(ExecuteError::Log(_))));
}

/// As a failover to a server that had not yet received the last events.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_server_had_is_not_given_from_memory() {
    let Fixture { log, owner, app_url } = fixture().await;
    let account = AccountId(Uuid::now_v7());
    for _ in 0..5 {
        credit(&log, account, 1).await.unwrap();
    }
    let mut feed = log.feed();
    assert_eq!(feed.next(3, 1_000).await.unwrap().len(), 2);
    sqlx::raw_sql(
        "alter table events disable trigger events_are_append_only;
         delete from events where position > 3;
         alter table events enable trigger events_are_append_only",
    )
    .execute(&owner)
    .await
    .unwrap();
    let all_of_ours = "select pg_terminate_backend(pid) from pg_stat_activity
                       where datname = current_database() and usename = current_user and pid <> pg_backend_pid()";
    let app = PgPool::connect(&app_url).await.unwrap();
    sqlx::query(all_of_ours).execute(&app).await.unwrap();
    let other = open(&app_url);
    for _ in 0..3 {
        credit(&other, AccountId(Uuid::now_v7()), 1).await.unwrap();
    }
    let now = other.page(3, 1_000).await.unwrap();
    let given = async || feed.next(3, 1_000).await.is_ok_and(|page| page == now);
    eventually("a follower is given what the table holds", given).await;
    let loaded =
        async || log.load::<account::Account>(account.0).await.is_ok_and(|loaded| loaded.version == 3);
    eventually("a state is as its stream says", loaded).await;
}

#[tokio::test] // on one thread: the log's listener asks for the pool's first connection
async fn what_was_remembered_while_nobody_listened_is_forgotten_when_the_listener_has_connected() {
    let (owner_url, app_url) = Stack::get().await.fresh_database().await;
    let owner = PgPoolOptions::new().max_connections(2).connect(&owner_url).await.unwrap();
    let (first, gate) = (Arc::new(AtomicBool::new(true)), Arc::new(Semaphore::new(0)));
    let (is_first, opens) = (first.clone(), gate.clone());
    let pool = PgPoolOptions::new().after_connect(move |_, _| {
        let (waits, opens) = (is_first.swap(false, Ordering::SeqCst), opens.clone());
        Box::pin(async move {
            if waits {
                let _opened = opens.acquire().await;
            }
            Ok(())
        })
    });
    let options: PgConnectOptions = app_url.parse().unwrap();
    let pool = pool.max_connections(8).connect_lazy_with(options.clone());
    let log = EventLog::open(pool, options, WriterOptions::default(), &CancellationToken::new());
    eventually("the listener is held up", async || !first.load(Ordering::SeqCst)).await;
    let account = AccountId(Uuid::now_v7());
    for _ in 0..2 {
        credit(&log, account, 1).await.unwrap();
    }
    let mut feed = log.feed();
    assert_eq!(feed.next(1, 1_000).await.unwrap().len(), 1);

    sqlx::raw_sql(FORGET_AFTER_THE_FIRST).execute(&owner).await.unwrap();
    let other = open(&app_url);
    credit(&other, AccountId(Uuid::now_v7()), 1).await.unwrap();
    let now = other.page(1, 1_000).await.unwrap();
    assert_ne!(feed.next(1, 1_000).await.unwrap(), now, "nobody has told it yet");
    gate.add_permits(1);
    let given = async || feed.next(1, 1_000).await.is_ok_and(|page| page == now);
    eventually("a follower is given what the table holds", given).await;
}

/// As a server has it that took over from a lost one.
const FORGET_AFTER_THE_FIRST: &str = "alter table events disable trigger events_are_append_only;
    delete from events where position > 1;
    alter table events enable trigger events_are_append_only";

/// Something derived that has nothing to do.
struct Idle;

impl Sink for Idle {
    fn name(&self) -> &'static str {
        "idle sink"
    }

    async fn checkpoint(&mut self) -> Result<i64, SinkError> {
        Ok(0)
    }

    async fn apply(&mut self, _page: &[Recorded]) -> Result<(), SinkError> {
        Ok(())
    }
}

#[tokio::test] // on one thread, which the test can hold up
async fn a_process_that_was_held_up_keeps_its_connections() {
    let Fixture { log, owner, app_url } = fixture().await;
    let stop = CancellationToken::new();
    let followers = (0..5).map(|_| tokio::spawn(follow(log.feed(), Idle, stop.clone())));
    let followers: Vec<_> = followers.collect();
    let user = app_url.parse::<PgConnectOptions>().unwrap().get_username().to_owned();
    let connections = async || -> HashSet<i32> {
        let pids = "select pid from pg_stat_activity where datname = current_database() and usename = $1";
        let pids: Vec<i32> = sqlx::query_scalar(pids).bind(&user).fetch_all(&owner).await.unwrap();
        pids.into_iter().collect()
    };
    eventually("each follower has read", async || connections().await.len() > 5).await;
    let before = connections().await;
    for _ in 0..3 {
        std::thread::sleep(Idle::IDLE + Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(300)).await; // all that is due now is done
    }
    let now = connections().await;
    assert!(before.is_subset(&now), "{before:?} were open, and are {now:?}");
    stop.cancel();
    join_all(followers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_postgresql_hangs_all_waiting_commands_fail_together() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // accepts and never answers
    let connect: PgConnectOptions =
        format!("postgres://x@{}/x", silent.local_addr().unwrap()).parse().unwrap();
    let options = WriterOptions { batch_commits: 1, ..WriterOptions::default() };
    let pool = PgPoolOptions::new().connect_lazy_with(connect.clone());
    let log = EventLog::open(pool, connect, options, &CancellationToken::new());
    let amount = Money::from_hundredths(1);
    // One after the other, each with a timeout of its own, they would take many times the deadline.
    let refused = join_all((0..100).map(|_| async {
        let command =
            AggregateCommand::Account(AccountId(Uuid::now_v7()), account::Command::Credit { amount });
        log.commit(&actor(), Plan::new().first_command(command)).await
    }));
    for answer in timeout(DEADLINE, refused).await.expect("they fail together") {
        assert!(matches!(answer, Err(ExecuteError::Log(LogError::Unavailable(_)))), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_has_a_history_keeps_the_indexes_that_older_processes_need() {
    let Fixture { log, owner, .. } = fixture().await;
    let indexes = async || -> HashSet<String> {
        let names = "select indexname::text from pg_indexes where tablename = 'events'";
        sqlx::query_scalar(names).fetch_all(&owner).await.unwrap().into_iter().collect()
    };
    let newer = ["events_by_derived_id", "events_by_rare_actor", "events_by_our_reference"];
    let older = ["events_event_id_key", "events_by_actor", "events_by_reference"];
    let now = indexes().await;
    assert!(newer.iter().all(|name| now.contains(*name)), "{now:?}");
    assert!(!older.iter().any(|name| now.contains(*name)), "{now:?}");

    credit(&log, AccountId(Uuid::now_v7()), 1).await.unwrap();
    let made = "alter table events add unique (event_id); \
                create index events_by_actor on events ((metadata ->> 'actor'), position); \
                create index events_by_reference on events ((payload ->> 'reference'))";
    sqlx::raw_sql(&format!("drop index {}; {made}", newer.join(", "))).execute(&owner).await.unwrap();
    let migration = include_str!("../../migrations/0093_cheaper_indexes.sql");
    sqlx::raw_sql(migration).execute(&owner).await.unwrap();
    let now = indexes().await;
    assert!(newer.iter().chain(&older).all(|name| now.contains(*name)), "{now:?}");
}
