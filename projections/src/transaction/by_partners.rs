//! Which of these transactions did partners request? For the callbacks.

use super::{COLUMNS, TransactionView, from_row};
use crate::{Error, Readers};
use domain::TransactionId;
use uuid::Uuid;

impl Readers {
    /// Those of `ids` that a partner asked for, in no order.
    ///
    /// By the key: with `partner_id is not null` the planner may walk the index of all partners' transactions instead.
    pub async fn transactions_by_partners(
        &self,
        ids: &[TransactionId],
    ) -> Result<Vec<TransactionView>, Error> {
        let query = format!(
            "select {COLUMNS} from read.transactions where transaction_id = any($1) and num_nonnulls(partner_id) = 1"
        );
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = sqlx::query(&query).bind(ids).fetch_all(self.pool()).await?;
        Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
    }
}
