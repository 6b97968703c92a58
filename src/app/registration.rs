//! Registers account owners: a user or a partner, and its account. The row comes first, then the event;
//! opening is idempotent, and an account that could not be opened has 0.00 all the same.

use super::{Accounts, Error};
use crate::clock::Clock;
use crate::identity::{Actor, CallbackUrl, Identity, NewPartner, NewUser, User};
use domain::Metadata;
use domain::account::Kind;
use std::sync::Arc;

pub struct Registration {
    accounts: Arc<Accounts>,
    identity: Arc<Identity>,
    clock: Clock,
}

impl Registration {
    #[must_use]
    pub fn new(accounts: Arc<Accounts>, identity: Arc<Identity>, clock: Clock) -> Self {
        Self { accounts, identity, clock }
    }

    /// Creates a user. A request that was cut off continues where it stopped when it is repeated.
    pub async fn create_user(&self, new: &NewUser, by: &Actor, metadata: &Metadata) -> Result<User, Error> {
        let user = self.identity.create_user(new, by, self.clock.now().utc()).await?;
        self.accounts.open(user.id.into(), Kind::User, metadata).await?;
        self.identity.confirm_user(user.id).await?;
        Ok(user)
    }

    /// Creates a partner with a first key and a webhook secret, which cannot be read again.
    pub async fn create_partner(
        &self,
        name: &str,
        callback_url: Option<&CallbackUrl>,
        by: &Actor,
        metadata: &Metadata,
    ) -> Result<NewPartner, Error> {
        let now = self.clock.now().utc();
        let new = self.identity.create_partner(name, callback_url, by, now).await?;
        self.accounts.open(new.partner.id.into(), Kind::Partner, metadata).await?;
        Ok(new)
    }
}
