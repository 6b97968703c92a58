//! Names and addresses are compared and sorted in one way on every installation, also those of older versions.

use crate::support::stack::Stack;
use chrono::Utc;
use offers::identity::{Error, Findings, Grant, Identity, Keyring, NewUser, PasswordCost, Roles, Settings};
use offers::runtime::migrations;
use projections::Readers;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use std::borrow::Cow;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// The last migration before names were folded.
const BEFORE: i64 = 51;
const PASSWORD: &str = "correct horse battery";
const USERS: i64 = 10_000;
const DEADLINE: Duration = Duration::from_secs(60);

/// Applies the migrations up to `last` alone, as an older version did.
async fn migrate_up_to(last: i64, url: &str) {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    let mut migrations: Vec<Migration> = files
        .map(|file| {
            let path = file.unwrap().path();
            let (version, what) = path.file_stem().unwrap().to_str().unwrap().split_once('_').unwrap();
            let sql = std::fs::read_to_string(&path).unwrap();
            let (version, what) = (version.parse().unwrap(), what.replace('_', " "));
            Migration::new(version, what.into(), MigrationType::Simple, sql.into(), false)
        })
        .filter(|migration| migration.version <= last)
        .collect();
    migrations.sort_by_key(|migration| migration.version);
    let migrator = Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT };
    let mut connection = PgConnection::connect(url).await.unwrap();
    migrator.run_direct(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn identity(url: &str) -> (Identity, PgPool) {
    let pool = PgPoolOptions::new().max_connections(5).connect(url).await.unwrap();
    let keys = Keyring::parse(&"0123456789abcdef0123456789abcdef".into()).unwrap();
    let settings =
        Settings { password_cost: PasswordCost::weak_for_tests(), ..Settings::new(keys.clone(), keys) };
    (Identity::new(pool.clone(), &settings).unwrap(), pool)
}

async fn login(identity: &Identity, name: &str) -> Result<Grant, Error> {
    identity.login(name, &PASSWORD.into(), "192.0.2.1".parse().unwrap(), Utc::now()).await
}

/// A hash of [`PASSWORD`] at a low cost.
async fn hash() -> String {
    let (owner, app) = Stack::get().await.fresh_database().await;
    let new = NewUser {
        username: "somebody".to_owned(),
        password: PASSWORD.into(),
        email: "somebody@example.com".to_owned(),
        first_name: String::new(),
        last_name: String::new(),
        roles: Roles::default(),
    };
    identity(&app)
        .await
        .0
        .create_user(&new, &offers::identity::Actor::system("test"), Utc::now())
        .await
        .unwrap();
    let mut owner = PgConnection::connect(&owner).await.unwrap();
    sqlx::query_scalar("select password_hash from users").fetch_one(&mut owner).await.unwrap()
}

/// Users as an older version may have them, the first the oldest: name and mail address.
const ODD: [(&str, &str); 9] = [
    ("Jose\u{301}", "jose@example.com"),
    ("JOSÉ", "x@bücher.example"),
    ("Ｂｏｂ", "\"a@b\"@example.com"),
    ("bob", "a@[127.0.0.1]"),
    ("ångström", "angstrom@Example.COM"),
    ("Strasse", "a@::1"),
    ("STRAẞE", ""),
    ("\u{fdfa}\u{fdfa}\u{fdfa}\u{fdfa}\u{fdfa}\u{fdfa}\u{fdfa}\u{fdfa}\u{fdfa}", "fits@example.com"),
    ("a b", "a.b@example.com"),
];

/// A database of an older version with [`USERS`] users; the odd ones are in between.
async fn old_installation() -> (String, String) {
    let (owner_url, app_url) = Stack::get().await.empty_database("").await;
    migrate_up_to(BEFORE, &owner_url).await;
    let hash = hash().await;
    let mut owner = PgConnection::connect(&owner_url).await.unwrap();
    let insert =
        "insert into users (id, username, email, first_name, last_name, password_hash, roles, date_joined,
                                     account_opened)";
    sqlx::query(&format!(
        "{insert} select gen_random_uuid(), 'user' || n, 'user' || n || '@example.com', 'Иван', '', $1, '{{user}}',
                         timestamptz '2026-01-01' + n * interval '1 minute', true
         from generate_series(1, $2) n"
    ))
    .bind(&hash)
    .bind(USERS - ODD.len() as i64)
    .execute(&mut owner)
    .await
    .unwrap();
    for (number, (name, email)) in (0_i32..).zip(ODD) {
        sqlx::query(&format!(
            "{insert} values (gen_random_uuid(), $1, $2, '', '', $3, '{{user}}',
                              timestamptz '2026-01-02' + $4 * interval '12 hours', true)"
        ))
        .bind(name)
        .bind(email)
        .bind(&hash)
        .bind(number)
        .execute(&mut owner)
        .await
        .unwrap();
    }
    owner.close().await.unwrap();
    (owner_url, app_url)
}

fn reported(findings: &Findings) -> Vec<(&str, &str)> {
    let mut reported: Vec<_> =
        findings.first.iter().map(|one| (one.username.as_str(), one.finding.as_str())).collect();
    reported.sort_unstable();
    reported
}

#[tokio::test]
async fn users_of_an_older_version_log_in_after_the_migration_and_what_is_odd_is_reported() {
    let (owner_url, app_url) = old_installation().await;
    let findings = migrations::run(&owner_url).await.unwrap();
    let expected = [
        ("Bob", "mail_unusable"),
        ("JOSÉ", "name_collides"),
        ("STRAẞE", "name_collides"),
        ("Strasse", "mail_unusable"),
        ("bob", "mail_unusable"),
        (ODD[7].0, "name_unfit"),
    ];
    assert_eq!(findings.total, 7);
    let mut all = reported(&findings);
    all.retain(|one| *one != ("bob", "name_collides"));
    assert_eq!(all, expected);
    let again = migrations::run(&owner_url).await.unwrap();
    assert_eq!(reported(&again), reported(&findings), "a repeat reports the same");

    let (identity, pool) = identity(&app_url).await;
    let mut ids = Vec::new();
    for (name, _) in ODD {
        let user = identity.user_named(name).await.unwrap();
        assert_eq!(login(&identity, name).await.unwrap().user, user.id, "{name}");
        ids.push(user.id);
    }
    for (typed, number) in
        [("josé", 0), ("Jose\u{301}", 0), ("JOSÉ", 1), ("BOB", 2), ("bob", 3), ("ÅNGSTRÖM", 4)]
    {
        assert_eq!(login(&identity, typed).await.unwrap().user, ids[number], "{typed}");
    }
    for typed in ["USER1", "user9991", "User5000"] {
        login(&identity, typed).await.unwrap();
    }
    let emails: Vec<String> =
        sqlx::query_scalar("select email from users where id = any($1) order by date_joined")
            .bind([ids[1].0, ids[4].0])
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(emails, ["x@xn--bcher-kva.example", "angstrom@example.com"]);
    assert_eq!(identity.find_users("ИВАН", None, 200).await.unwrap().items.len(), 200);
    let ragged: i64 =
        sqlx::query_scalar("select count(*) from users where search_text = '' or text_rules <> 1")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(ragged, 0);
}

#[tokio::test]
async fn a_migration_that_was_killed_continues_where_it_stopped() {
    let (owner_url, _) = old_installation().await;
    let mut owner = PgConnection::connect(&owner_url).await.unwrap();
    let running = tokio::spawn({
        let url = owner_url.clone();
        async move { migrations::run(&url).await }
    });
    let rewritten = async |owner: &mut PgConnection| -> i64 {
        let count = sqlx::query_scalar("select count(*) from users where text_rules > 0");
        count.fetch_one(owner).await.unwrap_or_default() // the column comes with the migration
    };
    let wait = async {
        while rewritten(&mut owner).await == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, wait).await.unwrap();
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let _killed_or_done = running.await.unwrap();
    let findings = migrations::run(&owner_url).await.unwrap();
    assert_eq!((rewritten(&mut owner).await, findings.total), (USERS, 7));
}

/// The default is `C`, as in the tests' own servers.
#[tokio::test]
async fn offers_are_listed_in_one_order_whatever_the_locale_of_the_database() {
    let sorted = [
        "Ångström",
        "angstroms",
        "Äpfel",
        "apple",
        "Apple",
        "Éclair",
        "Zebra",
        "zebra 2",
        "Ωmega",
        "Иван",
        "東京",
    ];
    for options in ["", "locale 'C.UTF-8'", "locale 'C' locale_provider icu icu_locale 'de-AT-u-co-phonebk'"]
    {
        let (owner_url, app_url) = Stack::get().await.empty_database(options).await;
        migrations::run(&owner_url).await.unwrap();
        let mut owner = PgConnection::connect(&owner_url).await.unwrap();
        for name in sorted.iter().rev() {
            sqlx::query(
                "insert into read.offers (position, offer_id, created_at, updated_at, price, duration_days,
                                          is_active, name, description)
                 values (1, $1, now(), now(), 1, 1, true, $2, '')",
            )
            .bind(Uuid::now_v7())
            .bind(name)
            .execute(&mut owner)
            .await
            .unwrap();
        }
        let readers = Readers::at(app_url.parse().unwrap());
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let slice = readers.offers(Some(true), after, 1).await.unwrap();
            listed.extend(slice.items.into_iter().map(|offer| offer.terms.name));
            after = slice.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, sorted, "{options:?}");
        sqlx::query("set enable_seqscan = off").execute(&mut owner).await.unwrap();
        let plan: Vec<String> = sqlx::query_scalar(
            "explain select * from read.offers where is_active and (name, offer_id) > ($1, $2)
             order by name, offer_id limit 1",
        )
        .bind("a")
        .bind(Uuid::nil())
        .fetch_all(&mut owner)
        .await
        .unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains("offers_by_name") && !plan.contains("Sort"), "{plan}");
    }
}

#[tokio::test]
async fn what_a_process_of_the_older_version_writes_after_the_migration_is_brought_up_by_the_next() {
    let (owner_url, app_url) = Stack::get().await.fresh_database().await;
    let (identity, pool) = identity(&app_url).await;
    let new = NewUser {
        username: "alice".to_owned(),
        password: PASSWORD.into(),
        email: "alice@example.com".to_owned(),
        first_name: String::new(),
        last_name: String::new(),
        roles: Roles::default(),
    };
    identity.create_user(&new, &offers::identity::Actor::system("test"), Utc::now()).await.unwrap();
    sqlx::query("update users set email = 'Other@Bücher.example'").execute(&pool).await.unwrap();
    assert_eq!(identity.find_users("other", None, 10).await.unwrap().items.len(), 0);
    migrations::run(&owner_url).await.unwrap();
    let found = identity.find_users("other@xn--bcher", None, 10).await.unwrap().items;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].email, "Other@xn--bcher-kva.example");
}
