//! Compares the rows of transactions and subscriptions with the sums of what must be there, and those of suspect partitions
//! with their own streams, some hundred at a time in the order of their ids.

use super::Check;
use super::rows::{Hashes, PARTITION_DIGITS, Sums, subscription_fingerprint};
use crate::{Error, SubscriptionView, TransactionView, subscription, transaction};
use domain::{HistoryAnswer, Recorded};
use futures::TryStreamExt;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use std::collections::HashMap;
use uuid::Uuid;

/// Streams that are folded in one go.
pub(super) const STREAMS: usize = 500;
/// Rows that are compared in one go.
const ROWS: usize = 1_000;

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
    /// The first aggregates from the id `from` on, in the order of ids, some thousand at most; none at the end.
    fn ids(&self, kind: StreamsOf, from: Uuid) -> HistoryAnswer<'_, Vec<Uuid>>;

    /// The streams of these aggregates, one after the other.
    fn of(&self, kind: StreamsOf, ids: Vec<Uuid>) -> HistoryAnswer<'_, Vec<Recorded>>;
}

/// A row that follows from one stream.
pub(super) trait Derived: PartialEq + Sized {
    const KIND: StreamsOf;
    const WHAT: &str;
    const TABLE: &str;
    const KEY: &str;
    const COLUMNS: &str;

    fn id(&self) -> Uuid;
    /// Of all columns.
    fn fingerprint(&self, hashes: &Hashes) -> u64;
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error>;
    /// The rows that these streams lead to.
    async fn fold(streams: &[&[Recorded]], log: &impl Streams) -> Result<Vec<Self>, Error>;
}

impl Derived for TransactionView {
    const KIND: StreamsOf = StreamsOf::Transactions;
    const WHAT: &str = "transaction";
    const TABLE: &str = "read.transactions";
    const KEY: &str = "transaction_id";
    const COLUMNS: &str = transaction::COLUMNS;

    fn id(&self) -> Uuid {
        self.transaction_id.0
    }

    fn fingerprint(&self, hashes: &Hashes) -> u64 {
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
    const KIND: StreamsOf = StreamsOf::Subscriptions;
    const WHAT: &str = "subscription";
    const TABLE: &str = "read.subscriptions";
    const KEY: &str = "subscription_id";
    const COLUMNS: &str = subscription::COLUMNS;

    fn id(&self) -> Uuid {
        self.subscription_id.0
    }

    fn fingerprint(&self, hashes: &Hashes) -> u64 {
        subscription_fingerprint(self, hashes)
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
    /// Compares all rows of a table with the sums of what must be there.
    pub(super) async fn compare_rows<T: Derived>(
        &mut self,
        (sql, position): (&mut PgConnection, i64),
        log: &impl Streams,
        mut sums: Sums,
        hashes: &Hashes,
    ) -> Result<(), Error> {
        let query = format!("select {} from {}", T::COLUMNS, T::TABLE);
        let mut found = sqlx::query(&query).fetch(&mut *sql);
        while let Some(row) = found.try_next().await? {
            let view = T::from_row(&row)?;
            sums.subtract(view.id(), view.fingerprint(hashes));
        }
        drop(found);
        let before = self.differences.count;
        self.compare_suspects::<T>((sql, position), log, &sums).await?;
        if sums.differ() && self.differences.count == before {
            // Such as an index that does not have all events.
            let (what, table) = (T::WHAT, T::TABLE);
            self.differences.add(format_args!(
                "{table} is not as the log says, but each {what} in it is as its own events say"
            ));
        }
        Ok(())
    }

    /// Compares the rows of suspect partitions with their streams as they were at `position`.
    async fn compare_suspects<T: Derived>(
        &mut self,
        (sql, position): (&mut PgConnection, i64),
        log: &impl Streams,
        sums: &Sums,
    ) -> Result<(), Error> {
        let suspects = sums.suspects();
        let mut next = (!suspects.is_empty()).then_some(Uuid::nil());
        while let Some(from) = next {
            let mut ids = log.ids(T::KIND, from).await.map_err(Error::History)?;
            let last = ids.last().copied().unwrap_or(Uuid::max());
            ids.retain(|id| sums.is_suspect(*id));
            let mut expected = HashMap::new();
            for ids in ids.chunks(STREAMS) {
                let mut events = log.of(T::KIND, ids.to_vec()).await.map_err(Error::History)?;
                events.retain(|event| event.position <= position);
                let views = T::fold(&split(&events), log).await?;
                expected.extend(views.into_iter().map(|view| (view.id(), view)));
            }
            self.compare_range(&mut *sql, (from, last), &suspects, expected).await?;
            next = after(last);
        }
        Ok(())
    }

    /// Compares the rows of suspect partitions whose ids are in `range`, which includes both ends, with `expected`.
    async fn compare_range<T: Derived>(
        &mut self,
        sql: &mut PgConnection,
        (from, last): (Uuid, Uuid),
        suspects: &[String],
        mut expected: HashMap<Uuid, T>,
    ) -> Result<(), Error> {
        let (columns, table, key) = (T::COLUMNS, T::TABLE, T::KEY);
        let query = format!(
            "select {columns} from {table} where {key} >= $1 and {key} <= $2 \
             and right({key}::text, {PARTITION_DIGITS}) = any($3) order by {key} limit {ROWS}"
        );
        let mut next = Some(from);
        while let Some(from) = next {
            let rows = sqlx::query(&query).bind(from).bind(last).bind(suspects).fetch_all(&mut *sql).await?;
            next = None;
            for row in &rows {
                let view = T::from_row(row)?;
                let id = view.id();
                let same = expected.remove(&id).map(|expected| expected == view);
                self.judge(T::WHAT, id, same);
                next = after(id).filter(|_| rows.len() == ROWS);
            }
        }
        for id in expected.into_keys() {
            self.tell_missing(T::WHAT, id);
        }
        Ok(())
    }
}

/// The next id in order.
fn after(id: Uuid) -> Option<Uuid> {
    id.as_u128().checked_add(1).map(Uuid::from_u128)
}
