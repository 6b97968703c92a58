//! An offer of the catalogue: its terms, and whether it is on sale.

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use error::Error;
pub use event::{Event, Terms};

use crate::{Money, Rules, rules};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// How long an offer may run, in days.
pub const DURATION_DAYS: RangeInclusive<u32> = 1..=3650;

/// The state of one offer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Offer {
    /// There is no such offer yet.
    #[default]
    None,
    /// On sale.
    Active(Terms),
    /// Not on sale; existing subscriptions continue.
    Inactive(Terms),
}

impl Offer {
    /// Its terms, on sale or not.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        match self {
            Self::None => None,
            Self::Active(terms) | Self::Inactive(terms) => Some(terms),
        }
    }
}

impl Offer {
    /// The terms on which it is sold now, to a buyer who expects `price` (`None`: any price).
    ///
    /// # Errors
    /// `NotOnSale`, `AnotherPrice`.
    pub fn sold_at(&self, price: Option<Money>) -> Result<&Terms, Error> {
        match self {
            Self::None | Self::Inactive(_) => Err(Error::NotOnSale),
            Self::Active(terms) if price.is_some_and(|price| price != terms.price) => {
                Err(Error::AnotherPrice)
            }
            Self::Active(terms) => Ok(terms),
        }
    }
}

impl Rules for Offer {
    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (_, Command::Create(terms) | Command::Prepare(terms) | Command::Change(terms))
                if !terms.are_sound() =>
            {
                Err(Error::UnsoundTerms)
            }
            (Self::None, Command::Create(terms)) => Ok(vec![Event::Created(terms)]),
            (Self::None, Command::Prepare(terms)) => Ok(vec![Event::Created(terms), Event::Deactivated {}]),
            (_, Command::Create(terms) | Command::Prepare(terms)) if self.terms() == Some(&terms) => {
                Ok(vec![]) // a repeat
            }
            (_, Command::Create(_) | Command::Prepare(_)) => Err(Error::AlreadyCreated),
            (Self::None, _) => Err(Error::NeverCreated),

            (Self::Active(now) | Self::Inactive(now), Command::Change(terms)) if *now == terms => Ok(vec![]),
            (_, Command::Change(terms)) => Ok(vec![Event::Changed(terms)]),

            (Self::Active(_), Command::Deactivate) => Ok(vec![Event::Deactivated {}]),
            (Self::Inactive(_), Command::Reactivate) => Ok(vec![Event::Reactivated {}]),
            (Self::Inactive(_), Command::Deactivate) | (Self::Active(_), Command::Reactivate) => Ok(vec![]),
        }
    }
}

impl Aggregate for Offer {
    const TYPE: &'static str = "Offer";
    type Command = Command;
    type Event = Event;
    type Error = Error;
    type Services = ();

    async fn handle(&mut self, command: Command, (): &(), sink: &EventSink<Self>) -> Result<(), Error> {
        rules::handle(self, command, sink).await
    }

    fn apply(&mut self, event: Event) {
        *self = match (std::mem::take(self), event) {
            (_, Event::Created(terms)) => Self::Active(terms),
            (Self::Active(_), Event::Changed(terms)) => Self::Active(terms),
            (Self::Inactive(_), Event::Changed(terms)) => Self::Inactive(terms),
            (Self::Active(terms), Event::Deactivated {}) => Self::Inactive(terms),
            (Self::Inactive(terms), Event::Reactivated {}) => Self::Active(terms),
            (state, _) => state, // no rule writes such a history
        };
    }
}
