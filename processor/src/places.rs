//! A cache that never grows and never looks far: every key has one place, which belongs to the last one that came.

use foldhash::fast::RandomState;
use std::hash::{BuildHasher, Hash};

/// Places of each cache: most requests of a service are like a few before.
pub(crate) const PLACES: usize = 1024;

/// [`PLACES`] values, or none at all before the first one. A value must be able to say whose it is: keys share places.
#[derive(Debug)]
pub(crate) struct Places<T> {
    values: Vec<Option<T>>,
    hasher: RandomState,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { values: Vec::new(), hasher: RandomState::default() }
    }
}

impl<T> Places<T> {
    /// What the other methods know a key by.
    pub(crate) fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Who has the place now.
    pub(crate) fn get(&self, hash: u64) -> Option<&T> {
        self.values.get(place(hash))?.as_ref()
    }

    pub(crate) fn put(&mut self, hash: u64, value: T) {
        self.values.resize_with(PLACES, || None);
        if let Some(place) = self.values.get_mut(place(hash)) {
            *place = Some(value);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
    }
}

fn place(hash: u64) -> usize {
    usize::try_from(hash).unwrap_or_default() % PLACES
}
