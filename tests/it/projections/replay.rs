//! `offers replay`, as an operator runs it.

use super::check::Shop;
use domain::{Recorded, UserId};
use offers::event_log::PAGE_EVENTS;
use projections::Rebuild;
use redis::AsyncCommands;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

async fn json(shop: &Shop, verb: &[&str]) -> (i32, Value) {
    let (code, said) = shop.offers(&[verb, &["--json"]].concat()).await;
    (code, serde_json::from_str(&said).unwrap_or(Value::Null))
}

fn owner(shop: &Shop) -> PgConnectOptions {
    shop.fixture.sandbox.database_owner_url.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn read_tables_and_hashes_are_rebuilt_and_then_equal_the_log() {
    let shop = Shop::new().await;
    shop.lose_unseen("update read.transactions set status = 'FAILED'").await;
    let mut redis = shop.fixture.redis().await;
    let keys: Vec<String> = redis.keys("transaction:*").await.unwrap();
    let _: () = redis.hset(&keys[0], "amount", "6.00").await.unwrap();

    let (code, found) = json(&shop, &["replay", "--check"]).await;
    assert_eq!((code, &found["differences"]), (1, &Value::from(3)), "{found}");
    let (code, done) = json(&shop, &["replay"]).await;
    let head = shop.log.head().await.unwrap();
    assert_eq!(
        (code, &done["position"], &done["hashes_position"]),
        (0, &head.into(), &head.into()),
        "{done}"
    );
    let (code, found) = json(&shop, &["replay", "--check"]).await;
    assert_eq!((code, &found["equal"]), (0, &Value::from(true)), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_names_each_field_that_differs_and_changes_nothing() {
    let shop = Shop::new().await;
    let wrongs = [
        ("update read.transactions set attempts = 7 where status = 'PROCESSING'", "attempts is 7, not 1"),
        ("update read.transactions set amount = 5.01 where status = 'SUCCESS'", "amount is 5.01, not 5.00"),
        ("delete from read.transactions where status = 'FAILED'", "is missing in the live table"),
        ("insert into read.unfinished values (gen_random_uuid(), 1)", "is in the live table only"),
        ("update read.subscriptions set announced = true", "announced is true, not false"),
        ("update read.offers set name = 'TW'", "name is TW, not TV"),
        ("update read.statement set amount = 6 where amount = 100", "amount is 6.00, not 100.00"),
    ];
    for (rows, (wrong, sentence)) in (1..).zip(wrongs) {
        shop.lose_unseen(wrong).await;
        let (code, found) = json(&shop, &["replay", "read-tables", "--check"]).await;
        assert_eq!((code, &found["differences"]), (1, &Value::from(rows)), "{wrong}: {found}");
        assert!(found["first_differences"].to_string().contains(sentence), "{wrong}: {found}");
    }
    let next = "select count(*) from pg_namespace where nspname like 'read_next%'";
    let next: i64 = sqlx::query_scalar(next).fetch_one(&shop.fixture.pool).await.unwrap();
    assert_eq!(next, 0, "what was compared with is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rebuild_goes_on_where_it_was() {
    let shop = Shop::new().await;
    let events = shop.log.page(0, PAGE_EVENTS).await.unwrap();
    let some: Vec<Recorded> = events.iter().take_while(|event| event.position <= 3).cloned().collect();
    let interrupted = Rebuild::begin(owner(&shop)).await.unwrap();
    interrupted.apply(&some).await.unwrap();
    drop(interrupted);
    let resumed = Rebuild::resume(owner(&shop), &shop.log).await.unwrap();
    assert_eq!(resumed.checkpoint().await.unwrap(), 3);
    let (code, said) = shop.offers(&["replay", "read-tables"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(shop.offers(&["check"]).await.0, 0);

    // Tables of another schema, and of another log, are made from the start.
    for other in [
        "comment on schema read_next is 'offers 0.0.0'",
        "update read_next.checkpoint set event_id = gen_random_uuid()",
    ] {
        let interrupted = Rebuild::begin(owner(&shop)).await.unwrap();
        interrupted.apply(&some).await.unwrap();
        sqlx::raw_sql(other).execute(&mut connection(&shop).await).await.unwrap();
        let resumed = Rebuild::resume(owner(&shop), &shop.log).await.unwrap();
        assert_eq!(resumed.checkpoint().await.unwrap(), 0, "{other}");
    }
}

async fn connection(shop: &Shop) -> sqlx::PgConnection {
    sqlx::Connection::connect(&shop.fixture.sandbox.database_owner_url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_a_transaction_and_a_subscription_are_printed_as_they_once_were() {
    let shop = Shop::new().await;
    let events = shop.log.page(0, PAGE_EVENTS).await.unwrap();
    let bought: &Recorded = events.iter().find(|event| event.event_type == "ActivationRequested").unwrap();
    let activated: &Recorded = events.iter().find(|event| event.event_type == "Activated").unwrap();
    let user = shop.user.to_string();
    let as_of = async |position: i64, subject: [&str; 2]| {
        json(&shop, &["replay", "--to", &position.to_string(), subject[0], subject[1]]).await
    };
    let (before, at) = (bought.position - 1, bought.position);

    let account = ["--account", user.as_str()];
    assert_eq!(as_of(before, account).await.1["balance"], "100.00");
    assert_eq!(as_of(at, account).await.1["balance"], "95.00");
    let id = bought.aggregate_id.as_str();
    assert_eq!(as_of(at, ["--transaction", id]).await.1["status"], "PENDING");
    assert_eq!(as_of(at + 1, ["--transaction", id]).await.1["status"], "PROCESSING");
    assert_eq!(as_of(activated.position, ["--transaction", id]).await.1["status"], "SUCCESS");
    let subscription = as_of(activated.position, ["--subscription", &activated.aggregate_id]).await.1;
    assert_eq!((&subscription["offer_name"], &subscription["transaction_id"]), (&"TV".into(), &id.into()));
    let at_time = activated.recorded_at.to_string();
    let (code, then) = json(&shop, &["replay", "--to", &at_time, "--transaction", id]).await;
    assert_eq!((code, &then["status"]), (0, &"SUCCESS".into()), "{then}");

    let nobody = UserId(Uuid::now_v7()).to_string();
    for (position, subject, says) in [
        (before, ["--transaction", id], "there is no transaction"),
        (at, ["--account", &nobody], "there is no account"),
        (1_000_000, account, "there is no position 1000000"),
    ] {
        let (code, said, why) =
            shop.ran(&["replay", "--to", &position.to_string(), subject[0], subject[1]]).await;
        assert_eq!((code, said.as_str()), (2, ""), "{subject:?} at {position}");
        assert!(why.contains(says), "{why}");
    }
    for wrong in [
        &["replay", "--to", "1"][..],
        &["replay", "--to", "soon", "--account", &user],
        &["replay", "--account", &user],
    ] {
        assert_eq!(shop.offers(wrong).await.0, 2, "{wrong:?}");
    }
}
