//! Which transactions are there? One by id or reference, and the lists, newest first.
//!
//! The lists' key is the position of the first event: unique, and it never changes.

use super::{COLUMNS, TransactionView, from_row};
use crate::Error;
use crate::readers::Readers;
use domain::transaction::{Kind, Status};
use domain::{PartnerId, Slice, Timestamp, TransactionId, UserId};
use sqlx::{Postgres, QueryBuilder};

/// The filters of a user's list of transactions.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserFilter {
    /// Only those.
    pub status: Option<Status>,
    /// Only those.
    pub kind: Option<Kind>,
}

/// The filters of a partner's list of transactions.
#[derive(Clone, Debug, Default)]
pub struct PartnerFilter {
    /// The partner's own reference.
    pub partner_reference: Option<String>,
    /// Only those.
    pub status: Option<Status>,
}

/// The filters of an administrator's list of transactions.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdminFilter {
    /// Only those.
    pub status: Option<Status>,
    /// For this user.
    pub user_id: Option<UserId>,
    /// By this partner.
    pub partner_id: Option<PartnerId>,
    /// Those whose outcome is, or is not, unknown.
    pub in_doubt: Option<bool>,
    /// Created before.
    pub created_before: Option<Timestamp>,
}

impl Readers {
    /// The transaction `id`.
    pub async fn transaction(&self, id: TransactionId) -> Result<Option<TransactionView>, Error> {
        let mut query = select();
        query.push(" and transaction_id = ").push_bind(id.0);
        Ok(self.newest_first(query, None, 1).await?.items.pop())
    }

    /// The transaction with our reference `REF-…`, of any partner.
    pub async fn transaction_by_reference(&self, reference: &str) -> Result<Option<TransactionView>, Error> {
        let mut query = select();
        query.push(" and reference = ").push_bind(reference);
        Ok(self.newest_first(query, None, 1).await?.items.pop())
    }

    /// Transactions with this reference of any partner's own, at most `limit`.
    pub async fn transactions_by_partner_reference(
        &self,
        reference: &str,
        limit: i64,
    ) -> Result<Vec<TransactionView>, Error> {
        let mut query = select();
        query.push(" and partner_reference = ").push_bind(reference);
        query.push(" limit ").push_bind(limit);
        // Planned again each time: a plan made while the table was small would read the whole table.
        let rows = query.build().persistent(false).fetch_all(self.pool()).await?;
        Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
    }

    /// The transactions for `user`, also those of partners, newest first, after the key `after`.
    pub async fn transactions_of_user(
        &self,
        user: UserId,
        filter: UserFilter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<TransactionView, i64>, Error> {
        let mut query = select();
        query.push(" and user_id = ").push_bind(user.0);
        with_status(&mut query, filter.status);
        if let Some(kind) = filter.kind {
            query.push(" and kind = ").push_bind::<&str>(kind.into());
        }
        self.newest_first(query, after, limit).await
    }

    /// The transactions of `partner`, newest first, after the key `after`.
    pub async fn transactions_of_partner(
        &self,
        partner: PartnerId,
        filter: PartnerFilter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<TransactionView, i64>, Error> {
        let mut query = select();
        query.push(" and partner_id = ").push_bind(partner.0);
        with_status(&mut query, filter.status);
        if let Some(reference) = filter.partner_reference {
            query.push(" and partner_reference = ").push_bind(reference);
        }
        self.newest_first(query, after, limit).await
    }

    /// All transactions, newest first, after the key `after`.
    pub async fn transactions(
        &self,
        filter: AdminFilter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<TransactionView, i64>, Error> {
        let mut query = select();
        with_status(&mut query, filter.status);
        if let Some(user) = filter.user_id {
            query.push(" and user_id = ").push_bind(user.0);
        }
        if let Some(partner) = filter.partner_id {
            query.push(" and partner_id = ").push_bind(partner.0);
        }
        if let Some(in_doubt) = filter.in_doubt {
            query.push(if in_doubt {
                " and pending_reason is not null"
            } else {
                " and pending_reason is null"
            });
        }
        if let Some(moment) = filter.created_before {
            query.push(" and created_at < ").push_bind(moment.utc());
        }
        self.newest_first(query, after, limit).await
    }

    async fn newest_first(
        &self,
        mut query: QueryBuilder<'_, Postgres>,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<TransactionView, i64>, Error> {
        if let Some(position) = after {
            query.push(" and created_position < ").push_bind(position);
        }
        query.push(" order by created_position desc limit ").push_bind(i64::from(limit) + 1);
        let rows = query.build().fetch_all(self.pool()).await?;
        let items = rows.iter().map(from_row).collect::<Result<_, _>>()?;
        Ok(Slice::cut(items, limit, |item: &TransactionView| item.created_position))
    }
}

fn select<'a>() -> QueryBuilder<'a, Postgres> {
    QueryBuilder::new(format!("select {COLUMNS} from read.transactions where true"))
}

/// Each status but the usual one has a short way to it, so that looking for a few does not read all of
/// history.
fn with_status(query: &mut QueryBuilder<'_, Postgres>, status: Option<Status>) {
    let Some(status) = status else { return };
    query.push(" and status = ").push_bind::<&str>(status.into());
    query.push(match status {
        Status::Pending | Status::Processing => {
            " and transaction_id in (select transaction_id from read.unfinished)"
        }
        Status::Failed => " and error_code is not null",
        Status::Success => "",
    });
}
