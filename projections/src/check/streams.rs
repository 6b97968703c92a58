//! Compares the rows of transactions and subscriptions with what must be there, and a few of them with their own streams.

use super::Check;
use super::rows::{Hashes, Kept, KeptSubscription};
use crate::{Error, SubscriptionView, TransactionView, subscription, transaction};
use domain::{HistoryAnswer, Recorded};
use futures::TryStreamExt;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use std::collections::HashMap;
use std::fmt;
use uuid::Uuid;

/// Streams that are folded in one go.
pub(super) const STREAMS: usize = 500;

/// Whose streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamsOf {
    /// Of transactions.
    Transactions,
    /// Of subscriptions.
    Subscriptions,
}

/// Gives whole streams, for a check that keeps few of them at a time.
pub trait Streams: Sync {
    /// The streams of these aggregates, one after the other.
    fn of(&self, kind: StreamsOf, ids: Vec<Uuid>) -> HistoryAnswer<'_, Vec<Recorded>>;
}

/// A row that follows from one stream.
pub(super) trait Derived: PartialEq + Sized {
    /// Equal if the rows are.
    type Kept: PartialEq + fmt::Debug;
    const KIND: StreamsOf;
    const WHAT: &str;
    const TABLE: &str;
    const COLUMNS: &str;

    fn id(&self) -> Uuid;
    fn kept(&self, hashes: &Hashes) -> Self::Kept;
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error>;
    /// The rows that these streams lead to.
    async fn fold(streams: &[&[Recorded]], log: &impl Streams) -> Result<Vec<Self>, Error>;
}

impl Derived for TransactionView {
    type Kept = u64;
    const KIND: StreamsOf = StreamsOf::Transactions;
    const WHAT: &str = "transaction";
    const TABLE: &str = "read.transactions";
    const COLUMNS: &str = transaction::COLUMNS;

    fn id(&self) -> Uuid {
        self.transaction_id.0
    }

    fn kept(&self, hashes: &Hashes) -> u64 {
        hashes.of(self)
    }

    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        transaction::from_row(row)
    }

    async fn fold(streams: &[&[Recorded]], _: &impl Streams) -> Result<Vec<Self>, Error> {
        streams.iter().filter_map(|stream| transaction::fold(stream).transpose()).collect()
    }
}

impl Derived for SubscriptionView {
    type Kept = KeptSubscription;
    const KIND: StreamsOf = StreamsOf::Subscriptions;
    const WHAT: &str = "subscription";
    const TABLE: &str = "read.subscriptions";
    const COLUMNS: &str = subscription::COLUMNS;

    fn id(&self) -> Uuid {
        self.subscription_id.0
    }

    fn kept(&self, hashes: &Hashes) -> KeptSubscription {
        KeptSubscription::of(self, hashes)
    }

    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        subscription::from_row(row)
    }

    /// A subscription takes the offer's name from the transaction that began it.
    async fn fold(streams: &[&[Recorded]], log: &impl Streams) -> Result<Vec<Self>, Error> {
        let begun = streams.iter().map(|stream| begun(stream)).collect::<Result<Vec<_>, _>>()?;
        let transactions = begun.iter().map(|(_, transaction)| *transaction).collect();
        let events = log.of(StreamsOf::Transactions, transactions).await.map_err(Error::History)?;
        let mut names = HashMap::new();
        for stream in split(&events) {
            if let Some(view) = transaction::fold(stream)? {
                names.insert(view.transaction_id.0, view.request.offer_name);
            }
        }
        let view = |(change, transaction): &(subscription::Change, Uuid)| {
            change.to_view(names.get(transaction).map_or("", String::as_str))
        };
        Ok(begun.iter().filter_map(view).collect())
    }
}

/// What a subscription's stream makes of it, and the transaction that began it.
fn begun(stream: &[Recorded]) -> Result<(subscription::Change, Uuid), Error> {
    let position = stream[0].position;
    let why = "a subscription that was never activated has moved";
    let change = subscription::Change::fold(stream)?.ok_or(Error::Broken { position, why })?;
    let activated = change.activated.as_ref().ok_or(Error::Broken { position, why })?;
    let transaction = activated.period.transaction_id.0;
    Ok((change, transaction))
}

/// The streams in `events`, which come one after the other.
fn split(events: &[Recorded]) -> Vec<&[Recorded]> {
    events.chunk_by(|one, next| one.aggregate_id == next.aggregate_id).collect()
}

impl Check {
    /// Compares all rows of a table with what must be there.
    pub(super) async fn compare_rows<T: Derived>(
        &mut self,
        (sql, position): (&mut PgConnection, i64),
        log: &impl Streams,
        expected: Kept<T>,
        hashes: &Hashes,
    ) -> Result<(), Error> {
        let Kept { mut rows, by_stream } = expected;
        let mut late = Vec::new();
        let query = format!("select {} from {}", T::COLUMNS, T::TABLE);
        let mut found = sqlx::query(&query).fetch(sql);
        while let Some(row) = found.try_next().await? {
            let view = T::from_row(&row)?;
            let expected = rows.remove(&view.id());
            match by_stream.contains(&view.id()) {
                true => late.push(view),
                false => {
                    self.judge(T::WHAT, view.id(), expected.map(|expected| expected == view.kept(hashes)));
                }
            }
        }
        drop(found);
        for id in rows.into_keys().filter(|id| !by_stream.contains(id)) {
            self.tell_missing(T::WHAT, id);
        }
        let ids: Vec<Uuid> = by_stream.into_iter().collect();
        self.compare_streams(position, log, &ids, late).await
    }

    /// Compares rows with the streams `ids` as they were at `position`.
    async fn compare_streams<T: Derived>(
        &mut self,
        position: i64,
        log: &impl Streams,
        ids: &[Uuid],
        rows: Vec<T>,
    ) -> Result<(), Error> {
        let mut expected = HashMap::new();
        for ids in ids.chunks(STREAMS) {
            let mut events = log.of(T::KIND, ids.to_vec()).await.map_err(Error::History)?;
            events.retain(|event| event.position <= position);
            let views = T::fold(&split(&events), log).await?;
            expected.extend(views.into_iter().map(|view| (view.id(), view)));
        }
        for row in rows {
            let same = expected.remove(&row.id()).map(|expected| expected == row);
            self.judge(T::WHAT, row.id(), same);
        }
        for id in expected.into_keys() {
            self.tell_missing(T::WHAT, id);
        }
        Ok(())
    }
}
