//! What is found out about a run of records by themselves.

use crate::tree::{Hash, leaf_hash};
use domain::{AccountId, Contradiction, Event, NotARecord, Recorded, Timestamp};
use uuid::Uuid;

/// Records that follow one another, up to the first that is wrong.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) records: Vec<Record>,
    /// What is wrong with the record after these.
    pub(super) problem: Option<Problem>,
    /// The records that were looked at, for a caller that needs them too.
    pub length: usize,
}

/// What the verifier needs of a record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) leaf: Hash,
    pub(super) position: i64,
    pub(super) recorded_at: Timestamp,
    pub(super) commit_end: i64,
    pub(super) aggregate_id: Uuid,
    pub(super) sequence: i64,
    pub(super) event: Event,
}

/// Why a record is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the line is not UTF-8")]
    NotUtf8,
    #[error("the line is no record: {0}")]
    NotARecord(#[from] NotARecord),
    #[error("the last line is cut off: it has no newline")]
    CutOff,
    #[error("its event cannot be read: {0}")]
    Unreadable(String),
    #[error("the record that stands there says that it is at position {0}")]
    Position(i64),
    #[error("the next record is at position {0}: those between are missing")]
    Missing(i64),
    #[error("the record in front of it says that it is at the same position")]
    Twice,
    #[error("it was recorded before the record in front of it")]
    Time,
    #[error("{0}")]
    Rule(#[from] Contradiction),
    #[error("it leaves less than nothing on the account {0}")]
    Overdrawn(AccountId),
}

impl Problem {
    /// Whether the input is no history at all, rather than a wrong one.
    #[must_use]
    pub fn is_unusable(&self) -> bool {
        matches!(self, Self::NotUtf8 | Self::NotARecord(_) | Self::CutOff)
    }
}

impl Batch {
    /// Reads whole lines of an export, each with its newline; the last one of a file may lack it.
    #[must_use]
    pub fn of_lines(text: &[u8]) -> Self {
        let mut batch = Self::default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            batch.length += 1;
            match read(line) {
                Ok(record) => batch.records.push(record),
                Err(problem) => {
                    batch.problem = Some(problem);
                    break;
                }
            }
        }
        batch
    }

    /// Takes events as the database has them.
    #[must_use]
    pub fn of_events(events: &[Recorded]) -> Self {
        let mut batch = Self { length: events.len(), ..Self::default() };
        for event in events {
            match record(event, leaf_hash(event.line())) {
                Ok(record) => batch.records.push(record),
                Err(problem) => {
                    batch.problem = Some(problem);
                    break;
                }
            }
        }
        batch
    }
}

fn read(line: &[u8]) -> Result<Record, Problem> {
    let line = line.strip_suffix(b"\n").ok_or(Problem::CutOff)?;
    let text = std::str::from_utf8(line).map_err(|_| Problem::NotUtf8)?;
    record(&domain::Record::parse(text)?.into(), leaf_hash(line))
}

fn record(recorded: &Recorded, leaf: Hash) -> Result<Record, Problem> {
    let unreadable = |cause: &dyn std::error::Error| Problem::Unreadable(crate::telemetry::chain(cause));
    Ok(Record {
        leaf,
        position: recorded.position,
        recorded_at: recorded.recorded_at,
        commit_end: recorded.commit_end,
        aggregate_id: recorded.aggregate_uuid().map_err(|cause| unreadable(&cause))?,
        sequence: recorded.sequence,
        event: recorded.event().map_err(|cause| unreadable(&cause))?.clone(),
    })
}
