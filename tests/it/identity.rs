//! Users, logins, tokens and partner keys on a real PostgreSQL, as the service's own role.

mod isolation;
mod logins;
mod partners;
mod security;
mod sessions;
mod users;

use crate::support::stack::Stack;
use chrono::{DateTime, TimeDelta, Utc};
use offers::identity::{Actor, Grant, Identity, Keyring, NewUser, PasswordCost, Roles, Settings, User};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::net::IpAddr;
use std::sync::Arc;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER_SECRET: &str = "fedcba9876543210fedcba9876543210";
const PASSWORD: &str = "correct horse battery";
const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "192.0.2.2";

struct Fixture {
    pool: PgPool,
    owner: PgPool,
    identity: Arc<Identity>,
}

async fn fixture() -> Fixture {
    let (owner_url, app_url) = Stack::get().await.fresh_database().await;
    let pool = PgPoolOptions::new().max_connections(10).connect(&app_url).await.unwrap();
    let owner = PgPoolOptions::new().max_connections(1).connect(&owner_url).await.unwrap();
    let identity = instance(&pool, SECRET);
    Fixture { pool, owner, identity }
}

/// One more process on the same database.
fn instance(pool: &PgPool, secrets: &str) -> Arc<Identity> {
    let keys = Keyring::parse(&secrets.into()).unwrap();
    let settings =
        Settings { password_cost: PasswordCost::weak_for_tests(), ..Settings::new(keys.clone(), keys) };
    Arc::new(Identity::new(pool.clone(), &settings).unwrap())
}

impl Fixture {
    fn other_instance(&self) -> Arc<Identity> {
        instance(&self.pool, SECRET)
    }

    async fn user(&self, name: &str) -> User {
        let user = self.identity.create_user(&new_user(name), &admin(), start()).await.unwrap();
        self.identity.confirm_user(user.id).await.unwrap();
        user
    }

    async fn login(&self, name: &str) -> Grant {
        self.identity.login(name, &PASSWORD.into(), home(), start()).await.unwrap()
    }

    async fn actions(&self, subject: &str) -> Vec<String> {
        sqlx::query_scalar("select action from audit_log where subject = $1 order by id")
            .bind(subject)
            .fetch_all(&self.owner)
            .await
            .unwrap()
    }
}

fn new_user(name: &str) -> NewUser {
    NewUser {
        username: name.to_owned(),
        password: PASSWORD.into(),
        email: format!("{name}@example.com"),
        first_name: String::new(),
        last_name: String::new(),
        roles: Roles::default(),
    }
}

fn admin() -> Actor {
    Actor::system("test")
}

fn home() -> IpAddr {
    HOME.parse().unwrap()
}

fn start() -> DateTime<Utc> {
    "2026-11-22T08:00:00.123456Z".parse().unwrap()
}

fn after(seconds: i64) -> DateTime<Utc> {
    start() + TimeDelta::seconds(seconds)
}

fn text(secret: &SecretString) -> &str {
    secret.expose_secret()
}

fn token_of(grant: &Grant) -> String {
    format!("Bearer {}", text(&grant.access))
}

#[tokio::test]
async fn what_no_longer_matters_is_purged() {
    let f = fixture().await;
    f.user("alice").await;
    let grant = f.login("alice").await;
    f.identity.login("alice", &"wrong horse".into(), home(), start()).await.expect_err("let in");
    let count = async |table: &str| -> i64 {
        let query = format!("select count(*) from {table}");
        sqlx::query_scalar(&query).fetch_one(&f.owner).await.unwrap()
    };
    f.identity.logout(&grant.refresh, start()).await.unwrap();
    f.identity.purge(after(60)).await.unwrap();
    assert_eq!((count("sessions").await, count("login_failures").await), (1, 2));
    assert_eq!(count("identity_changes").await, 1);
    sqlx::query("update identity_changes set at = at - interval '16 minutes'")
        .execute(&f.owner)
        .await
        .unwrap();
    f.identity.purge(after(8 * 24 * 60 * 60 + 1)).await.unwrap();
    assert_eq!((count("sessions").await, count("login_failures").await), (0, 0));
    assert_eq!(count("identity_changes").await, 0);
}

#[tokio::test]
async fn no_token_key_or_password_is_stored() {
    let f = fixture().await;
    f.user("alice").await;
    let grant = f.login("alice").await;
    let made = f.identity.create_partner("Shop", None, &admin(), start()).await.unwrap();
    let mut stored = String::new();
    for table in ["users", "sessions", "partners", "partner_keys", "webhook_secrets", "audit_log"] {
        let query = format!("select t::text from {table} t");
        let rows: Vec<String> = sqlx::query_scalar(&query).fetch_all(&f.owner).await.unwrap();
        stored.push_str(&rows.join("\n"));
    }
    let secrets = [&grant.access, &grant.refresh, &made.key.api_key, &made.webhook_secret];
    for secret in secrets.into_iter().map(text).chain([PASSWORD]) {
        assert!(!stored.contains(&secret[secret.len() - 20..]));
    }
}
