//! Compares transactions and subscriptions with their own streams, some hundred at a time in the order of their ids:
//! history may be of any length.

use super::{Check, Snapshot};
use crate::{Error, SubscriptionView, TransactionView, subscription, transaction};
use domain::{HistoryAnswer, Recorded};
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
    /// The streams of the first `limit` aggregates after the id `after`, in the order of the ids; nil: from the first on.
    fn after(&self, kind: StreamsOf, after: Uuid, limit: i64) -> HistoryAnswer<'_, Vec<Recorded>>;

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
    /// Compares all rows of a table with all streams as they were at the position of `snapshot`.
    pub(super) async fn compare_streams<T: Derived>(
        &mut self,
        snapshot: &mut Snapshot,
        log: &impl Streams,
    ) -> Result<(), Error> {
        let mut after = Uuid::nil();
        loop {
            let mut events = log.after(T::KIND, after, STREAMS as i64).await.map_err(Error::History)?;
            let last = match events.last() {
                Some(last) => last.aggregate_uuid().map_err(|_| Error::no_uuid(last))?,
                None => Uuid::max(),
            };
            events.retain(|event| event.position <= snapshot.position);
            let views = T::fold(&split(&events), log).await?;
            self.compare_range(snapshot, (after, last), views).await?;
            if last == Uuid::max() {
                return Ok(());
            }
            after = last;
        }
    }

    /// Compares the rows whose ids are after the first of `range`, up to the second, with `views`.
    async fn compare_range<T: Derived>(
        &mut self,
        snapshot: &mut Snapshot,
        range: (Uuid, Uuid),
        views: Vec<T>,
    ) -> Result<(), Error> {
        let mut expected: HashMap<Uuid, T> = views.into_iter().map(|view| (view.id(), view)).collect();
        let (mut after, last) = range;
        let (columns, table, key) = (T::COLUMNS, T::TABLE, T::KEY);
        let query = format!(
            "select {columns} from {table} where {key} > $1 and {key} <= $2 order by {key} limit {ROWS}"
        );
        loop {
            let rows = sqlx::query(&query).bind(after).bind(last).fetch_all(&mut *snapshot.sql).await?;
            for row in &rows {
                let view = T::from_row(row)?;
                after = view.id();
                let same = expected.remove(&after).map(|expected| expected == view);
                self.judge(T::WHAT, after, same);
            }
            if rows.len() < ROWS {
                break;
            }
        }
        for id in expected.into_keys() {
            self.tell_missing(T::WHAT, id);
        }
        Ok(())
    }
}
