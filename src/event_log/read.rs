//! Reads the event log.
//!
//! Positions have no gaps, so a page must start right after the checkpoint; if it does not,
//! something is badly wrong and the reader stops rather than skip an event.

use super::{EventLog, LogError, MAX_COMMIT_EVENTS, StreamId};
use crate::postgres::Answered;
use domain::{History, HistoryAnswer, Record, Recorded, Timestamp};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// The usual size of a page, in events.
pub const PAGE_EVENTS: usize = 1_000;

/// Events that are read in one go for the ids of their aggregates.
const EVENTS_OF_IDS: usize = 10_000;

pub(super) const COLUMNS: &str = "position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version, \
                       recorded_at, payload::text as payload, metadata::text as metadata, commit_end";

/// The predicate of the index `events_by_derived_id`.
const IS_DERIVED: &str = "get_byte(uuid_send(event_id), 6) >> 4 = 5";
/// A part of the predicate of the index `events_by_our_reference`.
const HAS_REFERENCE: &str = r#"strpos(payload::text, '"reference":') > 0"#;

impl EventLog {
    /// The events after the position `after`, in order, at most `limit` (raised to a whole commit's
    /// bound): contiguous, and cut after a whole commit, so no reader sees half a commit. Empty at the head.
    ///
    /// # Errors
    /// `Broken` when a position is missing; `Unavailable` when PostgreSQL is.
    pub async fn page(&self, after: i64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        let limit = limit.max(MAX_COMMIT_EVENTS);
        let query = format!("select {COLUMNS} from events where position > $1 order by position limit $2");
        let query = sqlx::query(&query).bind(after).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.0.pool).answered().await?;
        let mut page = rows.iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
        assert_contiguous(after, &page)?;
        cut_after_whole_commit(&mut page);
        Ok(page)
    }

    /// The position of the last event, 0 when there is none.
    pub async fn head(&self) -> Result<i64, LogError> {
        let head = sqlx::query_scalar("select position from events order by position desc limit 1");
        Ok(head.fetch_optional(&self.0.pool).answered().await?.unwrap_or(0))
    }

    /// The event at `position`; `None` beyond the head.
    pub async fn event_at(&self, position: i64) -> Result<Option<Recorded>, LogError> {
        let query = format!("select {COLUMNS} from events where position = $1");
        let row = sqlx::query(&query).bind(position).fetch_optional(&self.0.pool).answered().await?;
        row.as_ref().map(recorded).transpose()
    }

    /// The id of the event at `position`; `None` beyond the head.
    pub async fn event_id_at(&self, position: i64) -> Result<Option<Uuid>, LogError> {
        let query = sqlx::query_scalar("select event_id from events where position = $1");
        Ok(query.bind(position).fetch_optional(&self.0.pool).answered().await?)
    }

    /// The event with this id, which is derived (UUIDv5): ids of version 7 are in no index.
    pub async fn find_derived(&self, event_id: Uuid) -> Result<Option<Recorded>, LogError> {
        let query = format!("select {COLUMNS} from events where event_id = $1 and {IS_DERIVED}");
        let row = sqlx::query(&query).bind(event_id).fetch_optional(&self.0.pool).answered().await?;
        row.as_ref().map(recorded).transpose()
    }

    /// The request that has our reference for partners, `REF-…`.
    pub async fn find_by_reference(&self, reference: &str) -> Result<Option<Recorded>, LogError> {
        let query = format!(
            "select {COLUMNS} from events where aggregate_type = 'Transaction' \
             and event_type = 'ActivationRequested' and {HAS_REFERENCE} and payload ->> 'reference' = $1"
        );
        // Planned again each time: a plan made while the table was small would read the whole table.
        let query = sqlx::query(&query).bind(reference).persistent(false);
        let row = query.fetch_optional(&self.0.pool).answered().await?;
        row.as_ref().map(recorded).transpose()
    }

    /// All events of one aggregate, in order.
    pub async fn stream(&self, stream: StreamId) -> Result<Vec<Recorded>, LogError> {
        let query = format!(
            "select {COLUMNS} from events where aggregate_type = $1 and aggregate_id = $2 order by sequence"
        );
        let query = sqlx::query(&query).bind(stream.aggregate_type).bind(stream.aggregate_id.to_string());
        let rows = query.fetch_all(&self.0.pool).answered().await?;
        rows.iter().map(recorded).collect()
    }

    /// All events of several aggregates, in log order.
    pub async fn streams(&self, streams: &[StreamId]) -> Result<Vec<Recorded>, LogError> {
        let (types, ids): (Vec<&str>, Vec<String>) =
            streams.iter().map(|stream| (stream.aggregate_type, stream.aggregate_id.to_string())).unzip();
        let query = format!(
            "select {COLUMNS} from events where (aggregate_type, aggregate_id) in \
             (select * from unnest($1::text[], $2::text[])) order by position"
        );
        let query = sqlx::query(&query).bind(types).bind(ids);
        // Planned again each time: a plan made while the table was small would read the whole table.
        let rows = query.persistent(false).fetch_all(&self.0.pool).answered().await?;
        rows.iter().map(recorded).collect()
    }

    /// The ids of aggregates of a type from the id `from` on, in order: those of some thousand events.
    pub async fn stream_ids(&self, aggregate_type: &str, from: Uuid) -> Result<Vec<Uuid>, LogError> {
        // Ids of one length and case have the same order as texts in every collation.
        let query = format!(
            "select distinct aggregate_id::uuid as id from ( \
                 select aggregate_id from events where aggregate_type = $1 and aggregate_id >= $2 \
                 order by aggregate_id limit {EVENTS_OF_IDS}) as events order by id"
        );
        let query = sqlx::query_scalar(&query).bind(aggregate_type).bind(from.to_string()).persistent(false);
        Ok(query.fetch_all(&self.0.pool).answered().await?)
    }

    /// When the event at `position` was recorded; `None` when there is none.
    pub async fn recorded_at(&self, position: i64) -> Result<Option<Timestamp>, LogError> {
        let query = sqlx::query_scalar("select recorded_at from events where position = $1");
        Ok(query.bind(position).fetch_optional(&self.0.pool).answered().await?.map(Timestamp::new))
    }

    /// The position of the last event that was recorded at `moment` or before, 0 when there is none.
    ///
    /// Times never decrease and positions have no gaps, so some thirty look-ups find it in any log: one statement.
    ///
    /// # Errors
    /// `Unavailable` when PostgreSQL is; `Broken` when a position is missing.
    pub async fn position_at(&self, moment: Timestamp) -> Result<i64, LogError> {
        let query = sqlx::query_as(include_str!("position_at.sql")).bind(moment.utc());
        // Planned again each time: a plan made while the table was small would read the whole table.
        let (known, later): (i64, i64) = query.persistent(false).fetch_one(&self.0.pool).answered().await?;
        match later - known {
            1 => Ok(known),
            between => {
                let why = "there is no such event".to_owned();
                Err(LogError::Broken { position: known + between / 2, why })
            }
        }
    }

    /// The events at `positions`, in log order.
    pub async fn events_at(&self, positions: &[i64]) -> Result<Vec<Recorded>, LogError> {
        let query = format!("select {COLUMNS} from events where position = any($1) order by position");
        let query = sqlx::query(&query).bind(positions).persistent(false); // as above
        let rows = query.fetch_all(&self.0.pool).answered().await?;
        rows.iter().map(recorded).collect()
    }
}

impl History for EventLog {
    fn head(&self) -> HistoryAnswer<'_, i64> {
        Box::pin(async move { Ok(Self::head(self).await?) })
    }

    fn event_id_at(&self, position: i64) -> HistoryAnswer<'_, Option<Uuid>> {
        Box::pin(async move { Ok(Self::event_id_at(self, position).await?) })
    }
}

pub(super) fn recorded(row: &PgRow) -> Result<Recorded, LogError> {
    Ok(Recorded::from(Record {
        position: row.try_get("position")?,
        event_id: row.try_get("event_id")?,
        aggregate_type: row.try_get("aggregate_type")?,
        aggregate_id: row.try_get("aggregate_id")?,
        sequence: row.try_get("sequence")?,
        event_type: row.try_get("event_type")?,
        event_version: row.try_get("event_version")?,
        recorded_at: Timestamp::new(row.try_get("recorded_at")?),
        payload: row.try_get("payload")?,
        metadata: row.try_get("metadata")?,
        commit_end: row.try_get("commit_end")?,
    }))
}

fn assert_contiguous(after: i64, page: &[Recorded]) -> Result<(), LogError> {
    match page.iter().zip(after + 1..).find(|(event, expected)| event.position != *expected) {
        None => Ok(()),
        Some((event, expected)) => Err(LogError::Broken {
            position: expected,
            why: format!("the next event there is has position {}", event.position),
        }),
    }
}

pub(super) fn cut_after_whole_commit(page: &mut Vec<Recorded>) {
    page.truncate(whole_commits(page));
}

/// How many of these events are whole commits.
pub(super) fn whole_commits(page: &[Recorded]) -> usize {
    let Some(last) = page.last().map(|event| event.position) else { return 0 };
    page.iter().rposition(|event| event.commit_end <= last).map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(position: i64, commit_end: i64) -> Recorded {
        Recorded::from(Record {
            position,
            event_id: Uuid::nil(),
            aggregate_type: "Offer".into(),
            aggregate_id: Uuid::nil().to_string(),
            sequence: position,
            event_type: "Deactivated".into(),
            event_version: "1.0".into(),
            recorded_at: Timestamp::new(chrono::DateTime::UNIX_EPOCH),
            payload: "{}".into(),
            metadata: "{}".into(),
            commit_end,
        })
    }

    #[test]
    fn a_hole_is_named_by_its_first_position() {
        let page = [event(4, 4), event(5, 5), event(7, 7)];
        assert!(
            assert_contiguous(3, &page)
                .is_err_and(|broken| { matches!(broken, LogError::Broken { position: 6, .. }) })
        );
        assert!(
            assert_contiguous(2, &page)
                .is_err_and(|broken| { matches!(broken, LogError::Broken { position: 3, .. }) })
        );
        assert!(assert_contiguous(3, &page[..2]).is_ok());
    }

    #[test]
    fn a_page_ends_with_a_whole_commit() {
        let mut page = vec![event(1, 2), event(2, 2), event(3, 5), event(4, 5)];
        cut_after_whole_commit(&mut page);
        assert_eq!(page.last().map(|event| event.position), Some(2));
        let mut whole = vec![event(1, 2), event(2, 2)];
        cut_after_whole_commit(&mut whole);
        assert_eq!(whole.len(), 2);
    }
}
