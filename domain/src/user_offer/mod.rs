//! A subscription: what a user has of an offer, from when until when.

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use error::Error;
pub use event::{Event, Period};

use crate::{OfferId, Rules, Timestamp, TransactionId, UserId, rules};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

/// The state of one subscription.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum UserOffer {
    /// Nothing was activated yet.
    #[default]
    None,
    /// Activated, and maybe ended since.
    Subscribed(Subscribed),
}

/// An existing subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscribed {
    /// Whose.
    pub user_id: UserId,
    /// Of what.
    pub offer_id: OfferId,
    /// When it ends or ended.
    pub expires_at: Timestamp,
    /// Every transaction that is already in it, so that no transaction counts twice.
    pub paid_by: Vec<TransactionId>,
    /// The owner was told that this end is near.
    pub announced: bool,
    /// This end was recorded.
    pub expired: bool,
}

impl UserOffer {
    fn begin(&mut self, period: &Period) {
        let mut paid_by = match std::mem::take(self) {
            Self::None => Vec::new(),
            Self::Subscribed(earlier) => earlier.paid_by,
        };
        paid_by.push(period.transaction_id);
        *self = Self::Subscribed(Subscribed {
            user_id: period.user_id,
            offer_id: period.offer_id,
            expires_at: period.expires_at,
            paid_by,
            announced: false,
            expired: false,
        });
    }
}

impl Rules for UserOffer {
    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::None, Command::Activate { user_id, offer_id, transaction_id, duration_days, at }) => {
                let expires_at = at.plus_days(duration_days);
                Ok(vec![Event::Activated(Period {
                    user_id,
                    offer_id,
                    transaction_id,
                    starts_at: at,
                    expires_at,
                })])
            }
            (Self::None, _) => Err(Error::NeverActivated),

            (
                Self::Subscribed(now),
                Command::Activate { transaction_id, .. } | Command::Renew { transaction_id, .. },
            ) if now.paid_by.contains(&transaction_id) => {
                Ok(vec![]) // that transaction is already in it
            }
            (Self::Subscribed(_), Command::Activate { .. }) => Err(Error::AlreadyActivated),
            (Self::Subscribed(now), Command::Renew { transaction_id, duration_days, at }) => {
                let starts_at = now.expires_at.max(at); // a running one is extended, an ended one restarts
                Ok(vec![Event::Renewed(Period {
                    user_id: now.user_id,
                    offer_id: now.offer_id,
                    transaction_id,
                    starts_at,
                    expires_at: starts_at.plus_days(duration_days),
                })])
            }

            (Self::Subscribed(now), Command::AnnounceExpiry { expires_at }) => {
                let current = now.expires_at == expires_at && !now.announced && !now.expired;
                Ok(if current { vec![now.expiry_soon()] } else { vec![] }) // else renewed or told already
            }
            (Self::Subscribed(now), Command::Expire { at }) => {
                let ended = now.expires_at <= at && !now.expired;
                Ok(if ended { vec![now.expired()] } else { vec![] }) // else renewed or recorded already
            }
        }
    }
}

impl Subscribed {
    fn expiry_soon(&self) -> Event {
        Event::ExpirySoon { user_id: self.user_id, offer_id: self.offer_id, expires_at: self.expires_at }
    }

    fn expired(&self) -> Event {
        Event::Expired { user_id: self.user_id, offer_id: self.offer_id, expires_at: self.expires_at }
    }
}

impl Aggregate for UserOffer {
    const TYPE: &'static str = "UserOffer";
    type Command = Command;
    type Event = Event;
    type Error = Error;
    type Services = ();

    async fn handle(&mut self, command: Command, (): &(), sink: &EventSink<Self>) -> Result<(), Error> {
        rules::handle(self, command, sink).await
    }

    fn apply(&mut self, event: Event) {
        match (self, event) {
            (state, Event::Activated(period) | Event::Renewed(period)) => state.begin(&period),
            (Self::Subscribed(now), Event::ExpirySoon { .. }) => now.announced = true,
            (Self::Subscribed(now), Event::Expired { .. }) => now.expired = true,
            (Self::None, Event::ExpirySoon { .. } | Event::Expired { .. }) => {} // no rule writes this
        }
    }
}
