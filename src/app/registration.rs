//! Makes those who own accounts: a user or a partner, and its account. The row comes first, then the event;
//! opening is idempotent, and an account that could not be opened stands at 0.00 all the same.

use super::accounts;
use crate::event_log::EventLog;
use crate::identity::{self, Actor, Identity, NewPartner, NewUser, User};
use chrono::{DateTime, Utc};
use domain::Metadata;
use domain::account::Kind;

/// Why there is no new owner.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The row.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The account.
    #[error(transparent)]
    Account(#[from] accounts::Error),
}

/// Makes a user. A request that was cut off goes on where it stopped when it is made again.
///
/// # Errors
/// Identity's own, and the account's.
pub async fn create_user(
    log: &EventLog,
    identity: &Identity,
    new: &NewUser,
    by: &Actor,
    metadata: &Metadata,
    now: DateTime<Utc>,
) -> Result<User, Error> {
    let user = identity.create_user(new, by, now).await?;
    accounts::open(log, user.id.into(), Kind::User, metadata).await?;
    identity.confirm_user(user.id).await?;
    Ok(user)
}

/// Makes a partner with a first key and a secret, which are told this once.
///
/// # Errors
/// Identity's own, and the account's.
pub async fn create_partner(
    log: &EventLog,
    identity: &Identity,
    (name, callback_url): (&str, Option<&str>),
    by: &Actor,
    metadata: &Metadata,
    now: DateTime<Utc>,
) -> Result<NewPartner, Error> {
    let new = identity.create_partner(name, callback_url, by, now).await?;
    accounts::open(log, new.partner.id.into(), Kind::Partner, metadata).await?;
    Ok(new)
}
