//! What did an account have at any moment? The table `statement` keeps every entry; a
//! balance as of a position is a sum over a range of its key.

use crate::readers::{Column, Readers};
use crate::statement_entry::{self, StatementEntry};
use crate::{Error, transaction};
use domain::{Money, TransactionId};
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};
use std::collections::HashMap;
use uuid::Uuid;

pub use crate::statement_entry::{FUNDING, HOLDING, REVENUE};

/// Writes the entries of a page; those in `unpriced` take their amount from the transaction's row, so
/// the transactions come first.
pub(crate) async fn write(
    connection: &mut PgConnection,
    mut entries: Vec<StatementEntry>,
    unpriced: &[(i64, TransactionId)],
) -> Result<(), Error> {
    if !unpriced.is_empty() {
        entries.extend(price(connection, unpriced).await?);
    }
    if entries.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into statement (account_id, position, ordinal, amount) \
         select * from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::numeric[])",
    )
    .bind(entries.column(|entry| entry.account))
    .bind(entries.column(|entry| entry.position))
    .bind(entries.column(|entry| entry.ordinal))
    .bind(entries.column(|entry| entry.amount.decimal()))
    .execute(connection)
    .await?;
    Ok(())
}

async fn price(
    connection: &mut PgConnection,
    unpriced: &[(i64, TransactionId)],
) -> Result<Vec<StatementEntry>, Error> {
    let rows = transaction::load(connection, &unpriced.column(|(_, id)| id.0)).await?;
    let views: HashMap<_, _> = rows.into_iter().map(|view| (view.transaction_id, view)).collect();
    let mut entries = Vec::with_capacity(unpriced.len() * 2);
    for (position, id) in unpriced {
        let missing = Error::Lost("a transaction that succeeds has no row");
        let request = &views.get(id).ok_or(missing)?.request;
        entries.extend(statement_entry::of_success(request, *position));
    }
    Ok(entries)
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
