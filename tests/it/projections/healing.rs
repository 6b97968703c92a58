//! Read tables that have lost rows, or are of another log, are rebuilt while the service answers: until then every
//! list is refused, and none is short.

use super::{Fixture, history};
use crate::support::eventually::{DEADLINE, eventually};
use crate::support::service::{Person, Service, Setting, send};
use crate::support::stack::{Sandbox, Stack};
use chrono::{SecondsFormat, Utc};
use domain::{OfferId, TransactionId};
use offers::config::{Bound, Protection};
use projections::{Error, ReadCheckpoint, TableProjector};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::process::Command;
use std::time::Duration;
use tokio::time::Instant;

/// A service that has sold something, and who may look at what it derives.
struct Shop {
    sandbox: Sandbox,
    service: Service,
    owner: PgConnection,
    alice: Person,
    admin: Person,
    tv: OfferId,
    /// When all that was sold was sold.
    at: String,
}

impl Shop {
    async fn new() -> Self {
        let sandbox = Stack::get().await.sandbox().await;
        let service = Service::start_in(&sandbox, Setting::default()).await;
        let owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
        let (alice, admin) =
            (service.rich("alice").await, service.person("root", &["admin", "auditor"]).await);
        let tv = service.offer("TV", 500).await;
        service.offer("Radio", 200).await;
        let mut shop = Self { sandbox, service, owner, alice, admin, tv, at: String::new() };
        for _ in 0..3 {
            let bought = shop.buy().await;
            shop.service.succeed(bought, &shop.alice, tv).await;
        }
        let refused = shop.buy().await;
        shop.service.fail(refused).await;
        let open = shop.buy().await;
        shop.service.begin(open).await;
        shop.service.all_listed().await;
        shop.at = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        shop
    }

    async fn buy(&self) -> TransactionId {
        let body = json!({"offer_id": self.tv});
        let accepted = self.service.post(&self.alice, "/activation/", &body).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        TransactionId(accepted.id("transaction_id"))
    }

    async fn run(&mut self, statement: &str) {
        sqlx::raw_sql(statement).execute(&mut self.owner).await.unwrap();
    }

    /// What every list says; `None` for one that is refused.
    async fn lists(&self) -> Vec<Option<String>> {
        lists_of(&self.service, &self.alice, &self.admin, &self.at).await
    }

    /// Which tables are live: others after a rebuild.
    async fn generation(&mut self) -> Option<i64> {
        let oid = sqlx::query_scalar("select to_regclass('read.checkpoint')::oid::bigint");
        oid.fetch_one(&mut self.owner).await.unwrap()
    }

    /// Waits until other tables than those of `generation` are live and have all; meanwhile no list may say anything
    /// but `whole`.
    async fn heals(&mut self, loss: &str, generation: Option<i64>, whole: &[Option<String>]) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let now = self.generation().await;
            let lists = self.lists().await;
            let is_whole = lists == whole;
            for (list, whole) in lists.into_iter().zip(whole) {
                assert!(list.is_none() || list == *whole, "after {loss}: {list:?} instead of {whole:?}");
            }
            if is_whole && now.is_some() && now != generation {
                return;
            }
            assert!(Instant::now() < deadline, "not healed after {loss}");
        }
    }

    /// Whether all that is derived is as a fold of the whole log.
    async fn is_equal(&self) -> (bool, String) {
        let mut check = Command::new(env!("CARGO_BIN_EXE_offers"));
        check.arg("check").env("OFFERS_DATABASE_URL", &self.sandbox.database_url);
        let done = tokio::task::spawn_blocking(move || check.output().unwrap()).await.unwrap();
        (done.status.success(), String::from_utf8(done.stdout).unwrap())
    }

    async fn another(&self, projects: bool) -> Service {
        Service::start_in(&self.sandbox, Setting { projects, ..Setting::default() }).await
    }
}

async fn lists_of(service: &Service, alice: &Person, admin: &Person, at: &str) -> Vec<Option<String>> {
    let lists = [
        (alice, "/offers/"),
        (alice, "/offers/expiring/"),
        (alice, "/account/subscriptions/"),
        (alice, "/account/transactions/"),
        (alice, "/account/transactions/?status=SUCCESS"),
        (admin, "/admin/offers/"),
        (admin, "/admin/transactions/"),
        (admin, "/admin/transactions/?status=PROCESSING"),
        (admin, &*format!("/audit/accounts/{}/balance/?at={at}", alice.id)),
    ];
    let mut said = Vec::new();
    for (person, path) in lists {
        let reply = service.get(person, path).await;
        match reply.status.as_u16() {
            200 => said.push(Some(reply.text)),
            _ => {
                reply.is(503, "unavailable");
                assert!(reply.headers.contains_key("retry-after"), "{reply:?}");
                said.push(None);
            }
        }
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_lose_rows_are_rebuilt_and_no_list_is_ever_short() {
    let mut shop = Shop::new().await;
    let whole = shop.lists().await;
    assert!(whole.iter().all(Option::is_some));
    let tables = ["checkpoint", "transactions", "unfinished", "subscriptions", "offers", "statement"];
    let truncated = tables.map(|table| format!("truncate read.{table}"));
    let cut = ["checkpoint", "transactions", "subscriptions", "offers", "statement"]
        .map(|table| format!("delete from read.{table} where ctid = (select min(ctid) from read.{table})"));
    let dropped = ["drop table read.transactions", "drop table read.statement", "drop schema read cascade"];
    let elsewhere = ["update read.checkpoint set position = 0", "update read.checkpoint set event_id = null"];
    let others = dropped.iter().chain(&elsewhere).map(|&loss| loss.to_owned());
    for loss in truncated.into_iter().chain(cut).chain(others) {
        let generation = shop.generation().await;
        shop.run(&loss).await;
        if !loss.contains("transactions") && !loss.contains("null") {
            shop.service.pay_in(shop.admin.id.into(), 1).await; // without it a loss is noticed all the same, later
        }
        shop.heals(&loss, generation, &whole).await;
        let (equal, said) = shop.is_equal().await;
        assert!(equal, "after {loss}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_lost_unseen_is_noticed_by_its_next_change() {
    let mut shop = Shop::new().await;
    for table in ["transactions", "unfinished"] {
        let open = shop.buy().await;
        shop.service.all_listed().await;
        let generation = shop.generation().await;
        shop.run(&format!(
            "alter table read.{table} disable trigger user;
             delete from read.{table} where transaction_id = '{open}';
             alter table read.{table} enable trigger user"
        ))
        .await;
        shop.service.succeed(open, &shop.alice, shop.tv).await;
        let rebuilt = async || shop.generation().await.is_some_and(|now| Some(now) != generation);
        eventually("rebuilt", rebuilt).await;
        shop.service.all_listed().await;
        let (equal, said) = shop.is_equal().await;
        assert!(equal, "without the row of {table}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_read_tables_what_needs_none_goes_on_and_the_service_says_that_it_is_degraded() {
    let mut shop = Shop::new().await;
    let whole = shop.lists().await;
    let protection = Protection { unfinished_per_user: Bound::of(3), ..Protection::default() };
    let without_projector = Setting { projects: false, protection, ..Setting::default() };
    let without_projector = Service::start_in(&shop.sandbox, without_projector).await;
    let service = std::mem::replace(&mut shop.service, without_projector);
    service.stop().await; // nobody rebuilds now
    let generation = shop.generation().await;
    shop.run("truncate read.subscriptions").await;
    assert!(shop.lists().await.iter().all(Option::is_none));
    let done = shop.buy().await;
    let path = format!("/activation/status/{done}/");
    let asked = Instant::now();
    let waits = shop.service.request(&shop.alice, Method::GET, &path).header("prefer", "wait=30");
    let waits = tokio::spawn(send(waits));
    eventually("it waits", async || shop.service.app.statuses.waiting() == 1).await;
    shop.service.succeed(done, &shop.alice, shop.tv).await;
    let status = waits.await.unwrap();
    assert_eq!(status.json()["status"], "SUCCESS", "one who waits hears of it: {status:?}");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    let asked = Instant::now();
    let status = shop.service.get(&shop.alice, &path).await;
    assert_eq!(status.json()["status"], "SUCCESS", "a status needs no list: {status:?}");
    assert!(asked.elapsed() < Duration::from_secs(1), "nor waits for one: {:?}", asked.elapsed());
    assert_eq!(shop.service.balance(&shop.alice).await, "975.00");
    let named = async || {
        let ready = send(shop.service.anonymous(Method::GET, "/readyz")).await;
        ready.status == 200
            && ready.json()["status"] == "degraded"
            && ready.json()["notes"].to_string().contains("the read tables are rebuilt")
    };
    eventually("named", named).await;

    for _ in 0..2 {
        shop.buy().await;
    }
    let refused = shop.service.post(&shop.alice, "/activation/", &json!({"offer_id": shop.tv})).await;
    refused.is(429, "rate_limited"); // and not 503: what is not known counts as under way

    let projector = shop.another(true).await;
    let rebuilt = async || shop.generation().await.is_some_and(|now| Some(now) != generation);
    eventually("rebuilt", rebuilt).await;
    shop.service.all_listed().await;
    let lists = shop.lists().await;
    assert!(lists.iter().all(Option::is_some) && lists != whole, "with the purchase that came meanwhile");
    let is_ok = async || {
        let ready = send(projector.anonymous(Method::GET, "/readyz")).await.json();
        !ready["notes"].to_string().contains("read tables")
    };
    eventually("not named any more", is_ok).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_tables_of_a_lost_history_are_rebuilt_also_when_the_new_history_is_longer() {
    for grows in [false, true] {
        let mut shop = Shop::new().await;
        shop.run("create table saved as table accounts").await;
        let restored = shop.service.resources.log.head().await.unwrap();
        for _ in 0..2 {
            let lost = shop.buy().await;
            shop.service.succeed(lost, &shop.alice, shop.tv).await;
        }
        shop.service.all_listed().await;
        let lost_head = shop.service.resources.log.head().await.unwrap();
        let (wrong, generation) = (shop.lists().await, shop.generation().await);
        let sandbox = shop.sandbox.clone();
        let nobody = Setting { projects: false, ..Setting::default() };
        let elsewhere = Service::start_in(&Stack::get().await.sandbox().await, nobody).await;
        std::mem::replace(&mut shop.service, elsewhere).stop().await;
        shop.run(&format!(
            "alter table events disable trigger user;
             delete from events where position > {restored};
             alter table events enable trigger user;
             update accounts set balance = saved.balance from saved where saved.account_id = accounts.account_id"
        ))
        .await;
        if grows {
            let stop = tokio_util::sync::CancellationToken::new();
            let log = offers::event_log::EventLog::at(&sandbox.database_url, &stop).unwrap();
            history::credit_until(&log, shop.alice.id.into(), lost_head + 3).await;
            stop.cancel();
        }
        shop.service = shop.another(false).await;
        let refused = shop.lists().await;
        assert!(refused.iter().all(Option::is_none), "lists of a lost history: {refused:?}");
        let projector = shop.another(true).await;
        let rebuilt = async || shop.generation().await.is_some_and(|now| Some(now) != generation);
        eventually("rebuilt", rebuilt).await;
        shop.service.all_listed().await;
        let lists = shop.lists().await;
        assert!(lists.iter().all(Option::is_some) && lists != wrong);
        let (equal, said) = shop.is_equal().await;
        assert!(equal, "grown: {grows}: {said}");
        projector.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_snapshot_of_lost_tables_does_not_stop_the_healing_and_they_are_dropped_after_it() {
    let mut shop = Shop::new().await;
    let whole = shop.lists().await;
    let mut reader = PgConnection::connect(&shop.sandbox.database_owner_url).await.unwrap();
    let mut snapshot = reader.begin().await.unwrap();
    sqlx::raw_sql("select from read.offers, read.transactions").execute(&mut *snapshot).await.unwrap();
    for _ in 0..2 {
        let generation = shop.generation().await;
        shop.run("delete from read.checkpoint").await;
        shop.heals("a loss under a snapshot", generation, &whole).await;
    }
    snapshot.rollback().await.unwrap();
    eventually("they are dropped", async || {
        let aside = sqlx::query_scalar("select count(*) from pg_namespace where nspname ~ '^read_'");
        0 == aside.fetch_one(&mut reader).await.unwrap_or(-1_i64)
    })
    .await;
}

#[tokio::test]
async fn a_page_that_new_tables_cannot_take_either_is_a_broken_history_and_no_reason_to_begin_again() {
    let fixture = Fixture::new().await;
    let mut owner = PgConnection::connect(&fixture.sandbox.database_owner_url).await.unwrap();
    let mut history = history::History::new();
    history.attempt(TransactionId(uuid::Uuid::now_v7()), 1); // of a transaction that never began
    let connect = fixture.sandbox.database_url.parse().unwrap();
    let checkpoint = ReadCheckpoint::new(fixture.pool.clone());
    let mut tables = TableProjector::new(&connect, checkpoint, fixture.log.clone());
    sqlx::raw_sql("drop schema read cascade").execute(&mut owner).await.unwrap();
    assert_eq!(tables.checkpoint().await.unwrap(), 0);
    tables.apply(&history.after(0)[..1]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(tables.checkpoint().await.unwrap(), 1, "it does not begin again");
        let broken = tables.apply(history.after(1)).await;
        assert!(matches!(broken, Err(Error::Broken { position: 2, .. })), "{broken:?}");
    }
    sqlx::raw_sql("delete from read_next.checkpoint").execute(&mut owner).await.unwrap();
    assert_eq!(tables.checkpoint().await.unwrap(), 0, "new tables that are lost are made again");
}

#[tokio::test]
async fn tables_that_an_older_program_rebuilds_notice_losses_too() {
    let fixture = Fixture::new().await;
    let mut owner = PgConnection::connect(&fixture.sandbox.database_owner_url).await.unwrap();
    sqlx::raw_sql(
        "drop schema if exists read_next cascade; select create_read_tables('read_next');
         alter schema read rename to read_old; alter schema read_next rename to read;
         drop schema if exists read_old cascade",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let history = history::History::new();
    fixture.tables.apply(history.after(0)).await.unwrap();
    sqlx::raw_sql("delete from read.offers").execute(&mut owner).await.unwrap();
    let lost = fixture.tables.checkpoint().await;
    assert!(matches!(lost, Err(Error::Lost(_))), "{lost:?}");
}
