//! Which subscriptions are there? One, a user's, and those that come to their end.

use super::{COLUMNS, SubscriptionView, from_row};
use crate::Error;
use crate::readers::Readers;
use domain::{OfferId, Slice, SubscriptionId, Timestamp, UserId};
use sqlx::{Postgres, QueryBuilder};

/// The key of lists by end: when, and which.
pub type EndKey = (Timestamp, SubscriptionId);

impl Readers {
    /// The subscription `id`.
    pub async fn subscription(&self, id: SubscriptionId) -> Result<Option<SubscriptionView>, Error> {
        let mut query = select();
        query.push(" and subscription_id = ").push_bind(id.0);
        Ok(self.subscriptions(query).await?.pop())
    }

    /// The subscriptions of `user`, newest first; those after the key `after`. With `active`, only
    /// those whose end does, or does not, lie ahead of `now`.
    pub async fn subscriptions_of_user(
        &self,
        user: UserId,
        active: Option<bool>,
        now: Timestamp,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<SubscriptionView, i64>, Error> {
        let mut query = select();
        query.push(" and user_id = ").push_bind(user.0);
        if let Some(active) = active {
            query.push(if active { " and expiration_date > " } else { " and expiration_date <= " });
            query.push_bind(now.utc());
        }
        if let Some(position) = after {
            query.push(" and created_position < ").push_bind(position);
        }
        query.push(" order by created_position desc limit ").push_bind(i64::from(limit) + 1);
        let items = self.subscriptions(query).await?;
        Ok(Slice::cut(items, limit, |item| item.created_position))
    }

    /// The active subscriptions of `user` that end within `days` from `now`, soonest first; those after
    /// the key `after`.
    pub async fn expiring(
        &self,
        user: UserId,
        now: Timestamp,
        days: u32,
        after: Option<EndKey>,
        limit: u32,
    ) -> Result<Slice<SubscriptionView, EndKey>, Error> {
        let mut query = select();
        query.push(" and user_id = ").push_bind(user.0);
        query.push(" and expiration_date > ").push_bind(now.utc());
        query.push(" and expiration_date <= ").push_bind(now.plus_days(days).utc());
        self.soonest_first(query, after, limit).await
    }

    /// The subscription of `user` to `offer` that ends last.
    pub async fn latest_subscription(
        &self,
        user: UserId,
        offer: OfferId,
    ) -> Result<Option<SubscriptionView>, Error> {
        let mut query = select();
        query.push(" and user_id = ").push_bind(user.0).push(" and offer_id = ").push_bind(offer.0);
        query.push(" order by expiration_date desc, subscription_id desc limit 1");
        Ok(self.subscriptions(query).await?.pop())
    }

    /// Subscriptions of anybody that run, end by `end` and whose owner was not told yet, soonest first.
    pub async fn to_announce(
        &self,
        now: Timestamp,
        end: Timestamp,
        after: Option<EndKey>,
        limit: u32,
    ) -> Result<Slice<SubscriptionView, EndKey>, Error> {
        let mut query = select();
        query.push(" and not expired and not announced");
        query.push(" and expiration_date > ").push_bind(now.utc());
        query.push(" and expiration_date <= ").push_bind(end.utc());
        self.soonest_first(query, after, limit).await
    }

    /// Subscriptions of anybody whose end has come by `now` and was not recorded yet, oldest end first.
    pub async fn to_expire(
        &self,
        now: Timestamp,
        after: Option<EndKey>,
        limit: u32,
    ) -> Result<Slice<SubscriptionView, EndKey>, Error> {
        let mut query = select();
        query.push(" and not expired and expiration_date <= ").push_bind(now.utc());
        self.soonest_first(query, after, limit).await
    }

    async fn soonest_first(
        &self,
        mut query: QueryBuilder<'_, Postgres>,
        after: Option<EndKey>,
        limit: u32,
    ) -> Result<Slice<SubscriptionView, EndKey>, Error> {
        if let Some((end, id)) = after {
            query.push(" and (expiration_date, subscription_id) > (").push_bind(end.utc());
            query.push(", ").push_bind(id.0).push(")");
        }
        query.push(" order by expiration_date, subscription_id limit ").push_bind(i64::from(limit) + 1);
        let items = self.subscriptions(query).await?;
        Ok(Slice::cut(items, limit, |item| (item.expiration_date, item.subscription_id)))
    }

    async fn subscriptions(
        &self,
        mut query: QueryBuilder<'_, Postgres>,
    ) -> Result<Vec<SubscriptionView>, Error> {
        let rows = query.build().fetch_all(self.pool()).await?;
        Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
    }
}

fn select<'a>() -> QueryBuilder<'a, Postgres> {
    QueryBuilder::new(format!("select {COLUMNS} from read.subscriptions where true"))
}
