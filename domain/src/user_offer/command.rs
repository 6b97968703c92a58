//! Orders to a subscription.

use crate::{OfferId, Timestamp, TransactionId, UserId};

/// An order to a subscription.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Start it.
    Activate {
        /// Whose.
        user_id: UserId,
        /// Of what.
        offer_id: OfferId,
        /// The transaction that pays for it.
        transaction_id: TransactionId,
        /// How long, in days of 24 hours.
        duration_days: u32,
        /// From when.
        at: Timestamp,
    },
    /// Extend it from its end, or from `at` when it has ended.
    Renew {
        /// The transaction that pays for it.
        transaction_id: TransactionId,
        /// How long, in days of 24 hours.
        duration_days: u32,
        /// Now.
        at: Timestamp,
    },
    /// Tell that this end is near; does nothing when it has moved since.
    AnnounceExpiry {
        /// The end that was seen.
        expires_at: Timestamp,
    },
    /// Record the end, if it has come.
    Expire {
        /// Now.
        at: Timestamp,
    },
}
