//! What binaries were found to be.

use super::Opened;
use ratatosk_abi::Language;
use std::collections::{HashMap, VecDeque};

/// By file, the oldest given up first. A forked examiner looks into the copy that it inherited.
#[derive(Debug)]
pub(super) struct Cache {
    capacity: usize,
    found: HashMap<Opened, Language>,
    order: VecDeque<Opened>,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, found: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get(&self, file: &Opened) -> Option<Language> {
        self.found.get(file).copied()
    }

    pub(super) fn insert(&mut self, file: Opened, language: Language) {
        if self.found.insert(file, language).is_none() {
            self.order.push_back(file);
        }
        if self.order.len() > self.capacity {
            self.order.pop_front().into_iter().for_each(|oldest| _ = self.found.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let mut cache = Cache::new(2);
        let file = |ino| Opened { ino, ..Opened::default() };
        for ino in [1, 2, 2, 3] {
            cache.insert(file(ino), Language::Go);
        }
        assert_eq!([1, 2, 3].map(|ino| cache.get(&file(ino)).is_some()), [false, true, true]);
        assert_eq!((cache.found.len(), cache.order.len()), (2, 2));
    }

    #[test]
    fn a_file_that_was_written_since_is_another_one() {
        let mut cache = Cache::new(2);
        cache.insert(Opened { ino: 1, mtime_ns: 1, ..Opened::default() }, Language::Go);
        assert_eq!(cache.get(&Opened { ino: 1, mtime_ns: 2, ..Opened::default() }), None);
    }
}
