//! Accepts renewals: a transaction that extends a subscription instead of starting one.
//!
//! Which subscription is meant is found before the price is looked at, and never changes: so a renewal
//! conflicts with nothing, and renewals that run at the same time add up.

use super::Error;
use super::activate::{Accepted, Activations, on_sale};
use super::idempotency::IdempotentRequest;
use chrono::TimeDelta;
use domain::offer::Terms;
use domain::transaction::{ActivationRequested, Kind};
use domain::user_offer::UserOffer;
use domain::{Metadata, OfferId, SubscriptionId, Timestamp, TransactionId, UserId};
use std::time::Duration;
use tokio::time::Instant;

/// How long a refusal waits for the read tables to contain what has just happened.
const READ_TABLES_WAIT: Duration = Duration::from_secs(2);

/// What is to be extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Subscription(SubscriptionId),
    /// The user's subscription to this offer that ends last.
    Offer(OfferId),
}

/// A user asks for an extension.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Who must have the subscription, and pays.
    pub user_id: UserId,
    pub target: Target,
    pub request: IdempotentRequest,
}

/// A subscription that the user has.
struct Found {
    id: SubscriptionId,
    offer_id: OfferId,
    expires_at: Timestamp,
}

/// Whether `days` more can be written: there is no moment after the year 9999.
fn fits(expires_at: Timestamp, days: u32) -> bool {
    expires_at.plus_days(days).utc() - expires_at.utc() == TimeDelta::days(i64::from(days))
}

impl Activations {
    /// Begins `renewal`, or finds that it was begun before.
    ///
    /// # Errors
    /// `SubscriptionNotFound`, `CannotBeExtended`; then as for an activation.
    pub async fn renew(&self, renewal: &Renewal, metadata: Metadata) -> Result<Accepted, Error> {
        let Renewal { user_id, target, request } = renewal;
        if request.previous_event(&self.log).await?.is_some() {
            return Ok(Accepted { transaction_id: TransactionId(request.event_id()), replayed: true });
        }
        let found = match *target {
            Target::Subscription(id) => self.owned(*user_id, id).await?,
            Target::Offer(offer) => self.ending_last(*user_id, offer).await?,
        };
        let found = found.ok_or(Error::SubscriptionNotFound)?;
        // The end is as this process knows it: of two renewals at the same moment, both may fit alone. The subscription
        // then ends in the last second that it can.
        let (terms, _) = on_sale(&self.log, found.offer_id, None).await?;
        if !fits(found.expires_at, terms.duration_days) {
            return Err(Error::CannotBeExtended);
        }
        let event = |terms| requested(*user_id, &found, terms);
        self.begin(request, *user_id, found.offer_id, metadata, event).await
    }

    /// The subscription `id` from its own stream, which is never behind, if it is the user's. Its owner
    /// and its offer never change, so the cached state is good enough for them.
    async fn owned(&self, user: UserId, id: SubscriptionId) -> Result<Option<Found>, Error> {
        Ok(match self.log.load::<UserOffer>(id.0).await?.state {
            UserOffer::Subscribed(subscribed) if subscribed.user_id == user => {
                Some(Found { id, offer_id: subscribed.offer_id, expires_at: subscribed.expires_at })
            }
            UserOffer::None | UserOffer::Subscribed(_) => None,
        })
    }

    /// The user's subscription to `offer` that ends last. A subscription that a client has seen is in the
    /// read tables; they may say no only when they contain the whole log.
    async fn ending_last(&self, user: UserId, offer: OfferId) -> Result<Option<Found>, Error> {
        let found = match self.readers.latest_subscription(user, offer).await? {
            Some(found) => Some(found),
            None => {
                let head = self.log.head().await?;
                self.readers.checkpoint().wait_for(head, Instant::now() + READ_TABLES_WAIT).await?;
                self.readers.latest_subscription(user, offer).await?
            }
        };
        Ok(found.map(|view| Found {
            id: view.subscription_id,
            offer_id: view.offer_id,
            expires_at: view.expiration_date,
        }))
    }
}

fn requested(user: UserId, found: &Found, terms: Terms) -> ActivationRequested {
    ActivationRequested {
        kind: Kind::Renewal,
        user_id: user,
        account_id: user.into(),
        partner_id: None,
        subscription_id: Some(found.id),
        offer_id: found.offer_id,
        offer_name: terms.name,
        duration_days: terms.duration_days,
        amount: terms.price,
        partner_reference: None,
        reference: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_cannot_be_extended_beyond_the_year_9999() {
        let ends: Timestamp = "9999-12-01T00:00:00Z".parse().expect("a moment");
        assert!(fits(ends, 30) && !fits(ends, 31));
    }
}
