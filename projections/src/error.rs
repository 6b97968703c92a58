//! What can go wrong with something derived.

use domain::Recorded;
use std::time::Duration;

/// Why a projection could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// PostgreSQL did not answer, or refused.
    #[error("the read tables cannot be reached")]
    Database(#[from] sqlx::Error),
    /// Redis did not answer in time, or refused.
    #[error("Redis cannot be reached")]
    Redis(#[from] redis::RedisError),
    /// The log could not be asked about a checkpoint.
    #[error("the log cannot be asked about the checkpoint")]
    History(#[source] domain::HistoryError),
    /// Somebody else has moved the checkpoint, or it was lost: ask for it again.
    #[error("the checkpoint is no longer {expected}: another projector was here, or it was lost")]
    Overtaken {
        /// Where the page began.
        expected: i64,
    },
    /// The read tables have not come as far as was asked within the time that was given.
    #[error("the read tables have not reached position {position} within {waited:?}")]
    Behind {
        /// How far was asked.
        position: i64,
        /// How long was waited.
        waited: Duration,
    },
    /// The read tables have lost rows, are not there, or are of another log. They are rebuilt; until then no list is
    /// served.
    #[error("the read tables are not whole: {0}")]
    Lost(&'static str),
    /// An event that this version cannot read: stop there rather than skip it.
    #[error(transparent)]
    Unreadable(#[from] domain::UnknownEvent),
    /// History is not what it must be: stop, a person has to look.
    #[error("the projection cannot go on at position {position}: {why}")]
    Broken {
        /// Where.
        position: i64,
        /// What is wrong.
        why: &'static str,
    },
}

impl Error {
    pub(crate) fn no_uuid(event: &Recorded) -> Self {
        Self::Broken { position: event.position, why: "the aggregate's id is not a UUID" }
    }
}
