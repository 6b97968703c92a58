//! The load's own users: made if they are not there, given money enough, logged in, and kept logged in.

use parking_lot::RwLock;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt};
use hyper::Method;
use hyper::header::HeaderValue;
use rand::Rng;
use rand::distr::Alphanumeric;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::connection::{Call, Connection, Reply, Target};

/// Users set up at a time; each login costs the service a password hash.
const SET_UP_AT_A_TIME: usize = 4;

/// Activations a second that the money must last for.
const HIGHEST_RATE: u64 = 20_000;

/// The least and the most that a user is given: a credit has at most eight digits.
const LEAST_CREDIT: u64 = 1_000;
const MOST_CREDIT: u64 = 99_999_999;

/// Who may make users and give them money.
pub(super) struct Admin {
    pub(super) username: String,
    pub(super) password: String,
}

/// A user of the load.
pub(super) struct Account {
    username: String,
    password: String,
    authorization: RwLock<Arc<HeaderValue>>,
}

impl Account {
    /// The `Authorization` header of the moment.
    pub(super) fn authorization(&self) -> Arc<HeaderValue> {
        Arc::clone(&self.authorization.read())
    }

    /// Takes a new token; keeps the old one if there is none to be had.
    pub(super) async fn log_in_again(&self, target: &Target) {
        if let Ok(session) = log_in(&mut Connection::new(target), &self.username, &self.password).await {
            *self.authorization.write() = session.authorization;
        }
    }
}

/// What the load is made of.
pub(super) struct Cast {
    pub(super) accounts: Vec<Account>,
    pub(super) offer_id: Uuid,
    pub(super) token_lives: Duration,
}

/// Prepares `users` users with money for `seconds`, and chooses the cheapest offer.
pub(super) async fn prepare(
    target: &Target,
    admin: &Admin,
    users: usize,
    seconds: u64,
) -> anyhow::Result<Cast> {
    let mut connection = Connection::new(target);
    let session = log_in(&mut connection, &admin.username, &admin.password).await?;
    let mut admin = Authorized { connection, authorization: &session.authorization };
    let offer = cheapest_offer(&mut admin).await?;
    let needed = offer.price.ceil().to_u64().unwrap_or(MOST_CREDIT) * HIGHEST_RATE * seconds;
    let credit = (needed / users as u64).clamp(LEAST_CREDIT, MOST_CREDIT);
    let accounts = futures::stream::iter(0..users)
        .map(|number| set_up(target, &session.authorization, number, credit))
        .buffered(SET_UP_AT_A_TIME)
        .try_collect()
        .await?;
    Ok(Cast { accounts, offer_id: offer.id, token_lives: Duration::from_secs(session.expires_in) })
}

async fn set_up(target: &Target, admin: &HeaderValue, number: usize, credit: u64) -> anyhow::Result<Account> {
    let username = format!("load-{number:03}");
    // A new one every time: an account with money and a known password would be a gift.
    let password: String = rand::rng().sample_iter(Alphanumeric).take(32).map(char::from).collect();
    let mut admin = Authorized { connection: Connection::new(target), authorization: admin };
    let id = make_user(&mut admin, &username, &password).await?;
    let credit = json!({ "amount": format!("{credit}.00"), "reason": "load" });
    admin.post(&format!("/admin/accounts/{id}/credit/"), &credit).await?;
    let session = log_in(&mut admin.connection, &username, &password).await?;
    Ok(Account { username, password, authorization: RwLock::new(session.authorization) })
}

async fn make_user(admin: &mut Authorized<'_>, username: &str, password: &str) -> anyhow::Result<Uuid> {
    let new = json!({
        "username": username, "password": password, "email": format!("{username}@example.com"),
    });
    let reply = admin.call(Method::POST, "/admin/users/", Some(&new)).await?;
    if reply.status != 409 {
        return Ok(read::<User>(&reply, "making a user")?.id);
    }
    let found: Page<User> = admin.get(&format!("/admin/users/?q={username}")).await?;
    let user = found.results.into_iter().find(|user| user.username == username);
    let id = user.with_context(|| format!("{username} is taken and cannot be found"))?.id;
    let change = json!({ "password": password, "is_active": true });
    let reply = admin.call(Method::PATCH, &format!("/admin/users/{id}/"), Some(&change)).await?;
    read::<Value>(&reply, "changing a user's password")?;
    Ok(id)
}

async fn cheapest_offer(admin: &mut Authorized<'_>) -> anyhow::Result<Offer> {
    let offers: Page<Offer> = admin.get("/offers/?limit=200").await?;
    let cheapest = offers.results.into_iter().min_by_key(|offer| offer.price);
    cheapest.context("there is no active offer")
}

#[derive(Deserialize)]
struct Page<T> {
    results: Vec<T>,
}

#[derive(Deserialize)]
struct User {
    id: Uuid,
    username: String,
}

#[derive(Deserialize)]
struct Offer {
    id: Uuid,
    price: Decimal,
}

struct Session {
    authorization: Arc<HeaderValue>,
    expires_in: u64,
}

async fn log_in(connection: &mut Connection, username: &str, password: &str) -> anyhow::Result<Session> {
    #[derive(Deserialize)]
    struct Tokens {
        access: String,
        expires_in: u64,
    }
    let credentials = json!({ "username": username, "password": password }).to_string();
    let reply = connection
        .call(Call {
            method: Method::POST,
            path: "/auth/login/",
            authorization: None,
            header: None,
            body: credentials.into(),
        })
        .await?;
    let tokens: Tokens = read(&reply, "logging in")?;
    let authorization = Arc::new(HeaderValue::from_str(&format!("Bearer {}", tokens.access))?);
    Ok(Session { authorization, expires_in: tokens.expires_in })
}

/// A connection of somebody who is logged in.
struct Authorized<'a> {
    connection: Connection,
    authorization: &'a HeaderValue,
}

impl Authorized<'_> {
    async fn call(&mut self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Reply> {
        let body = body.map(Value::to_string).unwrap_or_default().into();
        let authorization = Some(self.authorization);
        self.connection.call(Call { method, path, authorization, header: None, body }).await
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> anyhow::Result<T> {
        read(&self.call(Method::GET, path, None).await?, path)
    }

    async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        read(&self.call(Method::POST, path, Some(body)).await?, path)
    }
}

fn read<T: DeserializeOwned>(reply: &Reply, what: &str) -> anyhow::Result<T> {
    if !(200..300).contains(&reply.status) {
        let said = String::from_utf8_lossy(&reply.body);
        bail!("{what}: status {}: {said}", reply.status);
    }
    reply.json().with_context(|| what.to_owned())
}
