//! Accepts renewals: a transaction that extends a subscription instead of starting one.
//!
//! Which subscription is meant is found before the price is looked at, and never changes: so a renewal
//! conflicts with nothing, and renewals that run at the same time add up.

use super::Error;
use super::activate::{Accepted, Activations};
use super::idempotency::IdempotentRequest;
use domain::offer::Terms;
use domain::transaction::{ActivationRequested, Kind};
use domain::user_offer::UserOffer;
use domain::{Metadata, OfferId, SubscriptionId, TransactionId, UserId};
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
}

impl Activations {
    /// Begins `renewal`, or finds that it was begun before.
    ///
    /// # Errors
    /// `SubscriptionNotFound`; then as for an activation.
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
        let event = |terms| requested(*user_id, &found, terms);
        self.begin(request, found.offer_id, metadata, event).await
    }

    /// The subscription `id` from its own stream, which is never behind, if it is the user's. Its owner
    /// and its offer never change, so the cached state is good enough.
    async fn owned(&self, user: UserId, id: SubscriptionId) -> Result<Option<Found>, Error> {
        Ok(match self.log.load::<UserOffer>(id.0).await?.state {
            UserOffer::Subscribed(subscribed) if subscribed.user_id == user => {
                Some(Found { id, offer_id: subscribed.offer_id })
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
        Ok(found.map(|view| Found { id: view.subscription_id, offer_id: view.offer_id }))
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
