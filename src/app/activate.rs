//! Accepts purchases: the money is reserved and the purchase begun in one commit.

use super::idempotency::{self, Repeatable};
use crate::event_log::{AggregateCommand, EventLog, ExecuteError, LogError, Plan, Rejection};
use domain::offer::{Offer, Terms};
use domain::transaction::{ActivationRequested, Command, Kind};
use domain::{Metadata, Money, OfferId, TransactionId, UserId};

/// A user asks for an offer.
#[derive(Clone, Debug)]
pub struct Activation {
    /// Who gets it and pays for it.
    pub user_id: UserId,
    /// What is asked for.
    pub offer_id: OfferId,
    /// By which it is recognised when it comes again.
    pub repeatable: Repeatable,
}

/// A purchase that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub transaction_id: TransactionId,
    /// True when an earlier request began it.
    pub replayed: bool,
}

/// Why a purchase does not begin. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such offer, or it is not sold.
    #[error("there is no such offer on sale")]
    OfferNotFound,
    /// The buyer has less than the price.
    #[error("the balance is not sufficient")]
    InsufficientBalance,
    /// The caller used the key before, for something else.
    #[error("this key belongs to another request")]
    KeyReused,
    /// Others were faster, too often.
    #[error("others were faster, too often")]
    Conflict,
    /// The log could not do it, or (`OutcomeUnknown`) may have done it.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<idempotency::Error> for Error {
    fn from(error: idempotency::Error) -> Self {
        match error {
            idempotency::Error::KeyReused => Self::KeyReused,
            idempotency::Error::Log(cause) => Self::Log(cause),
        }
    }
}

/// Begins `activation`, or finds that it was begun before.
///
/// The usual case costs one commit and nothing else. Whether the request was answered before is
/// asked only when the answer would be a no: the log itself recognises a repeat before it looks at
/// money or the offer's version.
///
/// # Errors
/// `OfferNotFound`, `InsufficientBalance`, `KeyReused`, `Conflict`, or the log's own.
pub async fn accept(log: &EventLog, activation: &Activation, metadata: Metadata) -> Result<Accepted, Error> {
    let request = |terms| requested(activation, terms);
    begin(log, &activation.repeatable, activation.offer_id, metadata, request).await
}

/// Begins the purchase that `request` makes of the offer's terms of today, or finds that it was begun
/// before.
///
/// # Errors
/// As `accept`.
pub(crate) async fn begin(
    log: &EventLog,
    repeatable: &Repeatable,
    offer_id: OfferId,
    metadata: Metadata,
    request: impl Fn(Terms) -> ActivationRequested + Sync,
) -> Result<Accepted, Error> {
    let transaction_id = TransactionId(repeatable.event_id());
    let metadata = repeatable.metadata(metadata);
    let plan = |_| async {
        let (terms, version) = on_sale(log, offer_id, None).await?;
        Ok(Plan::new()
            .first_command(AggregateCommand::Transaction(transaction_id, Command::Request(request(terms))))
            .expect_version::<Offer>(offer_id.0, version)
            .idempotent_on(transaction_id.0))
    };
    let refusal = match log.commit_with(&metadata, plan).await {
        Ok(_) => return Ok(Accepted { transaction_id, replayed: false }),
        Err(ExecuteError::Log(cause)) => return Err(Error::Log(cause)),
        Err(refusal) => refusal,
    };
    match repeatable.answered_before(log).await? {
        Some(_) => Ok(Accepted { transaction_id, replayed: true }),
        None => Err(refused(refusal)),
    }
}

/// The terms of an offer that is sold (at `price`, when somebody expects one), with the version that says
/// so. A no is looked up once more, because what is cached may be stale.
pub(crate) async fn on_sale(
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

fn refused(refusal: ExecuteError) -> Error {
    match refusal {
        ExecuteError::Rejected(_) => Error::OfferNotFound, // a fresh transaction refuses nothing else
        ExecuteError::InsufficientFunds { .. } | ExecuteError::BalanceTooLarge { .. } => {
            Error::InsufficientBalance
        }
        ExecuteError::Repeated { .. } | ExecuteError::Conflict => Error::Conflict,
        ExecuteError::Log(cause) => Error::Log(cause),
    }
}
