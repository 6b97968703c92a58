//! Opens accounts, moves money in and out of them, and says what their owners have.

use super::Error;
use super::idempotency::IdempotentRequest;
use crate::event_log::{AggregateCommand, Balance, EventLog, ExecuteError, LogError, Outcome, Plan};
use crate::identity::{Identity, OwnerKind};
use domain::account::{Command, Kind};
use domain::{AccountId, Metadata, Money, Slice, Timestamp, UserId};
use projections::{EndKey, Readers, SubscriptionView};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a repeat waits for the read tables, which know the balance right after the first request.
const BALANCE_WAIT: Duration = Duration::from_secs(5);
/// How many accounts are adjusted at the same time.
const LANES: usize = 64;

/// The accounts of users and partners.
pub struct Accounts {
    log: EventLog,
    readers: Readers,
    identity: Arc<Identity>,
    /// Adjustments of the same account wait for one another: each moves the account's stream, so
    /// together they would only make each other decide again.
    lanes: Vec<Mutex<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Credit,
    Debit,
}

/// Money comes into an account from outside, or leaves it.
#[derive(Clone, Debug)]
pub struct Adjustment {
    pub account_id: AccountId,
    pub direction: Direction,
    /// More than 0.00.
    pub amount: Money,
    pub request: IdempotentRequest,
}

/// An adjustment that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdjustmentReceipt {
    /// The position of its event in the log.
    pub position: i64,
    /// What the account had right after it.
    pub balance: Money,
    /// True when an earlier request made it.
    pub replayed: bool,
}

impl Accounts {
    #[must_use]
    pub fn new(log: EventLog, readers: Readers, identity: Arc<Identity>) -> Self {
        let lanes = (0..LANES).map(|_| Mutex::new(())).collect();
        Self { log, readers, identity, lanes }
    }

    /// Opens `account_id`; opening it again does nothing.
    ///
    /// # Errors
    /// `Conflict` when it is open for an owner of another kind, or the log's own.
    pub async fn open(&self, account_id: AccountId, kind: Kind, metadata: &Metadata) -> Result<(), Error> {
        let plan = Plan::new().command(AggregateCommand::Account(account_id, Command::Open { kind }));
        self.log.commit(metadata, plan).await?;
        Ok(())
    }

    /// Makes `adjustment`, or finds that it was made before.
    ///
    /// # Errors
    /// `IdempotencyKeyReused`, `AccountNotFound`, `InsufficientBalance`, `BalanceTooLarge`, `Conflict`, or
    /// the log's own.
    pub async fn adjust(
        &self,
        adjustment: &Adjustment,
        metadata: Metadata,
    ) -> Result<AdjustmentReceipt, Error> {
        let Adjustment { account_id, request, .. } = adjustment;
        if self.identity.owner_kind(account_id.0).await?.is_none() {
            request.previous_event(&self.log).await?; // a key of another request is reported first
            return Err(Error::AccountNotFound);
        }
        let metadata = request.metadata(metadata);
        let turn = self.lane(*account_id).lock().await;
        let outcome = self.log.commit(&metadata, adjustment.plan()).await;
        drop(turn);
        match outcome {
            Ok(Outcome::Committed(committed)) => {
                let position = committed.last;
                let moved = committed.balances.iter().find(|(account, _)| account == account_id);
                let balance = match moved {
                    Some((_, balance)) => *balance,
                    None => self.balance_after(*account_id, position).await?,
                };
                Ok(AdjustmentReceipt { position, balance, replayed: false })
            }
            Ok(Outcome::Unchanged) => Err(Error::Conflict), // money never moves without an event
            Err(ExecuteError::Repeated { .. }) => self.previous_adjustment(adjustment).await,
            Err(refusal) => Err(refusal.into()),
        }
    }

    async fn previous_adjustment(&self, adjustment: &Adjustment) -> Result<AdjustmentReceipt, Error> {
        let event = adjustment.request.previous_event(&self.log).await?.ok_or(Error::Conflict)?;
        let balance = self.balance_after(adjustment.account_id, event.position).await?;
        Ok(AdjustmentReceipt { position: event.position, balance, replayed: true })
    }

    /// What the account had right after `position`, once the read tables contain it.
    async fn balance_after(&self, account: AccountId, position: i64) -> Result<Money, Error> {
        self.readers.checkpoint().wait_for(position, Instant::now() + BALANCE_WAIT).await?;
        Ok(self.readers.balance_at(account.0, position).await?)
    }

    /// What the account has available now; 0.00 when nothing was ever paid in.
    pub async fn balance(&self, account: AccountId) -> Result<Balance, LogError> {
        self.log.balance(account).await
    }

    /// The kind of the account's owner; `None` when nobody owns it.
    pub async fn owner_kind(&self, account: AccountId) -> Result<Option<OwnerKind>, Error> {
        Ok(self.identity.owner_kind(account.0).await?)
    }

    /// The user's subscriptions, newest first.
    pub async fn subscriptions(
        &self,
        user: UserId,
        active: Option<bool>,
        now: Timestamp,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<SubscriptionView, i64>, Error> {
        Ok(self.readers.subscriptions_of_user(user, active, now, after, limit).await?)
    }

    /// The user's active subscriptions that end within `days`, soonest first.
    pub async fn expiring(
        &self,
        user: UserId,
        now: Timestamp,
        days: u32,
        after: Option<EndKey>,
        limit: u32,
    ) -> Result<Slice<SubscriptionView, EndKey>, Error> {
        Ok(self.readers.expiring(user, now, days, after, limit).await?)
    }

    fn lane(&self, account: AccountId) -> &Mutex<()> {
        let lane = account.0.as_u128() % LANES as u128;
        &self.lanes[usize::try_from(lane).expect("below LANES")]
    }
}

impl Adjustment {
    fn plan(&self) -> Plan {
        let amount = self.amount;
        let command = match self.direction {
            Direction::Credit => Command::Credit { amount },
            Direction::Debit => Command::Debit { amount },
        };
        Plan::new()
            .command(AggregateCommand::Account(self.account_id, command))
            .idempotent_on(self.request.event_id())
    }
}
