//! The one commit of a success: the end of the transaction and the subscription that it pays for.

use crate::event_log::{AggregateCommand, Plan};
use domain::transaction::{ActivationRequested, Command};
use domain::{SubscriptionId, Timestamp, TransactionId, user_offer};

/// `end` of the transaction `id`, and the subscription that it begins or extends `at` this time.
#[must_use]
pub fn success(id: TransactionId, request: &ActivationRequested, end: Command, at: Timestamp) -> Plan {
    let ActivationRequested { user_id, offer_id, duration_days, subscription_id, .. } = request;
    let (user_id, offer_id, duration_days) = (*user_id, *offer_id, *duration_days);
    let plan = Plan::new().command(AggregateCommand::Transaction(id, end));
    match subscription_id {
        Some(subscription) => plan.command(AggregateCommand::UserOffer(
            *subscription,
            user_offer::Command::Renew { transaction_id: id, duration_days, at },
        )),
        None => plan.first_command(AggregateCommand::UserOffer(
            SubscriptionId::started_by(id),
            user_offer::Command::Activate { user_id, offer_id, transaction_id: id, duration_days, at },
        )),
    }
}
