//! Appends leaves to a tree of which only the right edge is kept.

use super::hash::{Hash, node_hash, root_of};
use super::tile::{MissingHash, TILE_HASHES, Tile, TileId, Tiles};

/// A tree that grows. It keeps at most 255 hashes for every factor 256 of its size.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    size: u64,
    /// The roots of the perfect subtrees, from left to right.
    subtrees: Vec<Hash>,
    /// The hashes of the growing tiles, by level.
    growing: Vec<Vec<Hash>>,
}

impl Builder {
    /// The tree of `size` leaves, of which `tiles` has the growing tiles at least.
    ///
    /// # Errors
    /// The first tile that lacks a hash.
    pub fn resume(size: u64, tiles: &Tiles) -> Result<Self, MissingHash> {
        let mut growing = Vec::new();
        for (id, hashes) in TileId::growing(size) {
            growing.resize(usize::from(id.level) + 1, Vec::new());
            let stored = tiles.hashes(id).get(..hashes).ok_or(MissingHash(id))?;
            growing[usize::from(id.level)] = stored.to_vec();
        }
        let subtrees = super::tile::subtrees(0..size).into_iter().map(|node| tiles.hash(node));
        Ok(Self { size, subtrees: subtrees.collect::<Result<_, _>>()?, growing })
    }

    /// The number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    #[must_use]
    pub fn root(&self) -> Hash {
        root_of(self.subtrees.iter().copied()).unwrap_or_else(Hash::of_nothing)
    }

    /// Appends a leaf; returns the tiles that are now full.
    pub fn push(&mut self, leaf: Hash) -> Vec<Tile> {
        let mut full = Vec::new();
        let (mut node, mut height, mut index) = (leaf, 0_u8, self.size);
        self.size += 1;
        loop {
            if height % 8 == 0 {
                full.extend(self.add_to_tile(TileId { level: height / 8, index: index >> 8 }, node));
            }
            match index % 2 {
                0 => break,
                _ => node = node_hash(self.subtrees.pop().expect("the left sibling"), node),
            }
            (height, index) = (height + 1, index >> 1);
        }
        self.subtrees.push(node);
        full
    }

    fn add_to_tile(&mut self, id: TileId, node: Hash) -> Option<Tile> {
        let level = usize::from(id.level);
        if self.growing.len() == level {
            self.growing.push(Vec::new());
        }
        let hashes = &mut self.growing[level];
        hashes.push(node);
        (hashes.len() == TILE_HASHES).then(|| Tile { id, hashes: std::mem::take(hashes) })
    }

    /// The tiles that are not full.
    pub fn growing_tiles(&self) -> impl Iterator<Item = Tile> {
        TileId::growing(self.size)
            .map(|(id, _)| Tile { id, hashes: self.growing[usize::from(id.level)].clone() })
    }
}
