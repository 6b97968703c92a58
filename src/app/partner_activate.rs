//! Accepts purchases through the partners' door: by a partner, for anybody, on its own float account; or
//! by a user, for that user alone, on the user's balance.
//!
//! Beside the transaction's id they have a reference for people to spell, `REF-` and 12 characters. It is
//! drawn anew for each try and stands in the first event, where a repeat reads it.

use super::activate::on_sale;
use super::idempotency::{self, Repeatable};
use crate::event_log::{AggregateCommand, EventLog, ExecuteError, LogError, Plan, Rejection};
use crate::identity::{self, Caller, Identity};
use crate::processors::callbacks::same_origin;
use domain::offer::{self, Offer, Terms};
use domain::transaction::{self, ActivationRequested, Command, Kind};
use domain::{AccountId, Event, Metadata, Money, OfferId, PartnerId, Recorded, TransactionId, UserId};
use rand::Rng;
use std::fmt;

/// What every reference begins with.
const PREFIX: &str = "REF-";
/// What follows: 62 bits.
const LENGTH: usize = 12;
const ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Our reference of a purchase, for a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(String);

impl Reference {
    /// A new one. That nobody has it already is asserted by the log.
    fn draw() -> Self {
        let mut random = rand::rng();
        let drawn = (0..LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
        Self(PREFIX.chars().chain(drawn).collect())
    }

    /// `text`, if it has the form of a reference.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let drawn = text.strip_prefix(PREFIX)?;
        let sound = drawn.len() == LENGTH && drawn.bytes().all(|byte| ALPHABET.contains(&byte));
        sound.then(|| Self(text.to_owned()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Somebody asks for an offer through the partners' door.
#[derive(Clone, Debug)]
pub struct PartnerActivation {
    /// Who asks: the partner; `None` when the user does.
    pub partner_id: Option<PartnerId>,
    /// Who gets it.
    pub user_id: UserId,
    /// What is asked for.
    pub offer_id: OfferId,
    /// The price that the caller expects.
    pub amount: Money,
    /// The caller's own reference.
    pub partner_reference: Option<String>,
    /// Where the caller wants to be told, instead of where it has registered.
    pub callback_url: Option<String>,
    /// By which it is recognised when it comes again.
    pub repeatable: Repeatable,
}

/// A purchase that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub transaction_id: TransactionId,
    /// Its reference.
    pub reference: Reference,
    /// True when an earlier request began it.
    pub replayed: bool,
}

/// Why a purchase does not begin. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has registered no URL of that origin.
    #[error("the callback URL has not the origin of the registered one")]
    CallbackUrlNotAllowed,
    /// There is no such user.
    #[error("there is no such user")]
    UserNotFound,
    /// There is no such offer, or it is not sold.
    #[error("there is no such offer on sale")]
    OfferNotFound,
    /// The amount is not the price.
    #[error("the amount is not the offer's price")]
    AmountMismatch,
    /// Whoever pays has less than the price.
    #[error("the balance is not sufficient")]
    InsufficientBalance,
    /// The caller used the key before, for something else.
    #[error("this key belongs to another request")]
    KeyReused,
    /// Others were faster, too often.
    #[error("others were faster, too often")]
    Conflict,
    /// Users could not be looked up.
    #[error(transparent)]
    Identity(identity::Error),
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

impl From<identity::Error> for Error {
    fn from(error: identity::Error) -> Self {
        match error {
            identity::Error::UserNotFound => Self::UserNotFound,
            other => Self::Identity(other),
        }
    }
}

impl From<ExecuteError> for Error {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Rejected(Rejection::Offer(offer::Error::AnotherPrice)) => Self::AmountMismatch,
            ExecuteError::Rejected(_) => Self::OfferNotFound, // a fresh transaction refuses nothing else
            ExecuteError::InsufficientFunds { .. } | ExecuteError::BalanceTooLarge { .. } => {
                Self::InsufficientBalance
            }
            ExecuteError::Repeated { .. } | ExecuteError::Conflict => Self::Conflict,
            ExecuteError::Log(cause) => Self::Log(cause),
        }
    }
}

/// Begins `activation`, or finds that it was begun before.
///
/// Whether the request was answered before is asked only when the answer would be a no: the log itself
/// recognises a repeat before it looks at money or the offer's version.
///
/// # Errors
/// In this order: `KeyReused`, `CallbackUrlNotAllowed`, `UserNotFound`, `OfferNotFound`, `AmountMismatch`, `InsufficientBalance`;
/// `Conflict`, or the log's own.
pub async fn accept(
    log: &EventLog,
    identity: &Identity,
    activation: &PartnerActivation,
    metadata: Metadata,
) -> Result<Accepted, Error> {
    let transaction_id = TransactionId(activation.repeatable.event_id());
    let reference = Reference::draw();
    let refusal = match begin(log, identity, activation, &reference, metadata).await {
        Ok(()) => return Ok(Accepted { transaction_id, reference, replayed: false }),
        Err(Error::Log(cause)) => return Err(Error::Log(cause)),
        Err(refusal) => refusal,
    };
    match activation.repeatable.answered_before(log).await? {
        Some(event) => Ok(Accepted { transaction_id, reference: reference_in(&event)?, replayed: true }),
        None => Err(refusal),
    }
}

async fn begin(
    log: &EventLog,
    identity: &Identity,
    activation: &PartnerActivation,
    reference: &Reference,
    metadata: Metadata,
) -> Result<(), Error> {
    if let Some(url) = &activation.callback_url {
        check_callback_url(identity, activation.partner_id, url).await?;
    }
    if activation.partner_id.is_some() {
        identity.get_user(activation.user_id).await?; // a user who asks exists
    }
    let metadata = Metadata { callback_url: activation.callback_url.clone(), ..metadata };
    let metadata = activation.repeatable.metadata(metadata);
    log.commit_with(&metadata, |log| plan(log, activation, reference)).await?;
    Ok(())
}

/// Only a partner has registered a URL.
async fn check_callback_url(identity: &Identity, asks: Option<PartnerId>, url: &str) -> Result<(), Error> {
    let registered = match asks {
        Some(partner) => identity.get_partner(partner).await?.callback_url,
        None => None,
    };
    match registered.is_some_and(|registered| same_origin(url, &registered)) {
        true => Ok(()),
        false => Err(Error::CallbackUrlNotAllowed),
    }
}

async fn plan(
    log: &EventLog,
    activation: &PartnerActivation,
    reference: &Reference,
) -> Result<Plan, ExecuteError> {
    let (terms, version) = on_sale(log, activation.offer_id, Some(activation.amount)).await?;
    let id = activation.repeatable.event_id();
    let request = Command::Request(activation.requested(terms, reference));
    Ok(Plan::new()
        .first_command(AggregateCommand::Transaction(TransactionId(id), request))
        .expect_version::<Offer>(activation.offer_id.0, version)
        .idempotent_on(id))
}

impl PartnerActivation {
    /// What `caller` may ask for `user_id`: a partner for anybody, a user for itself alone.
    #[must_use]
    pub fn is_open_to(caller: &Caller, user_id: UserId) -> bool {
        match caller {
            Caller::Partner { .. } => true,
            Caller::User { id, .. } => *id == user_id,
        }
    }

    fn requested(&self, terms: Terms, reference: &Reference) -> ActivationRequested {
        ActivationRequested {
            kind: Kind::Partner,
            user_id: self.user_id,
            account_id: self.partner_id.map_or(AccountId::from(self.user_id), AccountId::from),
            partner_id: self.partner_id,
            subscription_id: None,
            offer_id: self.offer_id,
            offer_name: terms.name,
            duration_days: terms.duration_days,
            amount: terms.price,
            partner_reference: self.partner_reference.clone(),
            reference: Some(reference.as_str().to_owned()),
        }
    }
}

/// The reference that an earlier request was told.
fn reference_in(event: &Recorded) -> Result<Reference, Error> {
    match Event::decode(event).map_err(LogError::from)? {
        Event::Transaction(transaction::Event::ActivationRequested(request)) => {
            request.reference.map(Reference).ok_or(Error::KeyReused)
        }
        _ => Err(Error::KeyReused), // the key's first event was another door's
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_drawn_reference_has_the_form_and_is_not_drawn_twice() {
        let drawn: HashSet<String> = (0..1000).map(|_| Reference::draw().0).collect();
        assert_eq!(drawn.len(), 1000);
        assert!(drawn.iter().all(|text| Reference::parse(text).is_some()), "{drawn:?}");
    }

    #[test]
    fn no_other_text_is_a_reference() {
        for text in
            ["", "REF-", "REF-ABCDEFGHIJK", "REF-ABCDEFGHIJKLM", "REF-abcdefghijkl", "ref-ABCDEFGHIJKL"]
        {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
        assert!(Reference::parse("REF-ABCDEF012345").is_some());
    }
}
