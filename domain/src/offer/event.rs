//! What happened to an offer.

use super::DURATION_DAYS;
use crate::{Money, current_version};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};
use strum::AsRefStr;

/// A fact about an offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, AsRefStr)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type")]
pub enum Event {
    /// It went on sale.
    Created(Terms),
    /// Its terms are these from now on.
    Changed(Terms),
    /// It went off sale.
    Deactivated {},
    /// It is on sale again.
    Reactivated {},
}

/// The terms of an offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Terms {
    /// For people.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// 0.00 or more.
    pub price: Money,
    /// Days of 24 hours, 1 to 3650.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 3650)))]
    pub duration_days: u32,
}

impl Terms {
    pub(super) fn are_sound(&self) -> bool {
        !self.name.is_empty() && !self.price.is_negative() && DURATION_DAYS.contains(&self.duration_days)
    }
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        self.as_ref().to_owned()
    }

    fn event_version(&self) -> String {
        current_version(self.as_ref()).to_owned()
    }
}
