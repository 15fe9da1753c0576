//! Processes by id.

use super::Process;
use crate::model::ProcessId;
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use std::ops::{Deref, DerefMut};

type ById = IndexMap<ProcessId, Process, RandomState>;

/// A map whose [`get_mut`](Table::get_mut) looks first where it found something last: events of a process come in runs.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_id: ById,
    last: usize,
}

impl Table {
    pub(super) fn get_mut(&mut self, id: &ProcessId) -> Option<&mut Process> {
        let is_last = self.by_id.get_index(self.last).is_some_and(|(known, _)| known == id);
        if !is_last {
            self.last = self.by_id.get_index_of(id)?;
        }
        self.by_id.get_index_mut(self.last).map(|(_, process)| process)
    }
}

impl Deref for Table {
    type Target = ById;

    fn deref(&self) -> &ById {
        &self.by_id
    }
}

impl DerefMut for Table {
    fn deref_mut(&mut self) -> &mut ById {
        &mut self.by_id
    }
}
