//! A subscription as it is shown, folded from its events by pure functions.

mod lists;
mod table;

pub use lists::EndKey;
pub(crate) use table::{COLUMNS, bind, from_row};

use crate::Error;
use domain::user_offer::{Event, Period};
use domain::{OfferId, Recorded, SubscriptionId, Timestamp, TransactionId, UserId};

/// A subscription as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionView {
    /// Which one.
    pub subscription_id: SubscriptionId,
    /// Whose.
    pub user_id: UserId,
    /// Of what.
    pub offer_id: OfferId,
    /// The offer's name as the first activation bought it.
    pub offer_name: String,
    /// The first activation.
    pub transaction_id: TransactionId,
    /// When it first began.
    pub activation_date: Timestamp,
    /// When it ends or ended.
    pub expiration_date: Timestamp,
    /// The owner was told that this end is near.
    pub announced: bool,
    /// This end was recorded.
    pub expired: bool,
    /// The position of its first event.
    pub created_position: i64,
    /// The position of its last event.
    pub position: i64,
}

impl SubscriptionView {
    /// True while its end lies ahead.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.expiration_date > now
    }

    /// Adds what has happened since.
    pub(crate) fn advance(&mut self, change: &Change) {
        self.expiration_date = change.expiration_date.unwrap_or(self.expiration_date);
        self.announced = change.announced.unwrap_or(self.announced);
        self.expired = change.expired.unwrap_or(self.expired);
        self.position = change.position;
    }
}

/// The view of one subscription from its own stream; `None` when there is no such subscription. `offer_name` is that of
/// the transaction that began it.
///
/// # Errors
/// `Unreadable` and `Broken` for a history that this version cannot read.
pub fn fold(stream: &[Recorded], offer_name: &str) -> Result<Option<SubscriptionView>, Error> {
    Ok(Change::fold(stream)?.and_then(|change| change.to_view(offer_name)))
}

/// What some consecutive events of one subscription change; `None` where it has not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) id: SubscriptionId,
    /// Present when the events begin with the activation.
    pub(crate) activated: Option<Activated>,
    pub(crate) expiration_date: Option<Timestamp>,
    pub(crate) announced: Option<bool>,
    pub(crate) expired: Option<bool>,
    pub(crate) position: i64,
}

/// How a subscription begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Activated {
    pub(crate) period: Period,
    pub(crate) position: i64,
}

impl Change {
    /// Nothing yet; `first` is the first event that will be added.
    pub(crate) fn begin(id: SubscriptionId, first: &Recorded) -> Self {
        Self {
            id,
            activated: None,
            expiration_date: None,
            announced: None,
            expired: None,
            position: first.position,
        }
    }

    /// All of a subscription's stream; `None` if that is empty.
    pub(crate) fn fold(stream: &[Recorded]) -> Result<Option<Self>, Error> {
        let Some(first) = stream.first() else { return Ok(None) };
        let id = first.aggregate_uuid().map_err(|_| Error::no_uuid(first))?.into();
        let mut change = Self::begin(id, first);
        for recorded in stream {
            match recorded.event()? {
                domain::Event::UserOffer(event) => change.add(event, recorded),
                _ => {
                    let why = "not a subscription's event";
                    return Err(Error::Broken { position: recorded.position, why });
                }
            }
        }
        Ok(Some(change))
    }

    pub(crate) fn add(&mut self, event: &Event, recorded: &Recorded) {
        self.position = recorded.position;
        match event {
            Event::Activated(period) => {
                self.runs_until(period.expires_at);
                self.activated = Some(Activated { period: period.clone(), position: recorded.position });
            }
            Event::Renewed(period) => self.runs_until(period.expires_at),
            Event::ExpirySoon { .. } => self.announced = Some(true),
            Event::Expired { .. } => self.expired = Some(true),
        }
    }

    /// A new end is neither announced nor reached.
    fn runs_until(&mut self, end: Timestamp) {
        self.expiration_date = Some(end);
        self.announced = Some(false);
        self.expired = Some(false);
    }

    /// The whole subscription, when the change has its beginning. The events do not carry the offer's
    /// name: it is that of the transaction that began it.
    pub(crate) fn to_view(&self, offer_name: &str) -> Option<SubscriptionView> {
        let begun = self.activated.as_ref()?;
        let mut view = SubscriptionView {
            subscription_id: self.id,
            user_id: begun.period.user_id,
            offer_id: begun.period.offer_id,
            offer_name: offer_name.to_owned(),
            transaction_id: begun.period.transaction_id,
            activation_date: begun.period.starts_at,
            expiration_date: begun.period.expires_at,
            announced: false,
            expired: false,
            created_position: begun.position,
            position: begun.position,
        };
        view.advance(self);
        Some(view)
    }
}
