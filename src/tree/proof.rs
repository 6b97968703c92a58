//! Inclusion and consistency proofs (RFC 6962, section 2.1; verified as RFC 9162, section 2.1.3, says).

use super::hash::{Hash, node_hash, root_of};
use super::tile::{MissingHash, Node, TileId, Tiles, subtrees};
use std::collections::BTreeSet;
use std::ops::Range;

/// Which hashes a proof consists of: each is the root over the perfect subtrees named. It says which tiles are
/// needed before any is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan(Vec<Vec<Node>>);

impl Plan {
    /// That the leaf `index` is in the tree of `size` leaves; `None` if it is not.
    #[must_use]
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        if index >= size {
            return None;
        }
        let mut hashes = Vec::new();
        let mut range = 0..size;
        while range.end - range.start > 1 {
            let (left, right) = split(&range);
            let (on, beside) = if index < left.end { (left, right) } else { (right, left) };
            hashes.push(subtrees(beside));
            range = on;
        }
        hashes.reverse();
        Some(Self(hashes))
    }

    /// That the tree of `from` leaves is the beginning of that of `to` leaves; `None` if it is larger.
    #[must_use]
    pub fn consistency(from: u64, to: u64) -> Option<Self> {
        if from > to {
            return None;
        }
        let mut hashes = Vec::new();
        if from == 0 || from == to {
            return Some(Self(hashes));
        }
        let mut range = 0..to;
        while range.end != from {
            let (left, right) = split(&range);
            let (on, beside) = if from <= left.end { (left, right) } else { (right, left) };
            hashes.push(subtrees(beside));
            range = on;
        }
        if range.start > 0 {
            hashes.push(subtrees(range)); // else it is the older root, which the verifier has
        }
        hashes.reverse();
        Some(Self(hashes))
    }

    /// The root of the tree of `size` leaves; no hashes if it is empty.
    #[must_use]
    pub fn root(size: u64) -> Self {
        Self(if size == 0 { Vec::new() } else { vec![subtrees(0..size)] })
    }

    #[must_use]
    pub fn tiles(&self) -> BTreeSet<TileId> {
        self.0.iter().flatten().map(|node| node.tile()).collect()
    }

    /// The hashes, in the order of the proof.
    ///
    /// # Errors
    /// The first tile that lacks a hash.
    pub fn hashes(&self, tiles: &Tiles) -> Result<Vec<Hash>, MissingHash> {
        let hash = |nodes: &Vec<Node>| {
            let nodes: Vec<_> = nodes.iter().map(|node| tiles.hash(*node)).collect::<Result<_, _>>()?;
            Ok(root_of(nodes.into_iter()).expect("at least one subtree"))
        };
        self.0.iter().map(hash).collect()
    }
}

/// The two subtrees of a tree with more than one leaf: the left one is the largest perfect one that leaves something.
fn split(range: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let leaves = range.end - range.start;
    let middle = range.start + (1 << (leaves - 1).ilog2());
    (range.start..middle, middle..range.end)
}

/// The proof does not lead to the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProof {
    #[error("index {index} is not in a tree of {size} leaves")]
    OutOfRange { index: u64, size: u64 },
    #[error("a tree of {from} leaves is not the beginning of one of {to}")]
    Shrinks { from: u64, to: u64 },
    #[error("the proof has {found} hashes instead of {expected}")]
    Length { expected: usize, found: usize },
    #[error("the proof leads to another root")]
    AnotherRoot,
    #[error("the proof leads to another root of the older tree")]
    AnotherOlderRoot,
}

/// Checks that `leaf` has the place `index` in the tree of `size` leaves with this root.
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    root: Hash,
    proof: &[Hash],
) -> Result<(), InvalidProof> {
    let expected = Plan::inclusion(index, size).ok_or(InvalidProof::OutOfRange { index, size })?;
    assert_length(&expected, proof)?;
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if node % 2 == 1 || node == last {
            hash = node_hash(*sibling, hash);
            while node % 2 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(hash, *sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if hash == root { Ok(()) } else { Err(InvalidProof::AnotherRoot) }
}

/// Checks that the tree of `from` leaves with the root `older` is the beginning of that of `to` leaves with the
/// root `newer`.
pub fn verify_consistency(
    from: u64,
    older: Hash,
    to: u64,
    newer: Hash,
    proof: &[Hash],
) -> Result<(), InvalidProof> {
    let expected = Plan::consistency(from, to).ok_or(InvalidProof::Shrinks { from, to })?;
    assert_length(&expected, proof)?;
    if from == 0 && older != Hash::of_nothing() {
        return Err(InvalidProof::AnotherOlderRoot);
    }
    if from == to && older != newer {
        return Err(InvalidProof::AnotherRoot);
    }
    if from == 0 || from == to {
        return Ok(());
    }
    let (mut node, mut last) = (from - 1, to - 1);
    while node % 2 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let mut hashes = proof.iter().copied();
    let first = if from.is_power_of_two() { Some(older) } else { hashes.next() };
    let first = first.expect("the length was checked");
    let (mut old_root, mut new_root) = (first, first);
    for hash in hashes {
        if node % 2 == 1 || node == last {
            (old_root, new_root) = (node_hash(hash, old_root), node_hash(hash, new_root));
            while node % 2 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new_root = node_hash(new_root, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (old_root == older, new_root == newer) {
        (true, true) => Ok(()),
        (false, _) => Err(InvalidProof::AnotherOlderRoot),
        (true, false) => Err(InvalidProof::AnotherRoot),
    }
}

fn assert_length(plan: &Plan, proof: &[Hash]) -> Result<(), InvalidProof> {
    let (expected, found) = (plan.0.len(), proof.len());
    if expected == found { Ok(()) } else { Err(InvalidProof::Length { expected, found }) }
}
