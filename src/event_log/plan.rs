//! A plan: commands to several aggregates that become one commit.

use super::StreamId;
use cqrs_es::Aggregate;
use domain::{AccountId, OfferId, SubscriptionId, TransactionId, account, offer, transaction, user_offer};
use uuid::Uuid;

#[derive(Clone, Debug)]
pub enum AggregateCommand {
    Transaction(TransactionId, transaction::Command),
    UserOffer(SubscriptionId, user_offer::Command),
    Offer(OfferId, offer::Command),
    Account(AccountId, account::Command),
}

/// Commands that are decided together and accepted whole or not at all; each aggregate at most once.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(super) commands: Vec<PlannedCommand>,
    pub(super) expected_versions: Vec<(StreamId, i64)>,
    pub(super) first_event_id: Option<Uuid>,
}

#[derive(Clone, Debug)]
pub(super) struct PlannedCommand {
    pub(super) command: AggregateCommand,
    /// The aggregate cannot exist yet: its stream need not be loaded; the commit checks it.
    pub(super) is_first: bool,
}

impl Plan {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn command(mut self, command: AggregateCommand) -> Self {
        self.commands.push(PlannedCommand { command, is_first: false });
        self
    }

    /// A command to an aggregate that cannot exist yet (a fresh id): saves loading it.
    #[must_use]
    pub fn first_command(mut self, command: AggregateCommand) -> Self {
        self.commands.push(PlannedCommand { command, is_first: true });
        self
    }

    /// Makes the commit a conflict unless the aggregate is still at `version`. For aggregates that the
    /// decision has read and does not write.
    #[must_use]
    pub fn expect_version<A: Aggregate>(mut self, id: impl Into<Uuid>, version: i64) -> Self {
        self.expected_versions.push((StreamId::of::<A>(id.into()), version));
        self
    }

    /// Gives the first event this id: one that is derived from an idempotency key (UUIDv5), or a new one. If the log
    /// already has the derived id, the plan ends as `ExecuteError::Repeated`.
    #[must_use]
    pub fn idempotent_on(mut self, event_id: Uuid) -> Self {
        self.first_event_id = Some(event_id);
        self
    }
}
