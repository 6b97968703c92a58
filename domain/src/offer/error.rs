//! Why an order to the catalogue cannot be followed.

/// What the state forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such offer.
    #[error("this offer was never created")]
    NeverCreated,
    /// The id belongs to another offer.
    #[error("this offer was created with other terms")]
    AlreadyCreated,
    /// A price below zero, no name, or a duration that is not 1 to 3650 days.
    #[error("an offer has a name, a price of 0.00 or more and a duration of 1 to 3650 days")]
    UnsoundTerms,
    /// It is not on sale.
    #[error("this offer is not on sale")]
    NotOnSale,
    /// The buyer expects another price.
    #[error("this offer has another price")]
    AnotherPrice,
}
