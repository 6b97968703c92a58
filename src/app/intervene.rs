//! A person decides about a transaction that makes no progress, or whose end was contradicted.

use super::idempotency::IdempotentRequest;
use super::{Activations, Error};
use crate::event_log::{AggregateCommand, Plan};
use crate::processors::success;
use domain::transaction::{Command, Status, Transaction};
use domain::{Metadata, Timestamp, TransactionId};

/// How a transaction ended, as a person has found out.
#[derive(Clone, Debug)]
pub struct Resolution {
    pub id: TransactionId,
    /// The activation system's reference if it was done, `None` if it was not and never will be.
    pub done_as: Option<String>,
    pub request: IdempotentRequest,
}

/// A transaction that a person has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub transaction_id: TransactionId,
    pub status: Status,
    /// True when an earlier request ended it.
    pub replayed: bool,
}

impl Activations {
    /// Has `id` tried again now; its deadline begins again. Returns its status.
    ///
    /// # Errors
    /// `TransactionNotFound`, `TransactionIsFinal`, `Conflict`, or the log's own.
    pub async fn retry(&self, id: TransactionId, metadata: &Metadata) -> Result<Status, Error> {
        let status = self.transaction(id).await?.status().ok_or(Error::TransactionNotFound)?;
        let order = AggregateCommand::Transaction(id, Command::RequestRetry);
        self.log.commit(metadata, Plan::new().command(order)).await?;
        Ok(status)
    }

    /// Ends a transaction as a person has found out. Of a final one that was contradicted it confirms the end.
    ///
    /// # Errors
    /// `TransactionNotFound`, `TransactionIsFinal`, `IdempotencyKeyReused`, `Conflict`, or the log's own.
    pub async fn resolve(
        &self,
        resolution: &Resolution,
        metadata: Metadata,
        at: Timestamp,
    ) -> Result<Resolved, Error> {
        let Resolution { id, done_as, request } = resolution;
        let status = if done_as.is_some() { Status::Success } else { Status::Failed };
        let refusal = match self.end(resolution, request.metadata(metadata), at).await {
            Ok(()) => return Ok(Resolved { transaction_id: *id, status, replayed: false }),
            Err(refusal) => refusal,
        };
        match request.previous_event(&self.log).await? {
            Some(_) => Ok(Resolved { transaction_id: *id, status, replayed: true }),
            None => Err(refusal),
        }
    }

    async fn end(&self, resolution: &Resolution, metadata: Metadata, at: Timestamp) -> Result<(), Error> {
        let transaction = self.transaction(resolution.id).await?;
        let request = transaction.request().ok_or(Error::TransactionNotFound)?;
        let resolve = Command::Resolve { done_as: resolution.done_as.clone() };
        let plan = if resolution.done_as.is_some() && !transaction.is_final() {
            success(resolution.id, request, resolve, at)
        } else {
            Plan::new().command(AggregateCommand::Transaction(resolution.id, resolve))
        };
        let plan = plan.idempotent_on(resolution.request.event_id());
        Ok(self.log.commit(&metadata, plan).await.map(drop)?)
    }

    /// As its own stream has it.
    async fn transaction(&self, id: TransactionId) -> Result<Transaction, Error> {
        Ok(self.log.reload::<Transaction>(id.0).await?.state)
    }
}
