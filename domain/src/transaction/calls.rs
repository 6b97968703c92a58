//! What is known about the calls to the external system.

use super::{AttemptKind, Evidence};
use serde::{Deserialize, Serialize};

/// What is known about the calls of a transaction whose outcome is open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// The attempts that have begun, and about whose end nothing is known.
    open: Vec<u32>,
    /// An attempt may have reached the external system.
    reached: bool,
    /// The look-up or cancellation that went wrong last since the last attempt began.
    last: Option<(AttemptKind, Evidence)>,
    /// A cancellation has begun since the last attempt began.
    is_cancelling: bool,
}

impl Calls {
    /// Whether the external system may have done it, or may yet do it. Then it is asked before the next attempt,
    /// and only its answer can end the transaction.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        self.reached || !self.open.is_empty()
    }

    pub(super) fn is_cancelling(&self) -> bool {
        self.is_cancelling
    }

    /// Whether this failure says nothing new: of an attempt that has ended already, or of another look-up or
    /// cancellation that went wrong like the last one.
    pub(super) fn is_known(&self, attempt: u32, kind: AttemptKind, evidence: Evidence) -> bool {
        match kind {
            AttemptKind::Activate => !self.open.contains(&attempt),
            AttemptKind::LookUp | AttemptKind::Cancel => self.last == Some((kind, evidence)),
        }
    }

    pub(super) fn begin(&mut self, attempt: u32) {
        self.open.push(attempt);
        self.last = None;
        self.is_cancelling = false;
    }

    pub(super) fn cancel(&mut self) {
        self.is_cancelling = true;
    }

    pub(super) fn fail(&mut self, attempt: u32, kind: AttemptKind, evidence: Evidence) {
        if kind == AttemptKind::Activate {
            self.open.retain(|open| *open != attempt);
            self.reached |= !evidence.is_certain();
        } else {
            self.last = Some((kind, evidence));
        }
    }
}
