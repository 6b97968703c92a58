//! What did a user or a partner have at any moment, and why? The table `statement` keeps every entry with the balance after it.

use crate::Error;
use crate::read_tables::Parameters;
use crate::readers::{Column, Readers, money};
use crate::statement_entry::{Charge, StatementEntry};
use domain::{Money, Slice};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// An entry of an account's statement. The event at its position says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Of its event.
    pub position: i64,
    /// Signed; 0.00 where a hold becomes final.
    pub amount: Money,
    /// After it.
    pub balance: Money,
}

/// Binds the entries of a page.
pub(crate) fn bind(parameters: Parameters, entries: &[StatementEntry], charges: &[Charge]) -> Parameters {
    parameters
        .bind(entries.column(|entry| entry.account))
        .bind(entries.column(|entry| entry.position))
        .bind(entries.column(|entry| entry.amount.decimal()))
        .bind(entries.column(|entry| entry.reference.as_deref()))
        .bind(charges.column(|charge| charge.transaction.0))
        .bind(charges.column(|charge| charge.position))
        .bind(charges.column(|charge| charge.reference.as_str()))
}

pub(crate) fn from_row(row: &PgRow) -> Result<Entry, sqlx::Error> {
    let position = row.try_get("position")?;
    Ok(Entry { position, amount: money(row, "amount")?, balance: money(row, "balance")? })
}

impl Readers {
    /// What `account` had once the event at `position` was in. Right up to the read tables' checkpoint.
    pub async fn balance_at(&self, account: Uuid, position: i64) -> Result<Money, Error> {
        let newest = self.statement(account, i64::MIN..=position, None, 1).await?.items.pop();
        Ok(newest.map_or(Money::ZERO, |entry| entry.balance))
    }

    /// The entries of `account` at `positions`, newest first, after the key `after`.
    pub async fn statement(
        &self,
        account: Uuid,
        positions: RangeInclusive<i64>,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<Entry, i64>, Error> {
        let rows = sqlx::query(
            "select position, amount, balance from read.statement \
             where account_id = $1 and position >= $2 and position <= $3 and position < $4 \
             order by position desc limit $5",
        )
        .bind(account)
        .bind(positions.start())
        .bind(positions.end())
        .bind(after.unwrap_or(i64::MAX))
        .bind(i64::from(limit) + 1)
        .fetch_all(self.pool())
        .await?;
        let items = rows.iter().map(from_row).collect::<Result<_, _>>()?;
        Ok(Slice::cut(items, limit, |entry: &Entry| entry.position))
    }

    /// The positions of charges whose reference of the activation system may be this one, at most `limit`: their events say.
    pub async fn charges_with_reference(&self, reference: &str, limit: i64) -> Result<Vec<i64>, Error> {
        // One look-up for each part of the log, as the index has them, the newest first.
        let query = "select charge.position \
             from generate_series((select position from read.checkpoint) >> 24, 0, -1) as part \
             cross join lateral ( \
                 select position from read.statement \
                 where (position >> 24) = part and reference_hash = hashtextextended($1, 0) limit $2) as charge \
             limit $2";
        // Planned again each time: a plan made while the table was small would read the whole table.
        let query = sqlx::query_scalar(query).bind(reference).bind(limit).persistent(false);
        Ok(query.fetch_all(self.pool()).await?)
    }
}
