//! A person decides about a transaction that makes no progress, or whose end was contradicted.

use super::{Activations, Error};
use crate::event_log::{AggregateCommand, Plan};
use crate::processors::success;
use domain::transaction::{Command, Transaction};
use domain::{Metadata, Timestamp, TransactionId};

impl Activations {
    /// Has `id` tried again now; its deadline begins again.
    ///
    /// # Errors
    /// `TransactionNotFound`, `TransactionIsFinal`, `Conflict`, or the log's own.
    pub async fn retry(&self, id: TransactionId, metadata: &Metadata) -> Result<(), Error> {
        let order = AggregateCommand::Transaction(id, Command::RequestRetry);
        Ok(self.log.commit(metadata, Plan::new().command(order)).await.map(drop)?)
    }

    /// Ends `id` as a person has found out: done, under this reference of the activation system, or not done. Of a
    /// final transaction that was contradicted it confirms the end.
    ///
    /// # Errors
    /// `TransactionNotFound`, `TransactionIsFinal`, `Conflict`, or the log's own.
    pub async fn resolve(
        &self,
        id: TransactionId,
        done_as: Option<String>,
        metadata: &Metadata,
        at: Timestamp,
    ) -> Result<(), Error> {
        let transaction = self.log.reload::<Transaction>(id.0).await?.state;
        let request = transaction.request().ok_or(Error::TransactionNotFound)?;
        let begins_subscription = done_as.is_some() && !transaction.is_final();
        let resolve = Command::Resolve { done_as };
        let plan = if begins_subscription {
            success(id, request, resolve, at)
        } else {
            Plan::new().command(AggregateCommand::Transaction(id, resolve))
        };
        Ok(self.log.commit(metadata, plan).await.map(drop)?)
    }
}
