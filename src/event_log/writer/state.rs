//! Reads what is not known of the state that commits touch, each thing once, in one round trip.

use super::round_trip::{STEP_TIMEOUT, within};
use crate::event_log::commit::{Commit, StreamId};
use crate::event_log::error::LogError;
use crate::event_log::judge::State;
use domain::{AccountId, Money};
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use std::collections::HashSet;
use uuid::Uuid;

/// What must be read, each thing once.
pub(super) struct Unknown {
    streams: Vec<StreamId>,
    accounts: Vec<AccountId>,
    events: Vec<Uuid>,
}

impl Unknown {
    /// What `commits` touch and `state` does not know. If `assumes_new`, a stream that is to begin and the id of a
    /// new event need not be known: an index refuses those that are in the log.
    pub(super) fn of<'a>(
        commits: impl Iterator<Item = &'a Commit>,
        state: &State,
        assumes_new: bool,
    ) -> Self {
        let mut streams = HashSet::new();
        let mut accounts = HashSet::new();
        let mut events = HashSet::new();
        for commit in commits {
            let written = commit.writes.iter().filter(|write| write.expected_version > 0 || !assumes_new);
            let written = written.map(|write| write.stream);
            let read = commit.expected_versions.iter().map(|(stream, _)| *stream);
            streams.extend(written.chain(read).filter(|stream| !state.versions.contains_key(stream)));
            let moved = commit.entries.iter().map(|(account, _)| *account);
            accounts.extend(moved.filter(|account| !state.balances.contains_key(account)));
            let event = commit.idempotent_event_id().filter(|_| !assumes_new);
            events.extend(event.filter(|event| !state.events.contains_key(event)));
        }
        Self {
            streams: streams.into_iter().collect(),
            accounts: accounts.into_iter().collect(),
            events: events.into_iter().collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.accounts.is_empty() && self.events.is_empty()
    }

    /// Reads it from the tables.
    pub(super) async fn read_into(
        self,
        state: &mut State,
        connection: &mut PgConnection,
    ) -> Result<(), LogError> {
        if self.is_empty() {
            return Ok(());
        }
        let (types, ids): (Vec<&str>, Vec<String>) = self
            .streams
            .iter()
            .map(|stream| (stream.aggregate_type, stream.aggregate_id.to_string()))
            .unzip();
        let accounts: Vec<Uuid> = self.accounts.iter().map(|account| account.0).collect();
        let query = sqlx::query(include_str!("../read_state.sql"))
            .bind(types)
            .bind(ids)
            .bind(accounts)
            .bind(&self.events);
        let rows = within(STEP_TIMEOUT, query.fetch_all(connection)).await?;
        self.put_into(state, &rows).map_err(LogError::from)
    }

    /// Puts the answer's rows (see `read_state.sql`) into `state`; what has no row is not in the log.
    fn put_into(self, state: &mut State, rows: &[PgRow]) -> Result<(), sqlx::Error> {
        state.versions.extend(self.streams.iter().map(|stream| (*stream, 0)));
        state.balances.extend(self.accounts.iter().map(|account| (*account, Money::ZERO)));
        state.events.extend(self.events.iter().map(|event| (*event, false)));
        for row in rows {
            let ord: i64 = row.try_get(1)?;
            let index = usize::try_from(ord - 1).unwrap_or_default();
            match row.try_get::<i16, _>(0)? {
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
                    state.events.insert(self.events[index], true);
                }
            }
        }
        Ok(())
    }
}
