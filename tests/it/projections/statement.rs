//! The statement: every entry with the balance after it.

use super::Fixture;
use super::check::Shop;
use super::history::History;
use domain::{Money, OfferId, PartnerId, TransactionId, UserId, account, transaction};
use offers::event_log::{AggregateCommand, PAGE_EVENTS, Plan};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use uuid::Uuid;

type Rows = Vec<(Uuid, i64, String, String)>;

async fn rows(sql: &mut PgConnection) -> Rows {
    let rows = "select account_id, position, amount::text, balance::text from read.statement
                order by account_id, position";
    sqlx::query_as(rows).fetch_all(sql).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_a_move_on_an_account_of_a_user_or_partner_or_a_hold_that_becomes_final() {
    let fixture = Fixture::new().await;
    let mut history = History::new();
    let (user, partner) = (UserId(Uuid::now_v7()), PartnerId(Uuid::now_v7()));
    history.credit(user.0, 10_000);
    let (won, lost) = (history.request(user), history.request(user));
    history.credit(partner.0, 2_000);
    let sold = history.request_by(partner, user, ("order-1", "REF-000000000001"));
    history.succeed(won, user);
    history.fail(lost, user.into());
    history.succeed(sold, user);
    fixture.tables.apply(history.after(0)).await.unwrap();
    let statement = async |account: Uuid| {
        let entries = fixture.readers.statement(account, 0..=i64::MAX, None, 200).await.unwrap().items;
        let entries = entries.iter().rev();
        entries.map(|entry| (entry.amount.to_string(), entry.balance.to_string())).collect::<Vec<_>>()
    };
    let own = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(amount, balance)| ((*amount).to_owned(), (*balance).to_owned()))
            .collect::<Vec<_>>()
    };
    let of_user =
        [("100.00", "100.00"), ("-5.00", "95.00"), ("-5.00", "90.00"), ("0.00", "90.00"), ("5.00", "95.00")];
    assert_eq!(statement(user.0).await, own(&of_user));
    let of_partner = [("20.00", "20.00"), ("-5.00", "15.00"), ("0.00", "15.00")];
    assert_eq!(statement(partner.0).await, own(&of_partner));
}

/// A history of some accounts in any order.
fn any_history(random: &mut StdRng) -> History {
    let mut history = History::new();
    let users: Vec<UserId> = (0..3).map(|_| UserId(Uuid::now_v7())).collect();
    let mut open: Vec<(TransactionId, UserId)> = Vec::new();
    for _ in 0..120 {
        let user = users[random.random_range(0..users.len())];
        match (random.random_range(0..4), open.len()) {
            (0, _) => history.credit(user.0, random.random_range(0..5_000)),
            (1, _) | (_, 0) => open.push((history.request(user), user)),
            (2, count) => {
                let (id, user) = open.swap_remove(random.random_range(0..count));
                history.attempt(id, 1);
                history.succeed(id, user);
            }
            (_, count) => {
                let (id, user) = open.swap_remove(random.random_range(0..count));
                history.fail(id, user.into());
            }
        }
    }
    history
}

#[tokio::test(flavor = "multi_thread")]
async fn each_balance_is_the_older_one_and_the_amount_however_the_events_are_cut_into_pages() {
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let history = any_history(&mut random);
    let mut seen: Option<Rows> = None;
    for longest in [2, 7, 40, 1_000] {
        let fixture = Fixture::new().await;
        let mut at = 0;
        while at < history.head() {
            let rest = history.after(at);
            let from = random.random_range(1..=longest).min(rest.len());
            // A page never ends inside a commit.
            let end = (from..=rest.len()).find(|end| rest[end - 1].commit_end == rest[end - 1].position);
            fixture.tables.apply(&rest[..end.unwrap()]).await.unwrap();
            at += end.unwrap() as i64;
        }
        let mut sql = PgConnection::connect(&fixture.sandbox.database_owner_url).await.unwrap();
        let rows = rows(&mut sql).await;
        let mut balances: BTreeMap<Uuid, Money> = BTreeMap::new();
        let money = |text: &str| Money::try_from(text.parse::<rust_decimal::Decimal>().unwrap()).unwrap();
        for (account, position, amount, balance) in &rows {
            let before = balances.entry(*account).or_default();
            *before = before.checked_add(money(amount)).unwrap();
            assert_eq!(*before, money(balance), "seed {seed}, pages of {longest}, position {position}");
            let then = fixture.readers.balance_at(*account, *position).await.unwrap();
            assert_eq!(then, *before, "seed {seed}");
        }
        assert_eq!(rows, *seen.get_or_insert_with(|| rows.clone()), "seed {seed}, pages of {longest}");
    }
}

/// Brings the statement back to the form that it had before it kept balances.
const BEFORE: &str = "
    alter table read.statement rename to with_balances;
    create table read.statement (
        account_id uuid not null, position bigint not null, ordinal smallint not null, amount numeric(18, 2) not null,
        primary key (account_id, position, ordinal) include (amount)
    );
    insert into read.statement select account_id, position, 1, amount from read.with_balances where amount <> 0;
    grant select, insert on read.statement to offers_app;
    drop table read.with_balances;
    drop function create_read_tables(text), create_statement(text, text), guard_charges(text);
    drop function add_charges() cascade;
    drop function add_balance() cascade;
    alter function create_read_tables_0091(text) rename to create_read_tables;
";

const MIGRATION: &str = include_str!("../../../migrations/0120_statement_balances.sql");

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_without_balances_is_migrated_while_the_version_before_goes_on_writing() {
    let shop = Shop::new().await;
    let mut owner = PgConnection::connect(&shop.fixture.sandbox.database_owner_url).await.unwrap();
    let kept = rows(&mut owner).await;
    assert_eq!(kept.len(), 6);
    sqlx::raw_sql(BEFORE).execute(&mut owner).await.unwrap();
    sqlx::raw_sql(MIGRATION).execute(&mut owner).await.unwrap();
    assert_eq!(rows(&mut owner).await, kept);
    assert_eq!(shop.offers(&["check"]).await.0, 0);
    assert_eq!(shop.offers(&["replay", "--check"]).await.0, 0);

    let (amount, account) = (Money::from_hundredths(300), shop.user.into());
    let (offer, bought) = (OfferId(Uuid::now_v7()), TransactionId(Uuid::now_v7()));
    let of_it = |command| Plan::new().command(AggregateCommand::Transaction(bought, command));
    let at = shop.log.head().await.unwrap();
    shop.execute(of_it(shop.request(offer, amount))).await;
    shop.execute(of_it(transaction::Command::BeginAttempt { attempt: 1 })).await;
    shop.execute(shop.success(bought, offer)).await;
    let credit = account::Command::Credit { amount };
    shop.execute(Plan::new().command(AggregateCommand::Account(account, credit))).await;
    let page = shop.log.page(at, PAGE_EVENTS).await.unwrap();
    let last = page.last().unwrap();
    // As the version before writes it; the rest of the page plays no part.
    let statement = format!(
        "with requested as (
             insert into read.transactions
             select (jsonb_populate_record(known, jsonb_build_object(
                 'transaction_id', '{bought}', 'created_position', {at} + 1))).*
             from read.transactions known where status = 'SUCCESS'
         ), entered as (
             insert into read.statement (account_id, position, ordinal, amount)
             values ('{account}', {at} + 1, 0, -3), ('{account}', {head}, 1, 3)
         )
         update read.checkpoint set position = {head}, event_id = '{id}'",
        head = last.position,
        id = last.event_id,
    );
    let mut service = PgConnection::connect(&shop.fixture.sandbox.database_url).await.unwrap();
    sqlx::raw_sql(&statement).execute(&mut service).await.unwrap();
    let added = rows(&mut owner).await.split_off(kept.len());
    let added: Vec<_> =
        added.into_iter().map(|(_, position, amount, balance)| (position - at, amount, balance)).collect();
    let expected = [(1, "-3.00", "87.00"), (3, "0.00", "87.00"), (5, "3.00", "90.00")];
    let expected =
        expected.map(|(position, amount, balance)| (position, amount.to_owned(), balance.to_owned()));
    assert_eq!(added, expected);
    let hidden = "select count(*) from read.statement where ordinal is not null";
    assert_eq!(sqlx::query_scalar::<_, i64>(hidden).fetch_one(&mut owner).await.unwrap(), 0);
}
