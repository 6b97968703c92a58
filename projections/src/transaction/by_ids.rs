//! What became of these transactions? For callbacks and mails.

use super::{COLUMNS, TransactionView, from_row};
use crate::{Error, Readers};
use domain::TransactionId;
use uuid::Uuid;

impl Readers {
    /// Those of `ids` that exist, in no order.
    pub async fn transactions_with_ids(&self, ids: &[TransactionId]) -> Result<Vec<TransactionView>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let query = format!("select {COLUMNS} from read.transactions where transaction_id = any($1)");
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = sqlx::query(&query).bind(ids).fetch_all(self.pool()).await?;
        Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
    }
}
