//! Accepts transactions through the partners' API: by a partner, for any user, on its own float account;
//! or by a user, for that user alone, on the user's balance.
//!
//! In addition to its id such a transaction has a reference that people can spell, `REF-` and 12
//! characters. It is drawn again for each try and written in the first event, where a repeat reads it.

use super::Error;
use super::activate::{Activations, on_sale};
use super::idempotency::IdempotentRequest;
use crate::event_log::{AggregateCommand, EventLog, ExecuteError, LogError, Plan};
use crate::identity::{self, CallbackUrl, Caller};
use domain::offer::{Offer, Terms};
use domain::transaction::{self, ActivationRequested, Command, Kind};
use domain::{AccountId, Event, Metadata, Money, OfferId, PartnerId, Recorded, TransactionId, UserId};
use rand::Rng;
use std::fmt;

/// What every reference begins with.
const PREFIX: &str = "REF-";
/// What follows: 62 bits.
const LENGTH: usize = 12;
const ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Our reference of a transaction, for a partner.
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

/// Whom an offer is bought for, as the caller says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Customer {
    Id(UserId),
    /// By the exact username. Events are kept for ever and have no names, so no name is recorded.
    Named(String),
}

/// A partner or a user asks for an offer through the partners' API.
#[derive(Clone, Debug)]
pub struct PartnerActivation {
    /// The partner who asks; `None` when the customer does.
    pub partner_id: Option<PartnerId>,
    pub customer: Customer,
    pub offer_id: OfferId,
    /// The price that the caller expects.
    pub amount: Money,
    pub partner_reference: Option<String>,
    /// Where the callback goes instead of the registered URL.
    pub callback_url: Option<String>,
    pub request: IdempotentRequest,
}

/// A transaction that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub transaction_id: TransactionId,
    pub reference: Reference,
    /// True when an earlier request began it.
    pub replayed: bool,
}

impl Activations {
    /// Begins `activation`, or finds that it was begun before.
    ///
    /// Whether the request is a repeat is looked up only when the answer would be a refusal: the log itself
    /// recognises a repeat before it looks at money or the offer's version.
    ///
    /// # Errors
    /// In this order: `IdempotencyKeyReused`, `CallbackUrlNotAllowed`, `UnknownUser`, `UnknownOffer`,
    /// `AmountMismatch`, `InsufficientBalance`; `TooManyPurchases`, `Overloaded`, `Conflict`, or the log's own.
    pub async fn activate_for_partner(
        &self,
        activation: &PartnerActivation,
        metadata: Metadata,
    ) -> Result<Accepted, Error> {
        let transaction_id = TransactionId(activation.request.event_id());
        let reference = Reference::draw();
        let begin = self.begin_for_partner(activation, &reference, metadata);
        let begun = match (activation.partner_id, &activation.customer) {
            (None, Customer::Id(user)) => self.counted(*user, transaction_id, begin).await,
            _ => begin.await,
        };
        let refusal = match begun {
            Ok(()) => return Ok(Accepted { transaction_id, reference, replayed: false }),
            Err(Error::Log(cause)) => return Err(Error::Log(cause)),
            Err(refusal) => refusal,
        };
        if activation.callback_url.as_ref().is_some_and(|url| url.contains('?')) {
            self.callbacks.forget_own_url(reference.as_str()).await; // others are not kept
        }
        match activation.request.previous_event(&self.log).await? {
            Some(event) => {
                let (reference, user) = written_in(&event)?;
                self.check_same_customer(&activation.customer, user).await?;
                Ok(Accepted { transaction_id, reference, replayed: true })
            }
            None => Err(refusal),
        }
    }

    async fn begin_for_partner(
        &self,
        activation: &PartnerActivation,
        reference: &Reference,
        metadata: Metadata,
    ) -> Result<(), Error> {
        self.check_overload(activation)?;
        let callback_url = match &activation.callback_url {
            Some(url) => Some(self.own_callback_url(activation.partner_id, url).await?),
            None => None,
        };
        let user = match (activation.partner_id, &activation.customer) {
            (None, Customer::Id(user)) => *user, // who asks exists
            (_, customer) => self.active_user(customer).await?,
        };
        if let Some(url) = &callback_url {
            self.callbacks.keep_own_url(reference.as_str(), url).await.map_err(identity::Error::from)?;
        }
        let callback_url = callback_url.map(|url| url.without_query().to_owned());
        let metadata = Metadata { callback_url, ..metadata };
        let metadata = activation.request.metadata(metadata);
        let committed = self.log.commit_with(&metadata, |log| plan(log, activation, user, reference)).await;
        match committed.map_err(Error::from) {
            Ok(_) => Ok(()),
            Err(Error::OfferNotFound) => Err(Error::UnknownOffer),
            Err(refusal) => Err(refusal),
        }
    }

    /// For the account that pays; a user who asks is the customer.
    fn check_overload(&self, activation: &PartnerActivation) -> Result<(), Error> {
        match (activation.partner_id, &activation.customer) {
            (Some(partner), _) => self.overload.check(partner.into()),
            (None, Customer::Id(user)) => self.overload.check((*user).into()),
            (None, Customer::Named(_)) => Ok(()), // `customer_of` has made an id of a user's own name
        }
    }

    /// Only a partner has registered a URL.
    async fn own_callback_url(&self, caller: Option<PartnerId>, url: &str) -> Result<CallbackUrl, Error> {
        let registered = match caller {
            Some(partner) => self.identity.get_partner(partner).await?.callback_url,
            None => None,
        };
        let registered = registered.and_then(|registered| CallbackUrl::parse(&registered).ok());
        match (CallbackUrl::parse(url), registered) {
            (Ok(url), Some(registered)) if url.same_origin(&registered) => Ok(url),
            _ => Err(Error::CallbackUrlNotAllowed),
        }
    }

    async fn active_user(&self, customer: &Customer) -> Result<UserId, Error> {
        let found = match customer {
            Customer::Id(id) => self.identity.get_user(*id).await,
            Customer::Named(name) => self.identity.user_named_exactly(name).await,
        };
        match found {
            Ok(user) if user.is_active => Ok(user.id),
            Ok(_) | Err(identity::Error::UserNotFound) => Err(Error::UnknownUser),
            Err(cause) => Err(cause.into()),
        }
    }

    /// A repeat by name is for the user that the first request found. A user whose row is gone is believed to have
    /// had the name.
    async fn check_same_customer(&self, customer: &Customer, user: UserId) -> Result<(), Error> {
        let Customer::Named(name) = customer else { return Ok(()) }; // an id is part of what was compared
        match self.identity.get_user(user).await {
            Ok(user) if user.is_named(name) => Ok(()),
            Ok(_) => Err(Error::IdempotencyKeyReused),
            Err(identity::Error::UserNotFound) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }

    /// The customer, if `caller` may buy for it: a partner for anybody, a user for itself alone.
    pub async fn customer_of(&self, caller: &Caller, customer: Customer) -> Result<Option<Customer>, Error> {
        let Caller::User { id, .. } = caller else { return Ok(Some(customer)) };
        let is_own = match &customer {
            Customer::Id(user) => user == id,
            Customer::Named(name) => self.identity.get_user(*id).await?.is_named(name),
        };
        Ok(is_own.then_some(Customer::Id(*id)))
    }
}

async fn plan(
    log: &EventLog,
    activation: &PartnerActivation,
    user: UserId,
    reference: &Reference,
) -> Result<Plan, ExecuteError> {
    let (terms, version) = on_sale(log, activation.offer_id, Some(activation.amount)).await?;
    let id = activation.request.event_id();
    let request = Command::Request(activation.requested(user, terms, reference));
    Ok(Plan::new()
        .first_command(AggregateCommand::Transaction(TransactionId(id), request))
        .expect_version::<Offer>(activation.offer_id.0, version)
        .idempotent_on(id))
}

impl PartnerActivation {
    fn requested(&self, user_id: UserId, terms: Terms, reference: &Reference) -> ActivationRequested {
        ActivationRequested {
            kind: Kind::Partner,
            user_id,
            account_id: self.partner_id.map_or(AccountId::from(user_id), AccountId::from),
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

/// The reference that the earlier request drew, and the user it was for.
fn written_in(event: &Recorded) -> Result<(Reference, UserId), Error> {
    match event.event().map_err(LogError::from)? {
        Event::Transaction(transaction::Event::ActivationRequested(request)) => {
            let reference = request.reference.clone().ok_or(Error::IdempotencyKeyReused)?;
            Ok((Reference(reference), request.user_id))
        }
        _ => Err(Error::IdempotencyKeyReused), // another kind of request used the key
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
