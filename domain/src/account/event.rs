//! What happened to an account.

use crate::{Money, current_version};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};
use strum::AsRefStr;

/// A fact about an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, AsRefStr)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type")]
pub enum Event {
    /// It exists.
    Opened {
        /// What its owner is.
        kind: Kind,
    },
    /// Money came in from outside.
    Credited {
        /// More than nothing.
        amount: Money,
    },
    /// Money went outside.
    Debited {
        /// More than nothing.
        amount: Money,
    },
}

/// What the owner of an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A person.
    User,
    /// A system that sells for people.
    Partner,
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        self.as_ref().to_owned()
    }

    fn event_version(&self) -> String {
        current_version(self.as_ref()).to_owned()
    }
}
