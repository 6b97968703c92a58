//! The hashes of leaves and nodes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, Digest, SHA256, digest};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 of the tree. As text it is base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; Self::BYTES]);

impl Hash {
    pub const BYTES: usize = 32;

    /// The root of the tree without leaves.
    #[must_use]
    pub fn of_nothing() -> Self {
        Self::of(digest(&SHA256, &[]))
    }

    fn of(digest: Digest) -> Self {
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// The leaf of a record line, which is given without its newline.
#[must_use]
pub fn leaf_hash(line: impl AsRef<[u8]>) -> Hash {
    let mut hash = Context::new(&SHA256);
    hash.update(&[0]);
    hash.update(line.as_ref());
    Hash::of(hash.finish())
}

/// The node above two others.
#[must_use]
pub fn node_hash(left: Hash, right: Hash) -> Hash {
    let mut hash = Context::new(&SHA256);
    for bytes in [&[1][..], &left.0, &right.0] {
        hash.update(bytes);
    }
    Hash::of(hash.finish())
}

/// The root over perfect subtrees, given from left to right; each is at least as high as the next.
pub(super) fn root_of(subtrees: impl DoubleEndedIterator<Item = Hash>) -> Option<Hash> {
    subtrees.rev().reduce(|right, left| node_hash(left, right))
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not the base64 of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 44 characters of base64")]
pub struct InvalidHash;

impl FromStr for Hash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let bytes = STANDARD.decode(text).map_err(|_| InvalidHash)?;
        bytes.try_into().map(Self).map_err(|_| InvalidHash)
    }
}
