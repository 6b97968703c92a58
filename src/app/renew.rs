//! Accepts renewals: a purchase that extends a subscription instead of beginning one.
//!
//! Which subscription is meant is found before the price is looked at, and never changes: so a renewal
//! conflicts with nothing, and those that run at the same time add up.

use super::activate::{self, Accepted};
use super::idempotency::{self, Repeatable};
use crate::event_log::{EventLog, LogError};
use domain::offer::Terms;
use domain::transaction::{ActivationRequested, Kind};
use domain::user_offer::UserOffer;
use domain::{Metadata, OfferId, SubscriptionId, TransactionId, UserId};
use projections::Readers;
use std::time::Duration;
use tokio::time::Instant;

/// How long a no waits for the read tables to contain what has just happened.
const READ_TABLES_WAIT: Duration = Duration::from_secs(2);

/// What is to be extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This one.
    Subscription(SubscriptionId),
    /// Of the user's subscriptions to this offer the one that ends last.
    Offer(OfferId),
}

/// A user asks for more of what it has.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Whose subscription it must be, and who pays.
    pub user_id: UserId,
    /// Which one.
    pub target: Target,
    /// By which it is recognised when it comes again.
    pub repeatable: Repeatable,
}

/// Why a renewal does not begin. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user has no such subscription.
    #[error("there is no such subscription")]
    SubscriptionNotFound,
    /// As for any purchase.
    #[error(transparent)]
    Purchase(#[from] activate::Error),
    /// The read tables cannot say which subscriptions there are.
    #[error(transparent)]
    Projection(#[from] projections::Error),
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        Self::Purchase(error.into())
    }
}

impl From<idempotency::Error> for Error {
    fn from(error: idempotency::Error) -> Self {
        Self::Purchase(error.into())
    }
}

/// A subscription that the user has.
struct Found {
    id: SubscriptionId,
    offer_id: OfferId,
}

/// Begins `renewal`, or finds that it was begun before.
///
/// # Errors
/// `SubscriptionNotFound`; then as for any purchase: `OfferNotFound`, `InsufficientBalance`,
/// `KeyReused`, `Conflict`, or the log's own.
pub async fn accept(
    log: &EventLog,
    readers: &Readers,
    renewal: &Renewal,
    metadata: Metadata,
) -> Result<Accepted, Error> {
    let Renewal { user_id, target, repeatable } = renewal;
    if repeatable.answered_before(log).await?.is_some() {
        return Ok(Accepted { transaction_id: TransactionId(repeatable.event_id()), replayed: true });
    }
    let found = match *target {
        Target::Subscription(id) => owned(log, *user_id, id).await?,
        Target::Offer(offer) => ending_last(log, readers, *user_id, offer).await?,
    };
    let found = found.ok_or(Error::SubscriptionNotFound)?;
    let request = |terms| requested(*user_id, &found, terms);
    Ok(activate::begin(log, repeatable, found.offer_id, metadata, request).await?)
}

/// The subscription `id` from its own stream, which is never behind, if it is the user's. Whose it is
/// and of what never changes, so what is cached is good enough.
async fn owned(log: &EventLog, user: UserId, id: SubscriptionId) -> Result<Option<Found>, LogError> {
    Ok(match log.load::<UserOffer>(id.0).await?.state {
        UserOffer::Subscribed(subscribed) if subscribed.user_id == user => {
            Some(Found { id, offer_id: subscribed.offer_id })
        }
        UserOffer::None | UserOffer::Subscribed(_) => None,
    })
}

/// The user's subscription to `offer` that ends last. Whoever was told of one finds it in the read
/// tables; they say no only when they contain everything that there is.
async fn ending_last(
    log: &EventLog,
    readers: &Readers,
    user: UserId,
    offer: OfferId,
) -> Result<Option<Found>, Error> {
    let found = match readers.latest_subscription(user, offer).await? {
        Some(found) => Some(found),
        None => {
            let head = log.head().await?;
            readers.checkpoint().wait_for(head, Instant::now() + READ_TABLES_WAIT).await?;
            readers.latest_subscription(user, offer).await?
        }
    };
    Ok(found.map(|view| Found { id: view.subscription_id, offer_id: view.offer_id }))
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
