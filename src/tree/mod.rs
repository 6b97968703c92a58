//! The Merkle tree over the log (RFC 6962, SHA-256), signed checkpoints and proofs (C2SP).
//!
//! The leaves are the record lines; the leaf of position `p` has the index `p - 1`. Whoever keeps a checkpoint can
//! prove later that no record before it was edited, deleted, inserted or moved.
//!
//! **Architecture Invariant:** this room does no I/O and knows no clock and no randomness, so `offers verify` needs
//! nothing but a file.

mod builder;
mod checkpoint;
mod hash;
mod keys;
mod note;
mod proof;
mod receipt;
#[cfg(test)]
mod tests;
mod text;
mod tile;

pub use builder::Builder;
pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use hash::{Hash, leaf_hash, node_hash};
pub use keys::{InvalidKey, SigningKey, VerifierKey};
pub use note::SignatureError;
pub use proof::{InvalidProof, Plan, verify_consistency, verify_inclusion};
pub use receipt::{InvalidReceipt, Receipt};
pub use text::InvalidText;
pub use tile::{MissingHash, Node, TILE_HASHES, Tile, TileId, Tiles};
