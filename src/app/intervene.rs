//! A person decides about a transaction that makes no progress, or whose end was contradicted.

use super::{Activations, Error};
use crate::event_log::{AggregateCommand, Plan};
use crate::processors::success;
use domain::transaction::{Command, Status, Transaction};
use domain::{Metadata, Timestamp, TransactionId};

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

    /// Ends `id` as a person has found out: done, under this reference of the activation system, or not done. Of a
    /// final transaction that was contradicted it confirms the end. Returns its status.
    ///
    /// # Errors
    /// `TransactionNotFound`, `TransactionIsFinal`, `Conflict`, or the log's own.
    pub async fn resolve(
        &self,
        id: TransactionId,
        done_as: Option<String>,
        metadata: &Metadata,
        at: Timestamp,
    ) -> Result<Status, Error> {
        let transaction = self.transaction(id).await?;
        let request = transaction.request().ok_or(Error::TransactionNotFound)?;
        let status = if done_as.is_some() { Status::Success } else { Status::Failed };
        let begins_subscription = done_as.is_some() && !transaction.is_final();
        let resolve = Command::Resolve { done_as };
        let plan = if begins_subscription {
            success(id, request, resolve, at)
        } else {
            Plan::new().command(AggregateCommand::Transaction(id, resolve))
        };
        self.log.commit(metadata, plan).await?;
        Ok(status)
    }

    /// As its own stream has it.
    async fn transaction(&self, id: TransactionId) -> Result<Transaction, Error> {
        Ok(self.log.reload::<Transaction>(id.0).await?.state)
    }
}
