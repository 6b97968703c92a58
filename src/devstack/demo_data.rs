//! The demo data of `./dev`: four users, a partner, ten offers, opening balances. Loading it again changes
//! nothing: every id is derived, and the partner is found by its key.

use crate::clock::Clock;
use crate::config::Secret;
use crate::event_log::{AggregateCommand, EventLog, ExecuteError, LogError, Plan, WriterOptions};
use crate::identity::{
    Actor, Caller, Error as IdentityError, Identity, Keyring, KeyringError, NewUser, Roles, Settings,
};
use chrono::{DateTime, Utc};
use domain::ids::IdempotencyKey;
use domain::{AccountId, Metadata, Money, OfferId, PartnerId, SLICE_MAX, UserId, account, offer};
use projections::Readers;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const CONNECTIONS: u32 = 4;
/// How long the lists of a service that is ready may take to have the demo data.
const LISTED_WITHIN: Duration = Duration::from_secs(30);

/// Of alice, bob and the partner, in hundredths.
const OPENING_BALANCE: i64 = 100_000;
/// Name, first name, roles. The password is the name and `-demo`.
const PEOPLE: [(&str, &str, &[&str]); 4] = [
    ("alice", "Alice", &["user"]),
    ("bob", "Bob", &["user"]),
    ("admin", "Ada", &["user", "admin"]),
    ("auditor", "Audrey", &["user", "auditor"]),
];
const PARTNER: &str = "Demo Partner";
/// Name, days. The prices go from 5.00 to 50.00; the simulator rejects the last.
const OFFERS: [(&str, u32); 10] = [
    ("Mobile Day Pass 1 GB", 1),
    ("Mobile Week 5 GB", 7),
    ("Mobile Month 20 GB", 30),
    ("TV Basic", 30),
    ("TV Sports", 30),
    ("Internet 100", 30),
    ("Internet 500", 30),
    ("Internet 500 + TV Basic", 30),
    ("Internet 1000 + TV Sports", 90),
    ("Satellite Trial (always rejected)", 30),
];
const PRICE_STEP: i64 = 500;

/// The loaded demo data. Members that are missing are left out of `demo.json`.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Members {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<User>,
    /// A partner, its key and the secret of its callbacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<Partner>,
    /// The offers, cheapest first; the simulator rejects the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<Uuid>,
}

impl Members {
    /// The examples of the document: a value for each name, and the logins.
    #[must_use]
    pub fn examples(&self) -> Value {
        let logins =
            self.users.iter().map(|user| json!({"username": user.username, "password": user.password}));
        json!({
            "offer_id": self.offers.first(),
            "amount": Money::from_hundredths(PRICE_STEP),
            "user_id": self.users.first().map(|user| user.id),
            "partner_id": self.partner.as_ref().map(|partner| partner.id),
            "logins": logins.collect::<Vec<_>>(),
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    pub id: Uuid,
    pub username: String,
    pub password: String,
    pub roles: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Partner {
    /// Its float account's id too.
    pub id: Uuid,
    /// For `Authorization: ApiKey <key>`.
    pub api_key: String,
    pub webhook_secret: String,
}

/// Why the demo data could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database's URL is invalid")]
    Address(#[source] sqlx::Error),
    #[error("the webhook key cannot be used")]
    Key(#[from] KeyringError),
    #[error("cannot create a demo user")]
    Identity(#[from] IdentityError),
    #[error("cannot write a demo event")]
    Log(#[from] ExecuteError),
    #[error("cannot read the log")]
    Head(#[from] LogError),
    #[error("the lists do not have the demo data yet")]
    Lists(#[from] projections::Error),
}

/// Loads what is missing into the database at `database_url` (the service's role), and returns all of it.
/// `webhook_key` must be the service's own; `partner_key` as for `load`.
pub async fn load_into(
    database_url: &str,
    webhook_key: &Secret,
    partner_key: Option<&str>,
) -> Result<Members, Error> {
    let connect: PgConnectOptions = database_url.parse().map_err(Error::Address)?;
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect_lazy_with(connect.clone());
    let ring = Keyring::parse(webhook_key.inner())?;
    let identity = Identity::new(pool.clone(), &Settings::new(ring.clone(), ring))?; // no token is made here
    let stop = CancellationToken::new();
    let _end_of_tasks = stop.clone().drop_guard();
    let log = EventLog::open(pool, connect, WriterOptions::default(), &stop);
    load(&log, &identity, partner_key, Clock::system().now().utc()).await
}

/// Waits until the lists of a running service have all that is in the log: a newcomer's first request is often `GET
/// /offers/`.
pub async fn until_listed(database_url: &str) -> Result<(), Error> {
    let connect: PgConnectOptions = database_url.parse().map_err(Error::Address)?;
    let stop = CancellationToken::new();
    let _end_of_tasks = stop.clone().drop_guard();
    let head = EventLog::at(database_url, &stop)?.head().await?;
    let readers = Readers::at(connect);
    Ok(readers.checkpoint().wait_for(head, Instant::now() + LISTED_WITHIN).await?)
}

/// Loads what is missing and returns all of it. The database has only the hash of the partner's key, so the
/// caller keeps the key: without a valid `partner_key` of an earlier load the partner gets another one.
pub async fn load(
    log: &EventLog,
    identity: &Identity,
    partner_key: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Members, Error> {
    let mut members = Members::default();
    for (index, (name, days)) in (1_i64..).zip(OFFERS) {
        let terms = offer::Terms {
            name: name.to_owned(),
            description: format!("{name}: {days} days, paid in advance."),
            price: Money::from_hundredths(index * PRICE_STEP),
            duration_days: days,
        };
        members.offers.push(offer(log, terms).await?.0);
    }
    for (username, first_name, roles) in PEOPLE {
        let password = format!("{username}-demo");
        let new = NewUser {
            username: username.to_owned(),
            password: password.clone().into(),
            email: format!("{username}@example.com"),
            first_name: first_name.to_owned(),
            last_name: "Demo".to_owned(),
            roles: Roles::parse(roles.iter().copied())?,
        };
        let id = person(log, identity, new, now).await?;
        if !roles.contains(&"admin") && !roles.contains(&"auditor") {
            pay_in(log, id.into()).await?;
        }
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        members.users.push(User { id: id.0, username: username.to_owned(), password, roles });
    }
    members.partner = Some(partner(log, identity, partner_key, now).await?);
    Ok(members)
}

/// An id that is the same each time.
fn derived(name: &str) -> Uuid {
    IdempotencyKey::Header(name.to_owned()).event_id(Uuid::nil())
}

fn metadata() -> Metadata {
    Metadata { reason: Some("demo data".to_owned()), ..Metadata::system("demo", Uuid::now_v7()) }
}

/// Creates the offer. If it exists, its terms stay as they are.
async fn offer(log: &EventLog, terms: offer::Terms) -> Result<OfferId, ExecuteError> {
    let id = OfferId(derived(&format!("offer {}", terms.name)));
    let plan = Plan::new().command(AggregateCommand::Offer(id, offer::Command::Create(terms)));
    match log.commit(&metadata(), plan).await {
        Ok(_) | Err(ExecuteError::Rejected(_)) => Ok(id),
        Err(cause) => Err(cause),
    }
}

async fn person(
    log: &EventLog,
    identity: &Identity,
    new: NewUser,
    now: DateTime<Utc>,
) -> Result<UserId, Error> {
    let id = match identity.user_named(&new.username).await {
        Ok(user) => user.id,
        Err(IdentityError::UserNotFound) => identity.create_user(&new, &Actor::system("demo"), now).await?.id,
        Err(cause) => return Err(cause.into()),
    };
    let open = account::Command::Open { kind: account::Kind::User };
    let plan = Plan::new().command(AggregateCommand::Account(id.into(), open));
    log.commit(&metadata(), plan).await?;
    match identity.confirm_user(id).await {
        Ok(()) | Err(IdentityError::UsernameTaken) => Ok(id), // confirmed by an earlier load
        Err(cause) => Err(cause.into()),
    }
}

async fn partner(
    log: &EventLog,
    identity: &Identity,
    key: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Partner, Error> {
    let (id, api_key) = match owner_of(identity, key, now).await? {
        Some(known) => known,
        None => with_new_key(identity, now).await?,
    };
    let open = account::Command::Open { kind: account::Kind::Partner };
    let plan = Plan::new().command(AggregateCommand::Account(id.into(), open));
    log.commit(&metadata(), plan).await?;
    pay_in(log, id.into()).await?;
    let secrets = identity.webhook_secrets(id, now).await?;
    let webhook_secret = secrets.first().map(|secret| secret.expose_secret().to_owned()).unwrap_or_default();
    Ok(Partner { id: id.0, api_key, webhook_secret })
}

/// The partner of a valid key.
async fn owner_of(
    identity: &Identity,
    key: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Option<(PartnerId, String)>, IdentityError> {
    let Some(key) = key else { return Ok(None) };
    match identity.verify_api_key(key, now).await {
        Ok(Caller::Partner { id, .. }) => Ok(Some((id, key.to_owned()))),
        Ok(Caller::User { .. }) | Err(IdentityError::TokenInvalid) => Ok(None),
        Err(cause) => Err(cause),
    }
}

async fn with_new_key(identity: &Identity, now: DateTime<Utc>) -> Result<(PartnerId, String), IdentityError> {
    let by = Actor::system("demo");
    let partners = identity.list_partners(None, SLICE_MAX).await?.items;
    let (id, key) = match partners.iter().find(|partner| partner.name == PARTNER && partner.is_active) {
        Some(partner) => (partner.id, identity.create_key(partner.id, &by, now).await?),
        None => {
            let new = identity.create_partner(PARTNER, None, &by, now).await?;
            (new.partner.id, new.key)
        }
    };
    Ok((id, key.api_key.expose_secret().to_owned()))
}

async fn pay_in(log: &EventLog, account: AccountId) -> Result<(), ExecuteError> {
    let amount = Money::from_hundredths(OPENING_BALANCE);
    let command = AggregateCommand::Account(account, account::Command::Credit { amount });
    let once = derived(&format!("opening balance {account}"));
    let plan = Plan::new().command(command).idempotent_on(once);
    match log.commit(&metadata(), plan).await {
        Ok(_) | Err(ExecuteError::Repeated { .. }) => Ok(()),
        Err(cause) => Err(cause),
    }
}
