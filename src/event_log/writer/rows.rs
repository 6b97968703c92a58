//! Writes what was accepted: one array a column, one statement a batch.

use super::round_trip::{STEP_TIMEOUT, within};
use crate::event_log::commit::Commit;
use crate::event_log::error::LogError;
use crate::event_log::judge::Verdict;
use domain::{AccountId, Money, Timestamp};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The columns of what is written, one element an event.
#[derive(Default)]
pub(super) struct Rows<'a> {
    positions: Vec<i64>,
    event_ids: Vec<Uuid>,
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<String>,
    sequences: Vec<i64>,
    event_types: Vec<&'a str>,
    event_versions: Vec<&'a str>,
    payloads: Vec<&'a str>,
    metadata: Vec<&'a str>,
    commit_ends: Vec<i64>,
    /// The last balance of each account that the batch moves.
    balances: BTreeMap<AccountId, Money>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(judged: impl Iterator<Item = (&'a Commit, &'a Verdict)>) -> Self {
        let mut rows = Self::default();
        for (commit, verdict) in judged {
            if let Verdict::Accepted { first, last, balances } = verdict {
                rows.push(commit, *first, *last);
                rows.balances.extend(balances.iter().copied());
            }
        }
        rows
    }

    pub(super) fn last_event_id(&self) -> Option<Uuid> {
        self.event_ids.last().copied()
    }

    fn push(&mut self, commit: &'a Commit, first: i64, last: i64) {
        let mut positions = first..;
        for write in &commit.writes {
            for (event, sequence) in write.events.iter().zip(write.expected_version + 1..) {
                self.positions.extend(positions.next());
                self.event_ids.push(event.event_id);
                self.aggregate_types.push(write.stream.aggregate_type);
                self.aggregate_ids.push(write.stream.aggregate_id.to_string());
                self.sequences.push(sequence);
                self.event_types.push(&event.event_type);
                self.event_versions.push(&event.event_version);
                self.payloads.push(&event.payload);
                self.metadata.push(&commit.metadata);
                self.commit_ends.push(last);
            }
        }
    }

    pub(super) async fn write(
        self,
        connection: &mut PgConnection,
        recorded_at: Timestamp,
    ) -> Result<(), LogError> {
        let (accounts, balances): (Vec<Uuid>, Vec<Decimal>) =
            self.balances.iter().map(|(account, balance)| (account.0, balance.decimal())).unzip();
        let query = sqlx::query(include_str!("../write_batch.sql"))
            .bind(self.positions)
            .bind(self.event_ids)
            .bind(self.aggregate_types)
            .bind(self.aggregate_ids)
            .bind(self.sequences)
            .bind(self.event_types)
            .bind(self.event_versions)
            .bind(self.payloads)
            .bind(self.metadata)
            .bind(recorded_at.utc())
            .bind(self.commit_ends)
            .bind(accounts)
            .bind(balances);
        within(STEP_TIMEOUT, query.execute(connection)).await?;
        Ok(())
    }
}
