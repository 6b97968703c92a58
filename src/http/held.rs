//! What each caller or address holds at the same time, counted.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// How many places each key holds. Cheap to clone; clones count together.
#[derive(Clone)]
pub(super) struct Places<K: Copy + Eq + Hash>(Arc<Mutex<HashMap<K, u32>>>);

/// One place of a key, given back when dropped.
pub(super) struct Place<K: Copy + Eq + Hash> {
    places: Places<K>,
    key: K,
}

impl<K: Copy + Eq + Hash> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Copy + Eq + Hash> Places<K> {
    /// One more place for `key`; `None` when it holds `most` already.
    pub(super) fn take(&self, key: K, most: u32) -> Option<Place<K>> {
        let mut held = self.0.lock();
        let mine = held.entry(key).or_default();
        if *mine >= most {
            return None;
        }
        *mine += 1;
        Some(Place { places: self.clone(), key })
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut held = self.places.0.lock();
        match held.get_mut(&self.key) {
            Some(mine) if *mine > 1 => *mine -= 1,
            _ => {
                held.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped_and_nothing_is_left_behind() {
        let places = Places::default();
        let (first, second) = (places.take("a", 2), places.take("a", 2));
        assert!(first.is_some() && second.is_some() && places.take("a", 2).is_none());
        assert!(places.take("b", 2).is_some(), "each key has its own");
        drop(first);
        assert!(places.take("a", 2).is_some());
        drop(second);
        assert!(places.0.lock().is_empty());
    }
}
