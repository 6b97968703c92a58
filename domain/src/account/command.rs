//! Orders to an account.

use super::Kind;
use crate::Money;

/// An order to an account.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Open it for its owner.
    Open {
        /// What the owner is.
        kind: Kind,
    },
    /// Pay in.
    Credit {
        /// More than nothing.
        amount: Money,
    },
    /// Pay out.
    Debit {
        /// More than nothing.
        amount: Money,
    },
}
