//! What happened to a subscription.

use crate::{OfferId, Timestamp, TransactionId, UserId, current_version};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};
use strum::AsRefStr;

/// A fact about a subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, AsRefStr)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type")]
pub enum Event {
    /// It began.
    Activated(Period),
    /// It goes on.
    Renewed(Period),
    /// It ends within days.
    ExpirySoon {
        /// Whose.
        user_id: UserId,
        /// Of what.
        offer_id: OfferId,
        /// When.
        expires_at: Timestamp,
    },
    /// It has ended.
    Expired {
        /// Whose.
        user_id: UserId,
        /// Of what.
        offer_id: OfferId,
        /// When.
        expires_at: Timestamp,
    },
}

/// A time that was paid for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Period {
    /// Whose.
    pub user_id: UserId,
    /// Of what.
    pub offer_id: OfferId,
    /// The transaction that paid.
    pub transaction_id: TransactionId,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        self.as_ref().to_owned()
    }

    fn event_version(&self) -> String {
        current_version(self.as_ref()).to_owned()
    }
}
