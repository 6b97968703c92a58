//! `offers check`, as an operator runs them.

use super::Fixture;
use domain::{
    AccountId, Metadata, Money, OfferId, SubscriptionId, Timestamp, TransactionId, UserId, account, offer,
    transaction, user_offer,
};
use offers::event_log::{AggregateCommand, EventLog, PAGE_EVENTS, Plan};
use projections::{Check, ReadCheckpoint, Readers};
use redis::AsyncCommands;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection};
use std::process::Command;
use std::sync::Arc;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// A service's data: a log, read tables and hashes, all made from some purchases.
pub(super) struct Shop {
    pub(super) fixture: Fixture,
    pub(super) log: EventLog,
    pub(super) user: UserId,
    _ends: DropGuard,
}

impl Shop {
    pub(super) async fn new() -> Self {
        let mut fixture = Fixture::new().await;
        let stop = CancellationToken::new();
        let log = EventLog::at(&fixture.sandbox.database_url, &stop).unwrap();
        fixture.log = Arc::new(log.clone());
        let shop = Self { fixture, log, user: UserId(Uuid::now_v7()), _ends: stop.drop_guard() };
        shop.trade().await;
        shop
    }

    pub(super) async fn execute(&self, plan: Plan) {
        self.log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
    }

    /// One of each: a credit, an offer, a success, a refusal, and something unfinished.
    pub(super) async fn trade(&self) {
        let (account, offer_id) = (AccountId::from(self.user), OfferId(Uuid::now_v7()));
        let amount = Money::from_hundredths(10_000);
        self.execute(
            Plan::new().command(AggregateCommand::Account(account, account::Command::Credit { amount })),
        )
        .await;
        let price = Money::from_hundredths(500);
        let terms = offer::Terms { name: "TV".into(), description: "Films".into(), price, duration_days: 30 };
        self.execute(Plan::new().command(AggregateCommand::Offer(offer_id, offer::Command::Create(terms))))
            .await;
        for outcome in ["succeeds", "fails", "hangs"] {
            let id = TransactionId(Uuid::now_v7());
            let plan = |command| Plan::new().command(AggregateCommand::Transaction(id, command));
            self.execute(plan(self.request(offer_id, price))).await;
            self.execute(plan(transaction::Command::BeginAttempt { attempt: 1 })).await;
            match outcome {
                "succeeds" => self.execute(self.success(id, offer_id)).await,
                "fails" => {
                    let (code, message) = ("rejected".into(), "no".into());
                    self.execute(plan(transaction::Command::Fail { code, message })).await;
                }
                _ => {}
            }
        }
        self.project().await;
    }

    pub(super) fn request(&self, offer_id: OfferId, amount: Money) -> transaction::Command {
        transaction::Command::Request(transaction::ActivationRequested {
            kind: transaction::Kind::Activation,
            user_id: self.user,
            account_id: self.user.into(),
            partner_id: None,
            subscription_id: None,
            offer_id,
            offer_name: "TV".into(),
            duration_days: 30,
            amount,
            partner_reference: None,
            reference: None,
        })
    }

    pub(super) fn success(&self, id: TransactionId, offer_id: OfferId) -> Plan {
        let activate = user_offer::Command::Activate {
            user_id: self.user,
            offer_id,
            transaction_id: id,
            duration_days: 30,
            at: chrono::Utc::now().into(),
        };
        Plan::new()
            .command(AggregateCommand::Transaction(
                id,
                transaction::Command::Succeed { reference: "EXT-1".into() },
            ))
            .command(AggregateCommand::UserOffer(SubscriptionId::started_by(id), activate))
    }

    pub(super) async fn project(&self) {
        let at = self.fixture.tables.checkpoint().await.unwrap();
        let page = self.log.page(at, PAGE_EVENTS).await.unwrap();
        self.fixture.tables.apply(&page).await.unwrap();
        self.fixture.hash_projector().checkpoint().await.unwrap();
    }

    /// Runs a verb; gives its exit code and what it printed.
    pub(super) async fn offers(&self, verb: &[&str]) -> (i32, String) {
        let (code, stdout, _) = self.ran(verb).await;
        (code, stdout)
    }

    /// The same, with what it said on stderr.
    pub(super) async fn ran(&self, verb: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
        command
            .args(verb)
            .env("OFFERS_DATABASE_URL", &self.fixture.sandbox.database_url)
            .env("OFFERS_DATABASE_OWNER_URL", &self.fixture.sandbox.database_owner_url)
            .env("OFFERS_REDIS_URL", &self.fixture.sandbox.redis_url);
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    }

    /// Runs `statement` past the triggers of the read tables, which would put tables that lose rows aside.
    pub(super) async fn lose_unseen(&self, statement: &str) {
        let mut owner = PgConnection::connect(&self.fixture.sandbox.database_owner_url).await.unwrap();
        for table in ["transactions", "subscriptions", "offers", "statement"] {
            let disable = format!("alter table read.{table} disable trigger user");
            sqlx::query(&disable).execute(&mut owner).await.unwrap();
        }
        self.owner(statement).await;
    }

    pub(super) async fn owner(&self, statement: &str) {
        let mut owner = PgConnection::connect(&self.fixture.sandbox.database_owner_url).await.unwrap();
        let done = sqlx::query(statement).execute(&mut owner).await.unwrap();
        assert!(done.rows_affected() > 0, "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_is_all_equal_even_when_the_read_tables_are_behind() {
    let shop = Shop::new().await;
    let amount = Money::from_hundredths(1);
    let credit = account::Command::Credit { amount };
    shop.execute(Plan::new().command(AggregateCommand::Account(shop.user.into(), credit))).await;
    let (code, said) = shop.offers(&["check", "--redis"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("3 transactions (1 unfinished), 1 subscriptions, 1 offers, 1 accounts"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_as_the_events_say_is_named() {
    let wrongs = [
        ("update accounts set balance = balance + 0.01", "has 90.01, its events say 90.00"),
        ("insert into accounts values (gen_random_uuid(), 5, now())", "has 5.00, its events say 0.00"),
        ("delete from accounts", "is missing, its events say 90.00"),
        (
            "update read.transactions set status = 'FAILED' where status = 'SUCCESS'",
            "is not as its events say",
        ),
        ("update read.transactions set attempts = 2 where status = 'PROCESSING'", "is not as its events say"),
        ("delete from read.transactions where status = 'FAILED'", "has events and no row"),
        ("update read.subscriptions set expired = true", "is not as its events say"),
        ("delete from read.offers", "has events and no row"),
        ("delete from read.unfinished", "is not listed as unfinished"),
        ("delete from read.statement where amount = 5", "the statement of account"),
        (
            "delete from read.statement where amount = 0",
            "has 5 entries and ends with 90.00, its events have 6",
        ),
        ("update read.statement set balance = balance + 1 where amount = 5", "the statement of account"),
        ("update read.statement set balance = balance + 1 where amount = 100", "has an entry or a balance"),
        (
            "update read.statement set amount = amount + position - 2 where amount = -5",
            "has an entry or a balance",
        ),
    ];
    let shop = Shop::new().await;
    for (wrong, sentence) in wrongs {
        shop.lose_unseen(wrong).await;
        let (code, said) = shop.offers(&["check"]).await;
        assert_eq!(code, 1, "{wrong}: {said}");
        assert!(said.contains(sentence), "{wrong}: {said}");
        let user = shop.user;
        shop.owner(&format!(
            "with strangers as (delete from accounts where account_id <> '{user}') \
             insert into accounts values ('{user}', 90, now()) \
             on conflict (account_id) do update set balance = 90"
        ))
        .await;
        let (code, said) = shop.offers(&["replay", "read-tables"]).await;
        assert_eq!(code, 0, "{said}");
    }
}

/// What a check finds that folds the log in one page, or in one of each commit.
async fn differences(shop: &Shop, by_commit: bool) -> Vec<String> {
    // One connection must be enough: a snapshot that needs two could wait for another one.
    let connect: PgConnectOptions = shop.fixture.sandbox.database_url.parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(connect);
    let readers = Readers::new(pool.clone(), ReadCheckpoint::new(pool));
    let mut check = Check::default();
    let log = shop.log.page(0, PAGE_EVENTS).await.unwrap();
    for page in log.chunk_by(|one, next| !by_commit || one.commit_end == next.commit_end) {
        check.fold(page).unwrap();
    }
    let snapshot = readers.snapshot().await.unwrap();
    check.compare_read_tables(snapshot, &shop.log).await.unwrap();
    check.differences().examples.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_any_column_of_a_transaction_or_subscription_is_noticed_wherever_pages_end() {
    let shop = Shop::new().await;
    let late = transaction::Command::RecordLateAnswer {
        kind: transaction::AttemptKind::LookUp,
        answer: transaction::Answer::Activated,
        detail: "EXT-2".into(),
    };
    let pool = &shop.fixture.pool;
    let failed = "select transaction_id from read.transactions where status = 'FAILED'";
    let failed: Uuid = sqlx::query_scalar(failed).fetch_one(pool).await.unwrap();
    shop.execute(Plan::new().command(AggregateCommand::Transaction(failed.into(), late))).await;
    shop.project().await;
    let columns = "select table_name::text, column_name::text, data_type::text from information_schema.columns \
                   where table_schema = 'read' and table_name in ('transactions', 'subscriptions')";
    let columns: Vec<(String, String, String)> = sqlx::query_as(columns).fetch_all(pool).await.unwrap();
    assert_eq!(columns.len(), 36);
    shop.lose_unseen("create table kept_transactions as table read.transactions").await;
    shop.owner("create table kept_subscriptions as table read.subscriptions").await;
    for by_commit in [false, true] {
        assert_eq!(differences(&shop, by_commit).await, [""; 0]);
        for (table, column, data_type) in &columns {
            let other = match data_type.as_str() {
                "uuid" => "gen_random_uuid()".to_owned(),
                "boolean" => format!("not {column}"),
                "timestamp with time zone" => format!("coalesce({column}, now()) + interval '1 microsecond'"),
                "numeric" => format!("{column} + 0.01"),
                "bigint" | "integer" => format!("{column} + 1"),
                _ if column == "kind" => "'renewal'".to_owned(),
                _ if column == "status" => "'PROCESSING'".to_owned(),
                _ => format!("coalesce({column}, '') || 'x'"),
            };
            let (rows, of) = match table.as_str() {
                "transactions" => (2, "status in ('SUCCESS', 'FAILED')"),
                _ => (1, "true"),
            };
            let is_key = column == "subscription_id" && rows == 1 || column == "transaction_id" && rows == 2;
            let wrong = format!("update read.{table} set {column} = {other} where {of}");
            shop.owner(&wrong).await;
            let found = differences(&shop, by_commit).await;
            assert_eq!(found.len(), if is_key { rows * 2 } else { rows }, "{wrong}: {found:?}");
            shop.owner(&format!("delete from read.{table}")).await;
            shop.owner(&format!("insert into read.{table} table kept_{table}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_have_exchanged_their_values_are_both_named_and_so_is_a_row_that_was_added() {
    let shop = Shop::new().await;
    let ids = "select transaction_id from read.transactions where status in ('SUCCESS', 'FAILED')";
    let ids: Vec<Uuid> = sqlx::query_scalar(ids).fetch_all(&shop.fixture.pool).await.unwrap();
    shop.lose_unseen(
        "update read.transactions as one set updated_at = other.updated_at from read.transactions as other \
         where (one.status, other.status) in (('SUCCESS', 'FAILED'), ('FAILED', 'SUCCESS'))",
    )
    .await;
    let mut wrong =
        ids.iter().map(|id| format!("transaction {id} is not as its events say")).collect::<Vec<_>>();
    wrong.sort();
    let mut found = differences(&shop, false).await;
    found.sort();
    assert_eq!(found, wrong);
    let added = Uuid::max();
    shop.owner(&format!(
        "insert into read.subscriptions select created_position, position, '{added}', user_id, offer_id, transaction_id, \
         activation_date, expiration_date, announced, expired, offer_name from read.subscriptions"
    ))
    .await;
    found = differences(&shop, true).await;
    found.sort();
    wrong.insert(0, format!("subscription {added} has a row and no events"));
    assert_eq!(found, wrong);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_was_renewed_after_its_end_is_compared_with_its_own_events() {
    let shop = Shop::new().await;
    let id = "select subscription_id from read.subscriptions";
    let id: Uuid = sqlx::query_scalar(id).fetch_one(&shop.fixture.pool).await.unwrap();
    let now: Timestamp = chrono::Utc::now().into();
    let renew = user_offer::Command::Renew {
        transaction_id: TransactionId(Uuid::now_v7()),
        duration_days: 30,
        at: now.plus_days(50),
    };
    for command in [user_offer::Command::Expire { at: now.plus_days(40) }, renew] {
        shop.execute(Plan::new().command(AggregateCommand::UserOffer(id.into(), command))).await;
    }
    shop.project().await;
    for by_commit in [false, true] {
        assert_eq!(differences(&shop, by_commit).await, [""; 0]);
    }
    shop.owner("update read.subscriptions set expiration_date = activation_date").await;
    for by_commit in [false, true] {
        assert_eq!(
            differences(&shop, by_commit).await,
            [format!("subscription {id} is not as its events say")]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_that_is_wrong_is_named_and_a_missing_one_is_not() {
    let shop = Shop::new().await;
    let mut redis = shop.fixture.redis().await;
    let mut keys: Vec<String> = redis.keys("transaction:*").await.unwrap();
    assert_eq!(keys.len(), 3);
    let _: () = redis.del(keys.pop().unwrap()).await.unwrap();
    assert_eq!(shop.offers(&["check", "--redis"]).await.0, 0);
    let _: () = redis.hset(keys.pop().unwrap(), "amount", "6.00").await.unwrap();
    let _: () = redis.hdel(keys.pop().unwrap(), "status").await.unwrap();
    let (code, said) = shop.offers(&["check", "--redis"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("is not as its events say") && said.contains("is not a whole hash"), "{said}");
    assert_eq!(shop.offers(&["check"]).await.0, 0, "the hashes are compared on request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_without_a_transaction_and_a_hash_that_is_newer_are_judged_too() {
    let shop = Shop::new().await;
    let mut redis = shop.fixture.redis().await;
    let keys: Vec<String> = redis.keys("transaction:*").await.unwrap();
    let (stranger, newer) = (format!("transaction:{}", Uuid::now_v7()), &keys[0]);
    let _: () = redis::cmd("COPY").arg(newer).arg(&stranger).query_async(&mut redis).await.unwrap();
    let _: () = redis.hset(newer, "position", 1_000).await.unwrap();
    let (code, said) = shop.offers(&["check", "--redis"]).await;
    assert_eq!(code, 1);
    assert!(said.contains(&format!("the hash {stranger} has no transaction")), "{said}");
    assert!(said.contains(&format!("the hash {newer} is not as its events say")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_out_is_not_called_equal() {
    let shop = Shop::new().await;
    shop.owner("delete from read.checkpoint").await;
    let (code, said) = shop.offers(&["check"]).await;
    assert_eq!(code, 2, "{said}");
}
