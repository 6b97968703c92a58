//! Why the tree does not grow, or a proof cannot be made.

use crate::event_log::LogError;
use crate::tree::MissingHash;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("PostgreSQL does not answer")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Log(#[from] LogError),
    /// A tile that must be there is not.
    #[error("the tree is damaged")]
    Damaged(#[from] MissingHash),
    /// The tree is of another history than the log. A person must look: one of them was changed.
    #[error("the tree contradicts the log at position {position}: {why}")]
    Contradicts { position: u64, why: &'static str },
    #[error("the tree does not end at {0} records any more: another projector was here")]
    Overtaken(u64),
    #[error("nothing has been signed")]
    NothingSigned,
    #[error("there is no checkpoint of this size")]
    NoCheckpoint,
    /// The log does not have the position yet.
    #[error("the log ends before this position")]
    BeyondTheLog,
    /// No checkpoint has the position yet. Try again soon.
    #[error("no checkpoint has this position yet")]
    NotSignedYet,
}
