//! What was found out about a history.

use super::Problem;
use crate::tree::Hash;
use serde::Serialize;
use std::fmt;

/// The end of a verification.
#[derive(Debug)]
pub struct Report {
    /// Records that were read and are right by themselves.
    pub records: u64,
    /// The root over them.
    pub root: Hash,
    /// What is wrong, the first place first.
    pub findings: Vec<Finding>,
    pub checkpoints: Vec<Compared>,
    /// The input is no history from here on.
    pub unusable: Option<(Place, Problem)>,
}

impl Report {
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty() && self.unusable.is_none()
    }

    /// Where the history is wrong first.
    #[must_use]
    pub fn first_wrong(&self) -> Option<Place> {
        self.findings.first().map(|finding| finding.place)
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub place: Place,
    pub what: String,
}

/// A position, or a part of the log of which one position is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub first: u64,
    pub last: u64,
}

impl Place {
    pub(super) fn at(position: u64) -> Self {
        Self { first: position, last: position }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "position {}", self.first),
            false => write!(f, "between the positions {} and {}", self.first, self.last),
        }
    }
}

/// A checkpoint and the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    pub source: String,
    pub size: u64,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Matches,
    Differs,
    /// The history ends, or is wrong by itself, before this size.
    NotReached,
}
