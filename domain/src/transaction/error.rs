//! Why an order to a transaction cannot be followed.

/// What the state forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The id belongs to another request.
    #[error("this transaction was requested with other terms")]
    AlreadyRequested,
    /// Another's account, an amount below zero, or a renewal of nothing.
    #[error("a purchase is paid by its buyer, costs 0.00 or more, and names what it renews")]
    UnsoundRequest,
    /// There is no such transaction.
    #[error("this transaction was never requested")]
    NeverRequested,
    /// An attempt was skipped.
    #[error("attempts begin one after the other")]
    AttemptOutOfOrder,
    /// An outcome before anybody was asked.
    #[error("this transaction is not being processed")]
    NotProcessing,
    /// It cannot be given up: an attempt may have reached the external system.
    #[error("an attempt may have reached the activation system: only its answer can end this transaction")]
    MayBeDone,
    /// A late answer to what is not final.
    #[error("this transaction is not final")]
    NotFinal,
    /// Final.
    #[error("this transaction has succeeded")]
    AlreadySucceeded,
    /// Final.
    #[error("this transaction has failed and was refunded")]
    AlreadyFailed,
}
