//! An offer as it is shown, folded from its events by pure functions.

mod hash;
mod lists;
mod table;

pub(crate) use hash::{fields, key};
pub use lists::NameKey;
pub(crate) use table::{COLUMNS, bind, from_row};

use domain::offer::{Event, Terms};
use domain::{OfferId, Recorded, Timestamp};

/// An offer as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferView {
    /// Which one.
    pub offer_id: OfferId,
    /// Name, description, price and duration.
    pub terms: Terms,
    /// On sale.
    pub is_active: bool,
    /// When it went on sale.
    pub created_at: Timestamp,
    /// When something last happened to it.
    pub updated_at: Timestamp,
    /// The position of its last event.
    pub position: i64,
}

impl OfferView {
    /// Adds what has happened since.
    pub(crate) fn advance(&mut self, change: Change) {
        if let Some(terms) = change.terms {
            self.terms = terms;
        }
        self.is_active = change.is_active.unwrap_or(self.is_active);
        self.updated_at = change.updated_at;
        self.position = change.position;
    }
}

/// What some consecutive events of one offer change; `None` where it has not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) id: OfferId,
    /// Present when the events begin with the creation.
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) terms: Option<Terms>,
    pub(crate) is_active: Option<bool>,
    pub(crate) updated_at: Timestamp,
    pub(crate) position: i64,
}

impl Change {
    /// Nothing yet; `first` is the first event that will be added.
    pub(crate) fn begin(id: OfferId, first: &Recorded) -> Self {
        Self {
            id,
            created_at: None,
            terms: None,
            is_active: None,
            updated_at: first.recorded_at,
            position: first.position,
        }
    }

    pub(crate) fn add(&mut self, event: &Event, recorded: &Recorded) {
        self.updated_at = recorded.recorded_at;
        self.position = recorded.position;
        match event {
            Event::Created(terms) => {
                self.created_at = Some(recorded.recorded_at);
                self.terms = Some(terms.clone());
                self.is_active = Some(true);
            }
            Event::Changed(terms) => self.terms = Some(terms.clone()),
            Event::Deactivated {} => self.is_active = Some(false),
            Event::Reactivated {} => self.is_active = Some(true),
        }
    }

    /// The whole offer, when the change has its beginning.
    pub(crate) fn into_view(self) -> Option<OfferView> {
        Some(OfferView {
            offer_id: self.id,
            created_at: self.created_at?,
            terms: self.terms?,
            is_active: self.is_active?,
            updated_at: self.updated_at,
            position: self.position,
        })
    }
}

impl From<OfferView> for Change {
    fn from(view: OfferView) -> Self {
        Self {
            id: view.offer_id,
            created_at: Some(view.created_at),
            terms: Some(view.terms),
            is_active: Some(view.is_active),
            updated_at: view.updated_at,
            position: view.position,
        }
    }
}
