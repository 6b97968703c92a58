//! Who logged in, who failed to, and who was refused: rows of the audit log.

use super::logins::{count_statements, sent_statements};
use super::{HOME, PASSWORD, fixture, home, start};
use crate::support::eventually::eventually;
use crate::support::service::{Service, Setting};
use crate::support::stack::Stack;
use offers::clock::Clock;
use offers::identity::{Error, TRIES_PER_NAME};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};

/// Action, actor, subject, details.
type Row = (String, String, String, Value);

async fn rows(pool: &PgPool, action: &str) -> Vec<Row> {
    sqlx::query_as(
        "select action, actor, subject, details from audit_log where action like $1 order by at, id",
    )
    .bind(action)
    .fetch_all(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn logins_good_wrong_and_throttled_are_rows_and_cost_the_login_no_statement() {
    let f = fixture().await;
    let alice = f.user("alice").await;
    count_statements();
    let login = async |name: &str, password: &str| {
        f.identity.login(name, &password.into(), home(), start()).await.map(|grant| grant.session)
    };
    let session = login("alice", PASSWORD).await.unwrap();
    assert_eq!(sent_statements().len(), 3, "failures, user, session");
    for _ in 0..TRIES_PER_NAME {
        assert!(matches!(login("alice", "wrong horse").await, Err(Error::InvalidCredentials)));
        assert_eq!(sent_statements().len(), 3, "failures, user, failure");
    }
    for _ in 0..1_000 {
        assert!(matches!(login("alice", PASSWORD).await, Err(Error::RateLimited { .. })));
    }
    login("hunter2", "alice").await.expect_err("let in");

    f.identity.write_audit().await.unwrap();
    f.identity.write_audit().await.unwrap();
    let subject = format!("user:{}", alice.id);
    let good = json!({"address": HOME, "session": session});
    assert_eq!(
        rows(&f.owner, "login.succeeded").await,
        [("login.succeeded".to_owned(), subject.clone(), subject.clone(), good)]
    );
    let refused = rows(&f.owner, "login.refused").await;
    let [known, unknown] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!((known.1.as_str(), &known.2), ("address:192.0.2.1", &subject));
    assert_eq!((&known.3["address"], &known.3["times"]), (&json!(HOME), &json!(TRIES_PER_NAME)));
    assert!(unknown.2.starts_with("name:") && unknown.3.get("times").is_none(), "{unknown:?}");
    let throttled = rows(&f.owner, "login.throttled").await;
    let [throttled] = throttled.as_slice() else { panic!("one row for all: {throttled:?}") };
    assert_eq!(throttled.3["times"], 1_000);
    assert_eq!(throttled.3["name"], known.3["name"], "the rows of one name are found by its hash");
    let all: Vec<String> =
        sqlx::query_scalar("select a::text from audit_log a").fetch_all(&f.owner).await.unwrap();
    assert!(!all.concat().contains("hunter2"), "a password in the wrong field is not stored");
}

#[tokio::test]
async fn logins_wait_while_the_database_is_away_and_are_written_once() {
    let f = fixture().await;
    f.user("alice").await;
    f.login("alice").await;
    sqlx::query("revoke insert on audit_log from offers_app").execute(&f.owner).await.unwrap();
    f.identity.write_audit().await.expect_err("it was written");
    f.login("alice").await;
    sqlx::query("grant insert on audit_log to offers_app").execute(&f.owner).await.unwrap();
    f.identity.write_audit().await.unwrap();
    f.identity.write_audit().await.unwrap();
    assert_eq!(rows(&f.owner, "login.%").await.len(), 2);
}

#[tokio::test]
async fn old_logins_are_purged_and_changes_of_rights_never() {
    let f = fixture().await;
    let now = Clock::system().now().utc();
    for (action, days) in [
        ("login.refused", 91),
        ("access.refused", 91),
        ("login.succeeded", 89),
        ("user.roles_changed", 4_000),
    ] {
        sqlx::query(
            "insert into audit_log (id, at, actor, action, subject)
             values (gen_random_uuid(), $1, 'system:test', $2, 'user:1')",
        )
        .bind(now - chrono::TimeDelta::days(days))
        .bind(action)
        .execute(&f.owner)
        .await
        .unwrap();
    }
    f.identity.purge(now).await.unwrap();
    let left: Vec<String> = rows(&f.owner, "%").await.into_iter().map(|row| row.0).collect();
    assert_eq!(left, ["user.roles_changed", "login.succeeded"]);

    f.user("alice").await;
    f.identity.login("alice", &PASSWORD.into(), home(), now).await.unwrap();
    f.identity.write_audit().await.unwrap();
    let purged: i64 =
        sqlx::query_scalar("select purge_audit_log('infinity', 100)").fetch_one(&f.pool).await.unwrap();
    assert_eq!(purged, 1, "the service's role can remove no trace younger than 30 days");
    assert_eq!(rows(&f.owner, "login.%").await.len(), 1);
}

#[tokio::test]
async fn the_purge_of_the_audit_log_looks_into_the_log_and_no_table_of_the_caller() {
    let f = fixture().await;
    let settings: Vec<String> =
        sqlx::query_scalar("select unnest(proconfig) from pg_proc where proname = 'purge_audit_log'")
            .fetch_all(&f.owner)
            .await
            .unwrap();
    assert_eq!(settings, ["search_path=pg_catalog, public, pg_temp"]);
    let volatile: bool = sqlx::query_scalar(
        "select prosrc like '%clock_timestamp%' from pg_proc where proname = 'purge_audit_log'",
    )
    .fetch_one(&f.owner)
    .await
    .unwrap();
    assert!(!volatile, "a bound that moves cannot be looked up in the index");
}

#[tokio::test]
async fn a_caller_without_the_role_is_recorded_with_its_route_and_a_stop_loses_none() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let alice = service.person("alice", &["user"]).await;
    service.get(&alice, "/admin/users/").await.is(403, "forbidden");
    let mut database = PgConnection::connect(&sandbox.database_url).await.unwrap();
    let mut refusals = async || -> Vec<(String, String, Value)> {
        let query =
            "select actor, subject, details from audit_log where action = 'access.refused' order by at";
        sqlx::query_as(query).fetch_all(&mut database).await.unwrap()
    };
    let actor = format!("user:{}", alice.id);
    let details = json!({
        "address": "127.0.0.1", "method": "GET", "route": "/api/v1/admin/users", "code": "forbidden",
    });
    let expected = (actor.clone(), actor, details);
    let mut found = Vec::new();
    eventually("the refusal is recorded", async || {
        found = refusals().await;
        !found.is_empty()
    })
    .await;
    assert_eq!(found, [expected]);
    let path = format!("/admin/users/{}/", alice.id);
    service.get(&alice, &path).await.is(403, "forbidden");
    service.stop().await;
    assert_eq!(refusals().await[1].2["route"], "/api/v1/admin/users/{id}");
}
