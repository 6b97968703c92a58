//! Where the hashes of the tree lie: in tiles of 256 hashes (C2SP tlog-tiles, height 8).
//!
//! A tile of level `n` has nodes of height `8 n`; those between are computed from it. So any hash of any tree is
//! found in one tile, and a proof needs a handful of them.

use super::hash::{Hash, root_of};
use std::collections::BTreeMap;
use std::ops::Range;

/// Levels of the tree in one level of tiles.
const HEIGHT: u8 = 8;
/// Hashes in a full tile.
pub const TILE_HASHES: usize = 1 << HEIGHT;

/// The root of a perfect subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// 0 for a leaf.
    pub height: u8,
    /// From the left, among the nodes of this height.
    pub index: u64,
}

impl Node {
    /// The tile from which its hash is read or computed.
    #[must_use]
    pub fn tile(self) -> TileId {
        let level = self.height / HEIGHT;
        TileId { level, index: self.index >> (HEIGHT - self.height % HEIGHT) }
    }

    /// Which hashes of its tile are below it.
    fn places(self) -> Range<usize> {
        let rise = self.height % HEIGHT;
        let first = usize::try_from((self.index << rise) % (1 << HEIGHT)).expect("below 256");
        first..first + (1 << rise)
    }
}

/// The roots of the perfect subtrees over the leaves of `range`, from left to right. It begins at a multiple of the
/// power of two that its length does not exceed, as each range of RFC 6962 does.
pub(super) fn subtrees(range: Range<u64>) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let fits = (range.end - start).ilog2();
        let height = fits.min(start.trailing_zeros());
        nodes.push(Node { height: u8::try_from(height).expect("at most 64"), index: start >> height });
        start += 1 << height;
    }
    nodes
}

/// The place of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TileId {
    /// Its nodes have the height 8 × `level`.
    pub level: u8,
    /// From the left, among the tiles of this level.
    pub index: u64,
}

impl TileId {
    /// The tiles at the right edge of a tree that are not full, by level, with the number of their hashes.
    pub fn growing(size: u64) -> impl Iterator<Item = (Self, usize)> {
        let levels = (0..u8::try_from(u64::BITS).expect("64").div_ceil(HEIGHT)).map(move |level| {
            let nodes = size >> (level * HEIGHT);
            let hashes = usize::try_from(nodes % (1 << HEIGHT)).expect("below 256");
            (Self { level, index: nodes >> HEIGHT }, hashes)
        });
        levels.filter(|(_, hashes)| *hashes > 0)
    }
}

/// Hashes that lie side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    pub id: TileId,
    /// At most [`TILE_HASHES`].
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// The hashes one after the other, as they are stored.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.0).collect()
    }

    /// `None` if `bytes` are not whole hashes, or more than a tile has.
    #[must_use]
    pub fn from_bytes(id: TileId, bytes: &[u8]) -> Option<Self> {
        let (hashes, rest) = bytes.as_chunks::<{ Hash::BYTES }>();
        let fits = rest.is_empty() && hashes.len() <= TILE_HASHES;
        fits.then(|| Self { id, hashes: hashes.iter().copied().map(Hash).collect() })
    }
}

/// A hash that is in none of the tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tile {} of level {} lacks a hash", .0.index, .0.level)]
pub struct MissingHash(pub TileId);

/// Some tiles of a tree.
#[derive(Clone, Debug, Default)]
pub struct Tiles(BTreeMap<TileId, Vec<Hash>>);

impl Tiles {
    pub(super) fn hash(&self, node: Node) -> Result<Hash, MissingHash> {
        let id = node.tile();
        let below = self.0.get(&id).and_then(|hashes| hashes.get(node.places())).ok_or(MissingHash(id))?;
        Ok(perfect_root(below))
    }

    /// The hashes of a tile; none if it is not there.
    #[must_use]
    pub fn hashes(&self, id: TileId) -> &[Hash] {
        self.0.get(&id).map_or(&[], Vec::as_slice)
    }
}

impl FromIterator<Tile> for Tiles {
    fn from_iter<I: IntoIterator<Item = Tile>>(tiles: I) -> Self {
        Self(tiles.into_iter().map(|tile| (tile.id, tile.hashes)).collect())
    }
}

/// The root over a power of two of hashes.
fn perfect_root(hashes: &[Hash]) -> Hash {
    match hashes {
        [one] => *one,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            root_of([perfect_root(left), perfect_root(right)].into_iter()).expect("two")
        }
    }
}
