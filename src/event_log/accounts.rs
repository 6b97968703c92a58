//! What an owner has available: kept by the log itself, in the commit that writes the events.

use super::{EventLog, LogError};
use domain::{AccountId, Money, Timestamp};
use rust_decimal::Decimal;

/// An account as it stands now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Balance {
    pub balance: Money,
    /// When it last moved; `None` when it never did.
    pub updated_at: Option<Timestamp>,
}

impl EventLog {
    /// What `account` has available; 0.00 when it was never paid into.
    pub async fn balance(&self, account: AccountId) -> Result<Balance, LogError> {
        let query = sqlx::query_as::<_, (Decimal, chrono::DateTime<chrono::Utc>)>(
            "select balance, updated_at from accounts where account_id = $1",
        );
        let Some((balance, updated_at)) = query.bind(account.0).fetch_optional(&self.0.pool).await? else {
            return Ok(Balance { balance: Money::ZERO, updated_at: None });
        };
        let balance = Money::try_from(balance).map_err(LogError::unavailable)?;
        Ok(Balance { balance, updated_at: Some(Timestamp::new(updated_at)) })
    }

    /// All accounts that ever moved, and the position of the last event that is in them: for comparing
    /// them with a fold of the log.
    pub async fn balances(&self) -> Result<(i64, Vec<(AccountId, Money)>), LogError> {
        // One statement, so one snapshot.
        let query = sqlx::query_as::<_, (i64, Option<uuid::Uuid>, Option<Decimal>)>(
            "select head.position, account_id, balance \
             from (select coalesce(max(position), 0) as position from events) as head \
             left join accounts on true",
        );
        let rows = query.fetch_all(&self.0.pool).await?;
        let head = rows.first().map_or(0, |(position, ..)| *position);
        let account = |(_, id, balance)| Some((AccountId(id?), balance?));
        let balances = rows
            .into_iter()
            .filter_map(account)
            .map(|(id, balance)| Ok((id, Money::try_from(balance).map_err(LogError::unavailable)?)));
        Ok((head, balances.collect::<Result<_, LogError>>()?))
    }
}
