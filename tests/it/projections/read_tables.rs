//! Events in, rows out.

use super::Fixture;
use super::history::{DAYS, History};
use domain::transaction::{Kind, Status};
use domain::{AccountId, Money, PartnerId, Record, Recorded, Timestamp, UserId, offer, user_offer};
use projections::transaction::{AdminFilter, PartnerFilter, UserFilter};
use projections::{Error, transaction};
use sqlx::Connection;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

fn user() -> UserId {
    UserId(Uuid::now_v7())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_looks_the_same_however_its_events_are_cut_into_pages() {
    let user = user();
    let mut history = History::new();
    history.credit(user.0, 10_000);
    let won = history.request(user);
    let lost = history.request(user);
    history.attempt(won, 1);
    history.attempt(lost, 1);
    history.attempt(lost, 2);
    let subscription = history.succeed(won, user);
    history.fail(lost, user.into());

    for page in [1, 2, 3, 100] {
        let fixture = Fixture::new().await;
        let mut at = 0;
        while at < history.head() {
            let rest = history.after(at);
            // A page never ends inside a commit.
            let end = (page..=rest.len()).find(|end| rest[end - 1].commit_end == rest[end - 1].position);
            let end = end.unwrap_or(rest.len());
            fixture.tables.apply(&rest[..end]).await.unwrap();
            at += end as i64;
        }
        let readers = &fixture.readers;
        for id in [won, lost] {
            let row = readers.transaction(id).await.unwrap().unwrap();
            assert_eq!(Some(row), transaction::fold(&history.stream(id)).unwrap(), "pages of {page}");
        }
        let found = readers.subscription(subscription).await.unwrap().unwrap();
        assert_eq!((found.offer_name.as_str(), found.transaction_id), ("TV", won));
        let balance = async |account, at| readers.balance_at(account, at).await.unwrap().to_string();
        assert_eq!(balance(user.0, history.head()).await, "95.00");
        assert_eq!(balance(user.0, 4).await, "90.00");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_migration_that_removes_rows_of_the_systems_own_accounts_leaves_the_tables_in_their_place() {
    let fixture = Fixture::new().await;
    let mut history = History::new();
    let user = user();
    history.credit(user.0, 10_000);
    fixture.tables.apply(history.after(0)).await.unwrap();
    let funding = "insert into read.statement (account_id, position, amount) \
                   select '00000000-0000-0000-0000-000000000001', position, -amount from read.statement";
    let mut owner = sqlx::PgConnection::connect(&fixture.sandbox.database_owner_url).await.unwrap();
    sqlx::raw_sql(funding).execute(&mut owner).await.unwrap();
    let migration = include_str!("../../../migrations/0092_statement_of_owners.sql");
    sqlx::raw_sql(migration).execute(&mut owner).await.unwrap();
    let accounts = sqlx::query_scalar("select account_id from read.statement");
    let accounts: Vec<Uuid> = accounts.fetch_all(&mut owner).await.unwrap();
    assert_eq!(accounts, [user.0]);
}

/// An update writes to the WAL what comes after the first byte that changes.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_of_a_transaction_is_stored_after_what_never_does() {
    let fixture = Fixture::new().await;
    let statement = include_str!("../../../projections/src/read_tables/write_page.sql");
    let (_, update) = statement.split_once("update transactions known").unwrap();
    let (set, _) = update.split_once("from turn").unwrap();
    let set = set.lines().filter_map(|line| line.split_once(" = "));
    let changing: HashSet<&str> =
        set.map(|(column, _)| column.trim().trim_start_matches("set ").trim()).collect();
    let columns = "select attname::text from pg_attribute
                   where attrelid = 'read.transactions'::regclass and attnum > 0 order by attnum";
    let columns: Vec<String> = sqlx::query_scalar(columns).fetch_all(&fixture.pool).await.unwrap();
    let last = &columns[columns.len() - changing.len()..];
    assert!(last.iter().all(|column| changing.contains(column.as_str())), "{columns:?}, {changing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_projectors_one_writes_each_page_and_the_other_finds_out() {
    let first = Fixture::new().await;
    let second = Fixture::another(first.sandbox.clone()).await;
    let mut history = History::new();
    let user = user();
    for _ in 0..50 {
        let page = history.head();
        history.purchases(user, 4);
        let page = history.after(if page == 1 { 0 } else { page });
        let (one, other) = tokio::join!(first.tables.apply(page), second.tables.apply(page));
        let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
        won.unwrap();
        assert!(matches!(lost, Err(Error::Overtaken { .. })), "{lost:?}");
    }
    assert_eq!(second.tables.checkpoint().await.unwrap(), history.head());
    let spent = first.readers.balance_at(user.0, history.head()).await.unwrap();
    assert_eq!(spent, -Money::from_hundredths(50 * 4 * 500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_dies_within_a_page_leaves_nothing_of_it() {
    let fixture = Fixture::new().await;
    let mut history = History::new();
    let user = user();
    history.purchases(user, 100);
    for _ in 0..20 {
        // Dropped somewhere on its way, as by a crash: the connection is closed. PostgreSQL finishes what it has begun.
        let wait = Duration::from_micros(u64::from(Uuid::now_v7().as_bytes()[15]) * 60);
        let _ = tokio::time::timeout(wait, fixture.tables.apply(history.after(0))).await;
        let seen = "select position, (select count(*) from read.transactions) from read.checkpoint";
        let (checkpoint, rows): (i64, i64) = sqlx::query_as(seen).fetch_one(&fixture.pool).await.unwrap();
        assert_eq!((checkpoint, rows), if checkpoint == 0 { (0, 0) } else { (history.head(), 100) });
        if checkpoint > 0 {
            break;
        }
    }
    let again = Fixture::another(fixture.sandbox.clone()).await;
    let applied = again.tables.apply(history.after(0)).await;
    assert!(matches!(applied, Ok(()) | Err(Error::Overtaken { .. })), "{applied:?}");
    assert_eq!(again.tables.checkpoint().await.unwrap(), history.head());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_or_an_unknown_event_stops_the_projector() {
    let fixture = Fixture::new().await;
    let mut history = History::new();
    history.purchases(user(), 2);
    let mut holed = history.events.clone();
    holed.remove(3);
    assert!(matches!(fixture.tables.apply(&holed).await, Err(Error::Broken { position: 4, .. })));
    let mut strange = history.events.clone();
    strange[2] = Recorded::from(Record { event_type: "Teleported".into(), ..Record::clone(&strange[2]) });
    assert!(matches!(fixture.tables.apply(&strange).await, Err(Error::Unreadable(_))));
    let late = history.after(1);
    assert!(matches!(fixture.tables.apply(late).await, Err(Error::Overtaken { expected: 1 })));
    assert_eq!(fixture.tables.checkpoint().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_a_projector_in_its_own_process_and_in_another() {
    let writer = Fixture::new().await;
    let elsewhere = Fixture::another(writer.sandbox.clone()).await;
    let history = History::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    let soon = Instant::now() + Duration::from_millis(120);
    let behind = elsewhere.readers.checkpoint().wait_for(1, soon).await;
    assert!(matches!(behind, Err(Error::Behind { position: 1, .. })));
    let (here, there, applied) = tokio::join!(
        writer.readers.checkpoint().wait_for(1, deadline),
        elsewhere.readers.checkpoint().wait_for(1, deadline),
        writer.tables.apply(history.after(0)),
    );
    applied.unwrap();
    here.unwrap();
    there.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn walking_a_list_while_it_grows_skips_and_repeats_nothing() {
    let fixture = Fixture::new().await;
    let user = user();
    let mut history = History::new();
    let there: HashSet<_> = history.purchases(user, 25).into_iter().collect();
    fixture.tables.apply(history.after(0)).await.unwrap();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let slice =
            fixture.readers.transactions_of_user(user, UserFilter::default(), after, 4).await.unwrap();
        seen.extend(slice.items.into_iter().map(|item| item.transaction_id));
        let grown = history.head();
        history.purchases(user, 3);
        fixture.tables.apply(history.after(grown)).await.unwrap();
        after = slice.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(seen.into_iter().collect::<HashSet<_>>(), there);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_narrowed_by_what_was_asked() {
    let fixture = Fixture::new().await;
    let (user, partner) = (user(), PartnerId(Uuid::now_v7()));
    let mut history = History::new();
    let own = history.purchases(user, 1)[0];
    let gift = history.request_by(partner, user, ("order-1", "REF-ABCDEF123456"));
    history.attempt(gift, 1);
    let refused = history.request_by(partner, user, ("order-2", "REF-ABCDEF123457"));
    history.fail(refused, AccountId::from(partner));
    fixture.tables.apply(history.after(0)).await.unwrap();
    let readers = &fixture.readers;

    let ids = |slice: domain::Slice<projections::TransactionView, i64>| -> Vec<_> {
        slice.items.into_iter().map(|item| item.transaction_id).collect()
    };
    let by_user = async |filter| ids(readers.transactions_of_user(user, filter, None, 10).await.unwrap());
    assert_eq!(by_user(UserFilter::default()).await, [refused, gift, own]);
    assert_eq!(by_user(UserFilter { status: Some(Status::Processing), kind: None }).await, [gift]);
    assert_eq!(by_user(UserFilter { status: None, kind: Some(Kind::Activation) }).await, [own]);

    let by_partner =
        async |filter| ids(readers.transactions_of_partner(partner, filter, None, 10).await.unwrap());
    assert_eq!(by_partner(PartnerFilter::default()).await, [refused, gift]);
    let reference = Some("order-1".to_owned());
    assert_eq!(by_partner(PartnerFilter { partner_reference: reference, status: None }).await, [gift]);

    let by_admin = async |filter| ids(readers.transactions(filter, None, 10).await.unwrap());
    let status = Some(Status::Failed);
    assert_eq!(by_admin(AdminFilter { status, ..AdminFilter::default() }).await, [refused]);
    let in_doubt = Some(true);
    assert!(by_admin(AdminFilter { in_doubt, ..AdminFilter::default() }).await.is_empty());
    let created_before = Some(history.events[1].recorded_at);
    assert!(by_admin(AdminFilter { created_before, ..AdminFilter::default() }).await.is_empty());

    let found = readers.transaction_by_reference("REF-ABCDEF123456").await.unwrap().unwrap();
    assert_eq!(found.transaction_id, gift);
    assert_eq!(found.callback_url.as_deref(), Some("https://partner.example/hook"));
    assert!(readers.transaction_by_reference("REF-000000000000").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweeper_finds_what_is_unfinished_once_its_backoff_is_over() {
    let fixture = Fixture::new().await;
    let user = user();
    let mut history = History::new();
    history.purchases(user, 3);
    let untouched = history.request(user);
    let tried = history.request(user);
    history.attempt(tried, 1);
    history.attempt(tried, 2);
    fixture.tables.apply(history.after(0)).await.unwrap();
    let last = history.events.last().unwrap().recorded_at;
    let delay = Duration::from_secs(5)..=Duration::from_secs(60);
    let found = async |age_s, after_s| {
        let now = Timestamp::new(last.utc() + chrono::TimeDelta::seconds(after_s));
        let age = Duration::from_secs(age_s);
        let unfinished = fixture.readers.unfinished(now, age, delay.clone(), 0, 10).await.unwrap();
        unfinished.into_iter().map(|one| (one.transaction_id, one.attempts)).collect::<Vec<_>>()
    };
    assert_eq!(found(1, 0).await, []);
    assert_eq!(found(1, 2).await, [(untouched, 0)]);
    assert_eq!(found(1, 10).await, [(untouched, 0)]);
    assert_eq!(found(1, 12).await, [(untouched, 0), (tried, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_found_by_their_end() {
    let fixture = Fixture::new().await;
    let user = user();
    let mut history = History::new();
    let [first, second] = history.purchases(user, 2)[..] else { unreachable!() };
    let (first, second) =
        (domain::SubscriptionId::started_by(first), domain::SubscriptionId::started_by(second));
    let readers = &fixture.readers;
    fixture.tables.apply(history.after(0)).await.unwrap();
    let begun = history.head();
    let end = readers.subscription(second).await.unwrap().unwrap().expiration_date;
    history.subscription(
        second,
        user_offer::Event::Renewed(user_offer::Period {
            user_id: user,
            offer_id: history.offer,
            transaction_id: domain::TransactionId(Uuid::now_v7()),
            starts_at: end,
            expires_at: end.plus_days(DAYS),
        }),
    );
    fixture.tables.apply(history.after(begun)).await.unwrap();

    let now = history.events[0].recorded_at;
    let latest = readers.latest_subscription(user, history.offer).await.unwrap().unwrap();
    assert_eq!((latest.subscription_id, latest.expiration_date), (second, end.plus_days(DAYS)));
    let ids = |items: Vec<projections::SubscriptionView>| -> Vec<_> {
        items.into_iter().map(|item| item.subscription_id).collect()
    };
    let expiring = async |days| ids(readers.expiring(user, now, days, None, 10).await.unwrap().items);
    assert_eq!(expiring(DAYS - 1).await, []);
    assert_eq!(expiring(DAYS + 1).await, [first]);
    assert_eq!(expiring(2 * DAYS + 1).await, [first, second]);
    let of_user = async |active, now| {
        ids(readers.subscriptions_of_user(user, active, now, None, 10).await.unwrap().items)
    };
    assert_eq!(of_user(None, now).await, [second, first]);
    assert_eq!(of_user(Some(true), now.plus_days(DAYS + 1)).await, [second]);
    assert_eq!(of_user(Some(false), now.plus_days(DAYS + 1)).await, [first]);

    let due = async |now: Timestamp| {
        let announce = readers.to_announce(now, now.plus_days(3), None, 10).await.unwrap().items;
        (ids(announce), ids(readers.to_expire(now, None, 10).await.unwrap().items))
    };
    assert_eq!(due(now.plus_days(DAYS - 2)).await, (vec![first], vec![]));
    let (told, then) = (history.head(), readers.subscription(first).await.unwrap().unwrap().expiration_date);
    let offer_id = history.offer;
    history.subscription(first, user_offer::Event::ExpirySoon { user_id: user, offer_id, expires_at: then });
    fixture.tables.apply(history.after(told)).await.unwrap();
    assert_eq!(due(now.plus_days(DAYS - 2)).await, (vec![], vec![]));
    assert_eq!(due(now.plus_days(DAYS + 1)).await, (vec![], vec![first]));
    let ended = history.head();
    history.subscription(first, user_offer::Event::Expired { user_id: user, offer_id, expires_at: then });
    fixture.tables.apply(history.after(ended)).await.unwrap();
    assert_eq!(due(now.plus_days(DAYS + 1)).await, (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_keeps_what_a_change_does_not_name() {
    let fixture = Fixture::new().await;
    let mut history = History::new();
    fixture.tables.apply(history.after(0)).await.unwrap();
    history.offer(offer::Event::Deactivated {});
    fixture.tables.apply(history.after(1)).await.unwrap();
    let readers = &fixture.readers;
    assert!(readers.offers(Some(true), None, 10).await.unwrap().items.is_empty());
    let terms = History::terms("Radio", 0);
    history.offer(offer::Event::Changed(terms.clone()));
    history.offer(offer::Event::Reactivated {});
    fixture.tables.apply(history.after(2)).await.unwrap();
    let offer = readers.offer(history.offer).await.unwrap().unwrap();
    assert_eq!((&offer.terms, offer.is_active, offer.position), (&terms, true, 4));
    assert_eq!(offer.created_at, history.events[0].recorded_at);
    assert_eq!(readers.offers(Some(true), None, 10).await.unwrap().items, [offer]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_written_whole_or_not_at_all_when_a_row_that_it_changes_is_missing() {
    let fixture = Fixture::new().await;
    let mut history = History::new();
    let user = user();
    let (id, other) = (history.request(user), history.request(user));
    fixture.tables.apply(history.after(0)).await.unwrap();
    let before = history.head();
    history.attempt(id, 1);
    history.succeed(id, user);
    history.attempt(other, 1);
    let mut owner = sqlx::PgConnection::connect(&fixture.sandbox.database_owner_url).await.unwrap();
    for lose in [
        "delete from read.unfinished where transaction_id = $1",
        "delete from read.transactions where transaction_id = $1",
    ] {
        let unnoticed = "alter table read.transactions disable trigger lost_rows";
        sqlx::query(unnoticed).execute(&mut owner).await.unwrap();
        sqlx::query(lose).bind(id.0).execute(&mut owner).await.unwrap();
        let applied = fixture.tables.apply(history.after(before)).await;
        assert!(matches!(applied, Err(Error::Lost("a row that changes is missing"))), "{applied:?}");
        assert_eq!(fixture.tables.checkpoint().await.unwrap(), before);
        let moved = "select count(*) from read.transactions where attempts > 0";
        assert_eq!(sqlx::query_scalar::<_, i64>(moved).fetch_one(&fixture.pool).await.unwrap(), 0);
    }
}
