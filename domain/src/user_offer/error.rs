//! Why an order to a subscription cannot be followed.

/// What the state forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such subscription.
    #[error("this subscription was never activated")]
    NeverActivated,
    /// Another transaction has started it.
    #[error("this subscription was started by another transaction")]
    AlreadyActivated,
}
