//! Errors of NATS and of the stream.

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why NATS did not do what we asked. Waiting and trying again mends all but `Address`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the NATS URL is invalid")]
    Address(#[source] Cause),
    /// No answer in time, or no connection.
    #[error("NATS does not answer")]
    Unreachable(#[source] Cause),
    /// The stream or consumer does not exist (any more).
    #[error("the stream or consumer does not exist")]
    Gone,
    /// The stream has reached its limit.
    #[error("the stream is full: {0}")]
    Full(String),
    /// A published event is not at its position. Inspect the stream before publishing more.
    #[error("the stream is out of step at position {position}: {why}")]
    OutOfStep { position: i64, why: String },
    /// The server says that the stream already has the event.
    #[error("the stream already has the event of position {position}, as message {sequence}")]
    Duplicate { position: i64, sequence: u64 },
    /// The server rejected the request.
    #[error("NATS refused: {0}")]
    Refused(String),
    /// The event log could not be read.
    #[error("cannot compare the stream with the log")]
    Log(#[source] Cause),
}

impl Error {
    pub(super) fn unreachable(cause: impl Into<Cause>) -> Self {
        Self::Unreachable(cause.into())
    }
}
