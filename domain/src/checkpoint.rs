//! How far something that is derived has come in the log.

use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A position and the id of the event there. A position alone would also fit another history: a log that was
/// restored from an older copy and has grown again. Written `position:event id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The position of the last event that is contained; 0 before the first.
    pub position: i64,
    /// The id of that event; nil before the first.
    pub event_id: Uuid,
}

impl Checkpoint {
    /// Before the first event. Every history has it.
    pub const START: Self = Self { position: 0, event_id: Uuid::nil() };
}

/// The text is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a checkpoint")]
pub struct InvalidCheckpoint;

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.position, self.event_id)
    }
}

impl FromStr for Checkpoint {
    type Err = InvalidCheckpoint;

    fn from_str(text: &str) -> Result<Self, InvalidCheckpoint> {
        let (position, event_id) = text.split_once(':').ok_or(InvalidCheckpoint)?;
        let position = position.parse().map_err(|_| InvalidCheckpoint)?;
        let event_id = event_id.parse().map_err(|_| InvalidCheckpoint)?;
        let checkpoint = Self { position, event_id };
        // Only one way to write it: scripts compare the text.
        if position >= 0 && checkpoint.to_string() == text { Ok(checkpoint) } else { Err(InvalidCheckpoint) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        for checkpoint in [Checkpoint::START, Checkpoint { position: i64::MAX, event_id: Uuid::from_u128(7) }]
        {
            assert_eq!(checkpoint.to_string().parse(), Ok(checkpoint));
        }
    }

    #[test]
    fn whatever_else_stands_there_is_no_checkpoint() {
        let id = Uuid::nil();
        let texts = ["", "abc", "5", "-5", ":", "5:", "5:abc"].map(str::to_owned);
        let with_id = ["-5", "+5", "05", " 5", "", "9223372036854775808"].map(|text| format!("{text}:{id}"));
        for text in texts.into_iter().chain(with_id) {
            assert_eq!(text.parse::<Checkpoint>(), Err(InvalidCheckpoint), "{text:?}");
        }
    }
}
