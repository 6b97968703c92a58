//! What happened to a transaction.

use crate::{AccountId, EVENT_VERSION, Money, OfferId, PartnerId, SubscriptionId, UserId};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};
use strum::{AsRefStr, EnumString, IntoStaticStr, VariantNames};

/// A fact about a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, AsRefStr)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type")]
pub enum Event {
    /// Accepted; the money is reserved.
    ActivationRequested(ActivationRequested),
    /// The external system is about to be asked.
    Processing {
        /// 1 for the first time.
        #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
        attempt: u32,
    },
    /// Done.
    Succeeded {
        /// The external system's reference.
        reference: String,
    },
    /// Not done and never will be.
    Failed {
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
    /// The reserved money is back.
    Refunded {
        /// Where it went.
        account_id: AccountId,
        /// All of it.
        amount: Money,
    },
}

/// What was asked for, with the offer's name, price and duration as they were then.
#[derive(Clone, Debug, PartialEq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ActivationRequested {
    /// Which way it came about.
    pub kind: Kind,
    /// Who gets the offer.
    pub user_id: UserId,
    /// Who pays: the user or the partner.
    pub account_id: AccountId,
    /// Who asked, when a partner did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub partner_id: Option<PartnerId>,
    /// The subscription that a renewal extends.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subscription_id: Option<SubscriptionId>,
    /// The offer that is bought.
    pub offer_id: OfferId,
    /// Its name then.
    pub offer_name: String,
    /// Its duration then, in days of 24 hours.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 3650)))]
    pub duration_days: u32,
    /// Its price then.
    pub amount: Money,
    /// The partner's own reference.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub partner_reference: Option<String>,
    /// Our reference for the partner: `REF-` and 12 characters of `A-Z0-9`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^REF-[A-Z0-9]{12}$")))]
    pub reference: Option<String>,
}

impl ActivationRequested {
    /// The payer is the user or the partner that asked, the amount is not negative, and a renewal (and
    /// nothing else) names a subscription.
    pub(super) fn is_sound(&self) -> bool {
        let payer = self.partner_id.map_or(AccountId::from(self.user_id), AccountId::from);
        let by_partner = self.partner_id.is_some();
        let extends = self.subscription_id.is_some();
        self.account_id == payer
            && !self.amount.is_negative()
            && extends == (self.kind == Kind::Renewal)
            && (!by_partner || self.kind == Kind::Partner)
    }
}

/// How a transaction was requested.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    AsRefStr,
    EnumString,
    IntoStaticStr,
    VariantNames,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// A user bought.
    Activation,
    /// A user extends a subscription.
    Renewal,
    /// A partner bought for a user.
    Partner,
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        self.as_ref().to_owned()
    }

    fn event_version(&self) -> String {
        EVENT_VERSION.to_owned()
    }
}
