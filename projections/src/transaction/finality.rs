//! Which of these transactions are final? For the limits of a user's purchases.

use crate::checkpoint::missing_tables;
use crate::{Error, Readers};
use domain::TransactionId;
use std::collections::HashMap;
use uuid::Uuid;

impl Readers {
    /// Those of `ids` that the read tables have, and whether they are final.
    ///
    /// # Errors
    /// `Lost` while the tables are rebuilt; `Database`.
    pub async fn finality_of(&self, ids: &[TransactionId]) -> Result<HashMap<TransactionId, bool>, Error> {
        let query = "select transaction_id, status in ('SUCCESS', 'FAILED') from read.transactions \
                     where transaction_id = any($1)";
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = sqlx::query_as(query).bind(ids).fetch_all(self.pool()).await;
        let rows: Vec<(Uuid, bool)> = rows.map_err(missing_tables)?;
        Ok(rows.into_iter().map(|(id, is_final)| (TransactionId(id), is_final)).collect())
    }
}
