//! The ids: UUIDs, each kind with its own type, so that the compiler refuses a mix-up.
//!
//! Version 7 where the id is fresh, version 5 where it is derived, so that a repeat finds what the
//! first try made.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

id!(
    /// A person with an account.
    UserId
);
id!(
    /// A system that sells for people, on its own float account.
    PartnerId
);
id!(
    /// An account; its id is its owner's, a user's or a partner's.
    AccountId
);
id!(
    /// Something that can be bought.
    OfferId
);
id!(
    /// A transaction: an activation or a renewal, from request to final status.
    TransactionId
);
id!(
    /// What a user has after a successful activation; the id of a `UserOffer`.
    SubscriptionId
);

impl From<UserId> for AccountId {
    fn from(owner: UserId) -> Self {
        Self(owner.0)
    }
}

impl From<PartnerId> for AccountId {
    fn from(owner: PartnerId) -> Self {
        Self(owner.0)
    }
}

/// The namespace of every id that is derived here (version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f66_6665_7273_4150_8149_6f66_6665_7273);

impl SubscriptionId {
    /// The subscription that a successful activation starts: derived, so that a repeated success
    /// finds it instead of making a second one.
    #[must_use]
    pub fn started_by(transaction: TransactionId) -> Self {
        Self(derive(transaction.0, b's', ""))
    }
}

/// What a caller repeats so that its request has an effect once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdempotencyKey {
    /// The `Idempotency-Key` header, unquoted.
    Header(String),
    /// A partner's own reference for the transaction.
    PartnerReference(String),
}

impl IdempotencyKey {
    /// The id of the first event that a request of `caller` with this key writes: one for each pair of
    /// caller and key, so that a repeat is recognised by looking the event up, for ever and without a
    /// table of keys.
    #[must_use]
    pub fn event_id(&self, caller: Uuid) -> Uuid {
        match self {
            Self::Header(key) => derive(caller, b'k', key),
            Self::PartnerReference(reference) => derive(caller, b'r', reference),
        }
    }
}

fn derive(owner: Uuid, purpose: u8, name: &str) -> Uuid {
    let mut bytes = Vec::with_capacity(17 + name.len());
    bytes.extend_from_slice(owner.as_bytes());
    bytes.push(purpose);
    bytes.extend_from_slice(name.as_bytes());
    Uuid::new_v5(&NAMESPACE, &bytes)
}
