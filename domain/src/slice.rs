//! A part of a list. Every list in the house is read in such parts.

use crate::Timestamp;
use uuid::Uuid;

/// The most items that a client gets at once.
pub const SLICE_MAX: u32 = 200;

/// The key of lists by creation time: that time, and the id, because two rows can have the same time.
pub type CreationKey = (Timestamp, Uuid);

/// A part of a list, and where the next part begins.
///
/// Lists are walked by a key that never changes, so a client that walks one while rows are added skips and
/// repeats nothing that was there at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice<T, K> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// Pass it as `after` to go on; `None` at the end.
    pub next: Option<K>,
}

impl<T, K> Slice<T, K> {
    /// Cuts `items`, of which one more than `limit` was asked for.
    #[must_use]
    pub fn cut(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> K) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }

    /// The same part of the list, with each item turned into another.
    #[must_use]
    pub fn map<U>(self, to: impl FnMut(T) -> U) -> Slice<U, K> {
        Slice { items: self.items.into_iter().map(to).collect(), next: self.next }
    }
}
