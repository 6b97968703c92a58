//! Orders to the catalogue.

use super::Terms;

/// An order to an offer.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Put it on sale.
    Create(Terms),
    /// Put it into the catalogue, to be sold later.
    Prepare(Terms),
    /// New terms for those who buy from now on.
    Change(Terms),
    /// Take it off sale.
    Deactivate,
    /// Put it on sale again.
    Reactivate,
}
