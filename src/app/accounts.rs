//! Opens accounts and moves money in and out of them.

use super::idempotency::{self, Repeatable};
use crate::event_log::{AggregateCommand, EventLog, ExecuteError, LogError, Outcome, Plan};
use domain::account::{Command, Kind};
use domain::{AccountId, Metadata, Money};
use projections::Readers;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// Transfers of this process that touch the same account wait here for one another: each of them moves
/// the account's stream, so together they would only make each other decide again.
static TURNS: LazyLock<Vec<Mutex<()>>> = LazyLock::new(|| (0..LANES).map(|_| Mutex::new(())).collect());
/// How long a repeat waits for the read tables, which know the balance of then.
const BALANCE_WAIT: Duration = Duration::from_secs(5);
/// How many accounts are served side by side.
const LANES: usize = 64;

/// Which way money goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// In, from outside.
    Credit,
    /// Out again.
    Debit,
}

/// Money comes into an account or leaves it.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Whose.
    pub account_id: AccountId,
    /// Which way.
    pub direction: Direction,
    /// More than nothing.
    pub amount: Money,
    /// By which it is recognised when it comes again.
    pub repeatable: Repeatable,
}

/// A transfer that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Where it stands in the log.
    pub position: i64,
    /// What the account had right after it; `None` when an earlier request did it: then it is the
    /// balance as of `position`.
    pub balance: Option<Money>,
}

/// Why nothing was moved. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The account has less than the debit.
    #[error("the balance is not sufficient")]
    InsufficientBalance,
    /// More than a balance can hold.
    #[error("the account cannot hold that much")]
    BalanceTooLarge,
    /// The caller used the key before, for something else.
    #[error("this key belongs to another request")]
    KeyReused,
    /// The state forbids it, or others were faster, too often.
    #[error("the account does not allow it")]
    Conflict,
    /// The log could not do it, or (`OutcomeUnknown`) may have done it.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<idempotency::Error> for Error {
    fn from(error: idempotency::Error) -> Self {
        match error {
            idempotency::Error::KeyReused => Self::KeyReused,
            idempotency::Error::Log(cause) => Self::Log(cause),
        }
    }
}

impl From<ExecuteError> for Error {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::InsufficientFunds { .. } => Self::InsufficientBalance,
            ExecuteError::BalanceTooLarge { .. } => Self::BalanceTooLarge,
            ExecuteError::Rejected(_) | ExecuteError::Repeated { .. } | ExecuteError::Conflict => {
                Self::Conflict
            }
            ExecuteError::Log(cause) => Self::Log(cause),
        }
    }
}

/// Opens `account_id`; opening it again does nothing. The position of the event, if there is a new one.
///
/// # Errors
/// `Conflict` when it is open for an owner of another kind, or the log's own.
pub async fn open(
    log: &EventLog,
    account_id: AccountId,
    kind: Kind,
    metadata: &Metadata,
) -> Result<Option<i64>, Error> {
    let plan = Plan::new().command(AggregateCommand::Account(account_id, Command::Open { kind }));
    Ok(log.commit(metadata, plan).await?.position())
}

/// What the same transfer did earlier.
///
/// # Errors
/// `KeyReused` when the caller used the key for another request.
pub async fn carried_before(log: &EventLog, transfer: &Transfer) -> Result<Option<Carried>, Error> {
    let before = transfer.repeatable.answered_before(log).await?;
    Ok(before.map(|event| Carried { position: event.position, balance: None }))
}

/// Carries out `transfer`, or finds that it was carried out before.
///
/// # Errors
/// `InsufficientBalance`, `BalanceTooLarge`, `KeyReused`, `Conflict`, or the log's own.
pub async fn carry_out(log: &EventLog, transfer: &Transfer, metadata: Metadata) -> Result<Carried, Error> {
    let metadata = transfer.repeatable.metadata(metadata);
    let turn = turn_of(transfer.account_id).await;
    let outcome = log.commit(&metadata, transfer.plan()).await;
    drop(turn);
    match outcome {
        Ok(Outcome::Committed(committed)) => {
            let balance = committed.balances.iter().find(|(account, _)| *account == transfer.account_id);
            Ok(Carried { position: committed.last, balance: balance.map(|(_, balance)| *balance) })
        }
        Ok(Outcome::Unchanged) => Err(Error::Conflict), // money never moves without an event
        Err(ExecuteError::Repeated { .. }) => carried_before(log, transfer).await?.ok_or(Error::Conflict),
        Err(refusal) => Err(refusal.into()),
    }
}

/// What the account had right after the transfer; of an earlier one the read tables know it.
///
/// # Errors
/// `Behind` when the read tables are too far behind to say.
pub async fn balance_after(
    readers: &Readers,
    account: AccountId,
    carried: Carried,
) -> Result<Money, projections::Error> {
    if let Some(balance) = carried.balance {
        return Ok(balance);
    }
    readers.checkpoint().wait_for(carried.position, Instant::now() + BALANCE_WAIT).await?;
    readers.balance_at(account.0, carried.position).await
}

async fn turn_of(account: AccountId) -> MutexGuard<'static, ()> {
    let lane = account.0.as_u128() % LANES as u128;
    TURNS[usize::try_from(lane).expect("below LANES")].lock().await
}

impl Transfer {
    fn plan(&self) -> Plan {
        let amount = self.amount;
        let command = match self.direction {
            Direction::Credit => Command::Credit { amount },
            Direction::Debit => Command::Debit { amount },
        };
        Plan::new()
            .command(AggregateCommand::Account(self.account_id, command))
            .idempotent_on(self.repeatable.event_id())
    }
}
