//! A plan: commands to several aggregates that become one commit.

use super::StreamId;
use cqrs_es::Aggregate;
use domain::{AccountId, OfferId, SubscriptionId, TransactionId, account, offer, transaction, user_offer};
use uuid::Uuid;

/// One command to one aggregate.
#[derive(Clone, Debug)]
pub enum Order {
    /// To a purchase.
    Transaction(TransactionId, transaction::Command),
    /// To a subscription.
    UserOffer(SubscriptionId, user_offer::Command),
    /// To the catalogue.
    Offer(OfferId, offer::Command),
    /// To an account.
    Account(AccountId, account::Command),
}

/// What is decided together and accepted whole or not at all. Each aggregate at most once.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(super) orders: Vec<PlannedOrder>,
    pub(super) unchanged: Vec<(StreamId, i64)>,
    pub(super) first_event_id: Option<Uuid>,
}

#[derive(Clone, Debug)]
pub(super) struct PlannedOrder {
    pub(super) order: Order,
    /// The aggregate cannot exist yet: its stream need not be loaded; the commit checks it.
    pub(super) new: bool,
}

impl Plan {
    /// Nothing to do yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a command.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.orders.push(PlannedOrder { order, new: false });
        self
    }

    /// Adds a command to an aggregate that cannot exist yet (a fresh id): saves loading it.
    #[must_use]
    pub fn create(mut self, order: Order) -> Self {
        self.orders.push(PlannedOrder { order, new: true });
        self
    }

    /// Refuses the commit as a conflict when that stream is not at `version` any more.
    #[must_use]
    pub fn unchanged<A: Aggregate>(mut self, id: impl Into<Uuid>, version: i64) -> Self {
        self.unchanged.push((StreamId::of::<A>(id.into()), version));
        self
    }

    /// Gives the first event this id, derived from what a client may repeat; when the log has it
    /// already the plan ends as `ExecuteError::Repeated`.
    #[must_use]
    pub fn repeatable_as(mut self, event_id: Uuid) -> Self {
        self.first_event_id = Some(event_id);
        self
    }
}
