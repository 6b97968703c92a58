//! What administrators search by: any id, a username, a mail address, a reference, a position. Each is one look-up by index.

use super::Error;
use super::partner_activate::Reference;
use crate::event_log::{EventLog, LogError};
use crate::identity::{self, Identity, Partner, User};
use domain::transaction::Event;
use domain::{OfferId, PartnerId, Recorded, SubscriptionId, TransactionId, UserId};
use projections::{OfferView, Readers, SubscriptionView, TransactionView};
use std::sync::Arc;
use uuid::Uuid;

/// Things that are found at most.
pub const FOUND_MAX: usize = 20;
/// The same, for a query.
const LIMIT: i64 = FOUND_MAX as i64;

pub struct Search {
    log: EventLog,
    readers: Readers,
    identity: Arc<Identity>,
}

pub enum Found {
    User(Box<User>),
    Partner(Box<Partner>),
    Offer(Box<OfferView>),
    Transaction(Box<TransactionView>),
    Subscription(Box<SubscriptionView>),
    Event(Recorded),
}

impl Search {
    #[must_use]
    pub fn new(log: EventLog, readers: Readers, identity: Arc<Identity>) -> Self {
        Self { log, readers, identity }
    }

    /// What `text` names, then users whose name or mail address begins with it.
    pub async fn find(&self, text: &str) -> Result<Vec<Found>, Error> {
        let text = text.trim();
        if let Some(position) = text.strip_prefix('#').and_then(|digits| digits.parse().ok()) {
            return Ok(self.log.event_at(position).await?.map(Found::Event).into_iter().collect());
        }
        let mut found = match Uuid::try_parse(text) {
            Ok(id) => self.by_id(id).await?,
            Err(_) => Vec::new(),
        };
        found.extend(self.by_reference(text).await?);
        let users = self.identity.users_by_prefix(text, LIMIT).await?;
        found.extend(users.into_iter().map(|user| Found::User(Box::new(user))));
        found.truncate(FOUND_MAX);
        Ok(found)
    }

    async fn by_id(&self, id: Uuid) -> Result<Vec<Found>, Error> {
        let derived = async {
            let (transaction, subscription, offer) = tokio::try_join!(
                self.readers.transaction(TransactionId(id)),
                self.readers.subscription(SubscriptionId(id)),
                self.readers.offer(OfferId(id)),
            )?;
            Ok::<_, Error>((transaction, subscription, offer))
        };
        let event = async { Ok::<_, Error>(self.log.find_event(id).await?) };
        let ((transaction, subscription, offer), owner, event) =
            tokio::try_join!(derived, self.owner(id), event)?;
        let transaction = transaction.map(|view| Found::Transaction(Box::new(view)));
        let subscription = subscription.map(|view| Found::Subscription(Box::new(view)));
        let offer = offer.map(|view| Found::Offer(Box::new(view)));
        let found = [transaction, subscription, owner, offer, event.map(Found::Event)];
        Ok(found.into_iter().flatten().collect())
    }

    async fn owner(&self, id: Uuid) -> Result<Option<Found>, Error> {
        match self.identity.get_user(UserId(id)).await {
            Ok(user) => return Ok(Some(Found::User(Box::new(user)))),
            Err(identity::Error::UserNotFound) => {}
            Err(cause) => return Err(cause.into()),
        }
        match self.identity.get_partner(PartnerId(id)).await {
            Ok(partner) => Ok(Some(Found::Partner(Box::new(partner)))),
            Err(identity::Error::PartnerNotFound) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }

    /// The transactions with a reference of ours, of the partner's own, or of the activation system.
    async fn by_reference(&self, text: &str) -> Result<Vec<Found>, Error> {
        let ours = async {
            match Reference::parse(&text.to_ascii_uppercase()) {
                Some(reference) => self.readers.transaction_by_reference(reference.as_str()).await,
                None => Ok(None),
            }
        };
        let of_partner = self.readers.transactions_by_partner_reference(text, LIMIT);
        let charges = self.readers.charges_with_reference(text, LIMIT);
        let (ours, of_partner, charges) = tokio::try_join!(ours, of_partner, charges)?;
        let charged = self.charged(&charges, text).await?;
        let charged = self.readers.transactions_with_ids(&charged).await?;
        let found = ours.into_iter().chain(of_partner).chain(charged);
        Ok(found.map(|view| Found::Transaction(Box::new(view))).collect())
    }

    /// The transactions that succeeded at `positions` with exactly this reference.
    async fn charged(&self, positions: &[i64], reference: &str) -> Result<Vec<TransactionId>, LogError> {
        if positions.is_empty() {
            return Ok(Vec::new());
        }
        let mut charged = Vec::new();
        for event in self.log.events_at(positions).await? {
            if let domain::Event::Transaction(Event::Succeeded { reference: known }) = event.event()?
                && known == reference
                && let Ok(id) = event.aggregate_uuid()
            {
                charged.push(id.into());
            }
        }
        Ok(charged)
    }
}
