//! Why an order to an account cannot be followed.

/// What the state forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The id belongs to an owner of another kind.
    #[error("this account was opened for an owner of another kind")]
    OpenedForAnother,
    /// Nothing or less.
    #[error("an amount that is paid in or out is more than 0.00")]
    AmountNotPositive,
}
