//! Reads the state that a batch touches, each thing once, in one round trip.

use super::batch::Batch;
use super::round_trip::{STEP_TIMEOUT, within};
use crate::event_log::commit::StreamId;
use crate::event_log::error::LogError;
use crate::event_log::judge::State;
use domain::{AccountId, Money, Timestamp};
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// The state that `batch` touches, and when the last event was recorded.
pub(super) async fn read_state(
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<(State, Option<Timestamp>), LogError> {
    let asked = Asked::by(batch);
    let (types, ids): (Vec<&str>, Vec<String>) =
        asked.streams.iter().map(|stream| (stream.aggregate_type, stream.aggregate_id.to_string())).unzip();
    let accounts: Vec<Uuid> = asked.accounts.iter().map(|account| account.0).collect();
    let query = sqlx::query(include_str!("../read_state.sql"))
        .bind(types)
        .bind(ids)
        .bind(accounts)
        .bind(&asked.events);
    let rows = within(STEP_TIMEOUT, query.fetch_all(connection)).await?;
    asked.state(&rows).map_err(LogError::from)
}

/// What a batch wants to know, each thing once.
struct Asked {
    streams: Vec<StreamId>,
    accounts: Vec<AccountId>,
    events: Vec<Uuid>,
}

impl Asked {
    fn by(batch: &Batch) -> Self {
        let mut streams = HashSet::new();
        let mut accounts = HashSet::new();
        let mut events = HashSet::new();
        for commit in batch.commits() {
            streams.extend(commit.writes.iter().map(|write| write.stream));
            streams.extend(commit.expected_versions.iter().map(|(stream, _)| *stream));
            accounts.extend(commit.entries.iter().map(|(account, _)| *account));
            events.extend(commit.first_event_id().filter(|_| commit.is_idempotent));
        }
        Self {
            streams: streams.into_iter().collect(),
            accounts: accounts.into_iter().collect(),
            events: events.into_iter().collect(),
        }
    }

    /// The answer's rows (see `read_state.sql`) as a state.
    fn state(&self, rows: &[PgRow]) -> Result<(State, Option<Timestamp>), sqlx::Error> {
        let mut state = State { versions: HashMap::with_capacity(self.streams.len()), ..State::default() };
        let mut recorded_at = None;
        for row in rows {
            let ord: i64 = row.try_get(1)?;
            let index = usize::try_from(ord - 1).unwrap_or_default();
            match row.try_get::<i16, _>(0)? {
                0 => {
                    state.head = row.try_get(2)?;
                    recorded_at = Some(Timestamp::new(row.try_get(4)?));
                }
                1 => {
                    state.versions.insert(self.streams[index], row.try_get(2)?);
                }
                2 => {
                    let balance: Decimal = row.try_get(3)?;
                    let balance =
                        Money::try_from(balance).map_err(|cause| sqlx::Error::Decode(cause.into()))?;
                    state.balances.insert(self.accounts[index], balance);
                }
                _ => {
                    state.known_events.insert(self.events[index]);
                }
            }
        }
        Ok((state, recorded_at))
    }
}
