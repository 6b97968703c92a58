//! What did a user or a partner have at any moment? The table `statement` keeps every entry; a
//! balance as of a position is a sum over a range of its key.

use crate::Error;
use crate::read_tables::Parameters;
use crate::readers::{Column, Readers};
use crate::statement_entry::StatementEntry;
use domain::Money;
use rust_decimal::Decimal;
use sqlx::Row;
use uuid::Uuid;

/// Binds the entries of a page.
pub(crate) fn bind(parameters: Parameters, entries: &[StatementEntry]) -> Parameters {
    parameters
        .bind(entries.column(|entry| entry.account))
        .bind(entries.column(|entry| entry.position))
        .bind(entries.column(|entry| entry.ordinal))
        .bind(entries.column(|entry| entry.amount.decimal()))
}

impl Readers {
    /// What `account` had once the event at `position` was in, folded from its entries. Right up to the
    /// read tables' checkpoint.
    pub async fn balance_at(&self, account: Uuid, position: i64) -> Result<Money, Error> {
        let sum: Decimal = sqlx::query(
            "select coalesce(sum(amount), 0) as balance from read.statement \
             where account_id = $1 and position <= $2",
        )
        .bind(account)
        .bind(position)
        .fetch_one(self.pool())
        .await?
        .try_get("balance")?;
        Ok(Money::try_from(sum).map_err(|cause| sqlx::Error::Decode(Box::new(cause)))?)
    }
}
