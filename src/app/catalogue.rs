//! The catalogue: creates offers, changes them, and lists those on sale.

use super::Error;
use crate::event_log::{AggregateCommand, EventLog, LogError, Plan, Rejection, StreamId};
use crate::telemetry::chain;
use cqrs_es::Aggregate;
use domain::offer::{self, Command, Offer, Terms};
use domain::{Event, Metadata, Money, OfferId, Slice};
use projections::{NameKey, OfferView, Readers};
use std::time::Duration;
use tokio::time::Instant;

/// The longest name of an offer, in characters.
pub const MAX_NAME: usize = 100;
/// The longest description of an offer, in characters.
pub const MAX_DESCRIPTION: usize = 2000;
/// How long `read_back` waits for the read tables.
const READ_BACK: Duration = Duration::from_secs(5);

pub struct Catalogue {
    log: EventLog,
    readers: Readers,
}

/// What changes; an absent member stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    pub name: Option<String>,
    pub description: Option<String>,
    /// For those who buy from now on.
    pub price: Option<Money>,
    /// Days of 24 hours.
    pub duration_days: Option<u32>,
    pub is_active: Option<bool>,
}

impl Catalogue {
    #[must_use]
    pub fn new(log: EventLog, readers: Readers) -> Self {
        Self { log, readers }
    }

    /// Creates an offer, on sale or not yet, and returns the position of its event.
    pub async fn create(
        &self,
        id: OfferId,
        terms: Terms,
        on_sale: bool,
        metadata: &Metadata,
    ) -> Result<Option<i64>, Error> {
        let command = if on_sale { Command::Create(terms) } else { Command::Prepare(terms) };
        self.commit(id, command, metadata).await
    }

    /// Changes an offer, and returns the position of its last new event; `None` when nothing changed.
    ///
    /// New terms and going on or off sale are two commits, in the order in which nobody can buy on terms
    /// that were not meant to be sold. Repeating the change completes it.
    ///
    /// # Errors
    /// `OfferNotFound`, `Conflict`, or the log's own.
    pub async fn change(
        &self,
        id: OfferId,
        change: &Change,
        metadata: &Metadata,
    ) -> Result<Option<i64>, Error> {
        let before = match change.is_active {
            Some(false) => self.commit(id, Command::Deactivate, metadata).await?,
            Some(true) | None => None,
        };
        let changed = self.change_terms(id, change, metadata).await?;
        let after = match change.is_active {
            Some(true) => self.commit(id, Command::Reactivate, metadata).await?,
            Some(false) | None => None,
        };
        Ok(after.or(changed).or(before))
    }

    /// The offer as the log has it, once the read tables contain `position`. When they are slow the offer
    /// is returned anyway: it is written, and an error would make the client write it twice.
    ///
    /// # Errors
    /// `OfferNotFound`, or the log's own.
    pub async fn read_back(&self, id: OfferId, position: Option<i64>) -> Result<OfferView, Error> {
        if let Some(position) = position {
            let reached = self.readers.checkpoint().wait_for(position, Instant::now() + READ_BACK).await;
            if let Err(error) = reached {
                tracing::warn!(
                    error = %chain(&error),
                    offer_id = %id,
                    "offer {id} was changed, but the read tables do not show it yet"
                );
            }
        }
        self.as_logged(id).await?.ok_or(Error::OfferNotFound)
    }

    /// The offers on sale, by name.
    pub async fn on_sale(
        &self,
        after: Option<NameKey>,
        limit: u32,
    ) -> Result<Slice<OfferView, NameKey>, Error> {
        self.list(Some(true), after, limit).await
    }

    /// The offers, by name: all, those on sale, or those off sale.
    pub async fn list(
        &self,
        on_sale: Option<bool>,
        after: Option<NameKey>,
        limit: u32,
    ) -> Result<Slice<OfferView, NameKey>, Error> {
        Ok(self.readers.offers(on_sale, after, limit).await?)
    }

    /// The offer `id`, on sale or not.
    ///
    /// # Errors
    /// `OfferNotFound`, or the read tables' own.
    pub async fn find(&self, id: OfferId) -> Result<OfferView, Error> {
        self.readers.offer(id).await?.ok_or(Error::OfferNotFound)
    }

    /// The offer from its own stream, which is never behind.
    async fn as_logged(&self, id: OfferId) -> Result<Option<OfferView>, Error> {
        let events = self.log.stream(StreamId::of::<Offer>(id.0)).await?;
        let mut offer = Offer::default();
        for recorded in &events {
            if let Event::Offer(event) = recorded.event().map_err(LogError::from)? {
                offer.apply(event.clone());
            }
        }
        let (Some(first), Some(last), Some(terms)) = (events.first(), events.last(), offer.terms()) else {
            return Ok(None);
        };
        Ok(Some(OfferView {
            offer_id: id,
            terms: terms.clone(),
            is_active: matches!(offer, Offer::Active(_)),
            created_at: first.recorded_at,
            updated_at: last.recorded_at,
            position: last.position,
        }))
    }

    async fn commit(&self, id: OfferId, command: Command, metadata: &Metadata) -> Result<Option<i64>, Error> {
        let plan = Plan::new().command(AggregateCommand::Offer(id, command));
        Ok(self.log.commit(metadata, plan).await?.position())
    }

    /// Changes the current terms, which are looked up again on every try: so two changes of different
    /// members at the same time both last.
    async fn change_terms(
        &self,
        id: OfferId,
        change: &Change,
        metadata: &Metadata,
    ) -> Result<Option<i64>, Error> {
        let outcome = self.log.commit_with(metadata, |log| async move {
            let offer = log.reload::<Offer>(id.0).await?;
            let Some(terms) = offer.state.terms() else {
                return Err(Rejection::Offer(offer::Error::NeverCreated).into());
            };
            let terms = change.applied_to(terms.clone());
            let plan = Plan::new().command(AggregateCommand::Offer(id, Command::Change(terms)));
            Ok(plan.expect_version::<Offer>(id.0, offer.version))
        });
        Ok(outcome.await?.position())
    }
}

impl Change {
    fn applied_to(&self, terms: Terms) -> Terms {
        Terms {
            name: self.name.clone().unwrap_or(terms.name),
            description: self.description.clone().unwrap_or(terms.description),
            price: self.price.unwrap_or(terms.price),
            duration_days: self.duration_days.unwrap_or(terms.duration_days),
        }
    }
}
