//! What NATS did not do.

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Something at NATS went wrong. Nothing here is fatal: whoever meets it waits and looks again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be read. The only error that waiting does not mend.
    #[error("the NATS URL cannot be read")]
    Address(#[source] Cause),
    /// No answer in time, or no connection.
    #[error("NATS does not answer")]
    Unreachable(#[source] Cause),
    /// There is no such stream or consumer (any more).
    #[error("the stream or consumer is gone")]
    Gone,
    /// The stream holds as much as it may.
    #[error("the stream takes no more: {0}")]
    Full(String),
    /// What was published is not where it should be. Look again before publishing more.
    #[error("the stream is out of step at position {position}: {why}")]
    OutOfStep {
        /// Where it was noticed.
        position: i64,
        /// What was noticed.
        why: String,
    },
    /// The server says that it has the event already, where it was not expected to.
    #[error("the stream has the event of position {position} already, as message {sequence}")]
    Duplicate {
        /// The event's position.
        position: i64,
        /// Where the server says it is.
        sequence: u64,
    },
    /// The server understood and said no.
    #[error("NATS refused: {0}")]
    Refused(String),
    /// The log did not say what it holds.
    #[error("the log cannot be compared with the stream")]
    Log(#[source] Cause),
}

impl Error {
    pub(super) fn unreachable(cause: impl Into<Cause>) -> Self {
        Self::Unreachable(cause.into())
    }
}
