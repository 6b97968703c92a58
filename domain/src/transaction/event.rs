//! What happened to a transaction.

use crate::{AccountId, Money, OfferId, PartnerId, SubscriptionId, UserId, current_version};
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
    /// A call ended without a definite answer.
    AttemptFailed {
        /// The attempt that it belongs to, 1 for the first.
        #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
        attempt: u32,
        /// What was called.
        kind: AttemptKind,
        /// What is known about it.
        evidence: Evidence,
        /// What happened, for people.
        detail: String,
    },
    /// The external system is about to be asked never to do it. Recorded once between two attempts, however often it
    /// is asked.
    CancelRequested {},
    /// A person wants it to be tried again; the deadline begins again.
    RetryRequested {},
    /// A person has found out how it ended. In the same commit as the final event; alone, it settles what was
    /// contradicted.
    Resolved {
        /// How it ended.
        outcome: Outcome,
    },
    /// The external system said after the final status that it ended the other way. No money moves.
    Contradicted {
        /// The call that it answered.
        kind: AttemptKind,
        /// What it said.
        answer: Answer,
        /// Its own reference, or its code of the rejection.
        detail: String,
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

/// What is called at the external system.
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
pub enum AttemptKind {
    /// It is asked to activate.
    Activate,
    /// It is asked how an activation stands.
    LookUp,
    /// It is asked never to activate.
    Cancel,
}

impl AttemptKind {
    /// Whether the outcome is unknown after such a call ended without a definite answer. Of a look-up and a
    /// cancellation it is only known that nothing was learnt.
    #[must_use]
    pub fn leaves_in_doubt(self, evidence: Evidence) -> bool {
        self != Self::Activate || !evidence.is_certain()
    }
}

/// What is known about a call without a definite answer.
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
pub enum Evidence {
    /// No byte was sent: the connection was refused.
    NotSent,
    /// The external system has said that it did not take it.
    NotTaken,
    /// It was or may have been sent, and no whole answer came.
    SentNoAnswer,
    /// An answer came that says nothing certain.
    Answered,
}

impl Evidence {
    /// Whether the call certainly had no effect.
    #[must_use]
    pub fn is_certain(self) -> bool {
        matches!(self, Self::NotSent | Self::NotTaken)
    }
}

/// How a transaction ended.
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
pub enum Outcome {
    /// It was done.
    Succeeded,
    /// It was not done and never will be.
    Failed,
}

/// A definite answer of the external system.
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
pub enum Answer {
    /// It has done it.
    Activated,
    /// It has not done it and never will.
    Rejected,
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        self.as_ref().to_owned()
    }

    fn event_version(&self) -> String {
        current_version(self.as_ref()).to_owned()
    }
}
