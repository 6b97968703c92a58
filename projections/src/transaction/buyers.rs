//! Who made these purchases? Asked before users are told of them.

use crate::{Error, Readers};
use domain::{TransactionId, UserId};
use sqlx::Row;
use std::collections::HashMap;
use uuid::Uuid;

impl Readers {
    /// The user of each of `ids` that exists.
    ///
    /// # Errors
    /// `Database`.
    pub async fn buyers(&self, ids: &[TransactionId]) -> Result<HashMap<TransactionId, UserId>, Error> {
        let query = sqlx::query(
            "select transaction_id, user_id from read.transactions where transaction_id = any($1)",
        );
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = query.bind(ids).fetch_all(self.pool()).await?;
        let buyer = |row: &sqlx::postgres::PgRow| {
            Ok((TransactionId(row.try_get("transaction_id")?), UserId(row.try_get("user_id")?)))
        };
        rows.iter().map(buyer).collect()
    }
}
