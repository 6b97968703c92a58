//! Accepts transactions: the money is reserved and the transaction begun in one commit.

use super::Error;
use super::idempotency::IdempotentRequest;
use super::overload::Overload;
use super::purchase_limits::PurchaseLimits;
use crate::event_log::{AggregateCommand, EventLog, ExecuteError, Plan, Rejection};
use crate::identity::Identity;
use crate::processors::callbacks::Callbacks;
use domain::offer::{Offer, Terms};
use domain::transaction::{ActivationRequested, Command, Kind};
use domain::{Metadata, Money, OfferId, TransactionId, UserId};
use projections::Readers;
use std::sync::Arc;

/// Begins transactions: activations, renewals, and activations by partners.
pub struct Activations {
    pub(super) log: EventLog,
    pub(super) readers: Readers,
    pub(super) identity: Arc<Identity>,
    pub(super) callbacks: Callbacks,
    pub(super) limits: PurchaseLimits,
    pub overload: Overload,
}

/// A user asks for an offer.
#[derive(Clone, Debug)]
pub struct Activation {
    /// Who gets it and pays for it.
    pub user_id: UserId,
    pub offer_id: OfferId,
    pub request: IdempotentRequest,
}

/// A transaction that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub transaction_id: TransactionId,
    /// True when an earlier request began it.
    pub replayed: bool,
}

impl Activations {
    /// Begins `activation`, or finds that it was begun before.
    ///
    /// # Errors
    /// `OfferNotFound`, `InsufficientBalance`, `IdempotencyKeyReused`, `TooManyPurchases`, `Overloaded`, `Conflict`, or
    /// the log's own.
    pub async fn activate(&self, activation: &Activation, metadata: Metadata) -> Result<Accepted, Error> {
        let event = |terms| requested(activation, terms);
        self.begin(&activation.request, activation.user_id, activation.offer_id, metadata, event).await
    }

    /// Begins the transaction whose first event `requested` makes from the offer's current terms, or
    /// finds that it was begun before.
    ///
    /// The usual case costs one commit and nothing else. Whether the request is a repeat is looked up
    /// only when the answer would be a refusal: the log itself recognises a repeat before it looks at
    /// money or the offer's version.
    pub(super) async fn begin(
        &self,
        request: &IdempotentRequest,
        user_id: UserId,
        offer_id: OfferId,
        metadata: Metadata,
        requested: impl Fn(Terms) -> ActivationRequested + Sync,
    ) -> Result<Accepted, Error> {
        let transaction_id = TransactionId(request.event_id());
        let metadata = request.metadata(metadata);
        let requested = &requested;
        let plan = |log| async move {
            let (terms, version) = on_sale(log, offer_id, None).await?;
            Ok(Plan::new()
                .first_command(AggregateCommand::Transaction(
                    transaction_id,
                    Command::Request(requested(terms)),
                ))
                .expect_version::<Offer>(offer_id.0, version)
                .idempotent_on(transaction_id.0))
        };
        let begin = async {
            self.overload.check(user_id.into())?;
            Ok(self.log.commit_with(&metadata, plan).await.map(drop)?)
        };
        let refusal = match self.counted(user_id, transaction_id, begin).await {
            Ok(()) => return Ok(Accepted { transaction_id, replayed: false }),
            Err(Error::Log(cause)) => return Err(Error::Log(cause)),
            Err(refusal) => refusal,
        };
        match request.previous_event(&self.log).await? {
            Some(_) => Ok(Accepted { transaction_id, replayed: true }),
            None => Err(refusal),
        }
    }

    /// Does `begin` within the limits of the user who pays. What may have been begun stays counted.
    pub(super) async fn counted(
        &self,
        user: UserId,
        id: TransactionId,
        begin: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        self.limits.count(user, id, &self.readers).await?;
        let begun = begin.await;
        if begun.as_ref().is_err_and(|error| !matches!(error, Error::Log(_))) {
            self.limits.take_back(user, id);
        }
        begun
    }
}

/// The terms of an offer that is on sale (at `price`, when the caller expects one), with the version that
/// says so. A refusal is looked up once more, because the cache may be stale.
pub(super) async fn on_sale(
    log: &EventLog,
    id: OfferId,
    price: Option<Money>,
) -> Result<(Terms, i64), ExecuteError> {
    let cached = log.load::<Offer>(id.0).await?;
    if let Ok(terms) = cached.state.sold_at(price) {
        return Ok((terms.clone(), cached.version));
    }
    let now = log.reload::<Offer>(id.0).await?;
    let terms = now.state.sold_at(price).map_err(Rejection::Offer)?;
    Ok((terms.clone(), now.version))
}

fn requested(activation: &Activation, terms: Terms) -> ActivationRequested {
    ActivationRequested {
        kind: Kind::Activation,
        user_id: activation.user_id,
        account_id: activation.user_id.into(),
        partner_id: None,
        subscription_id: None,
        offer_id: activation.offer_id,
        offer_name: terms.name,
        duration_days: terms.duration_days,
        amount: terms.price,
        partner_reference: None,
        reference: None,
    }
}
