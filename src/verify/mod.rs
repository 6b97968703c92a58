//! Checks a history: that each record is in its form and its place, that the rules allow it, and that the tree over all
//! of them has the roots that signed checkpoints vouch for.
//!
//! A [`Batch`] is what one thread finds out about some records alone; the [`Verifier`] takes the batches in order. It
//! stops at the first record that is wrong by itself, and then says what the checkpoints know of those before it.
//!
//! **Architecture Invariant:** this room does no I/O: a history is checked in the same way whether it comes from the
//! database or from an export that was carried elsewhere.

mod batch;
mod checkpoints;
mod report;
mod threads;
mod verifier;

pub use batch::{Batch, Problem};
pub use checkpoints::{Checkpoints, Unusable};
pub use report::{Compared, Finding, Place, Report, State};
pub use threads::in_order;
pub use verifier::Verifier;
