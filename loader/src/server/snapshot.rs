//! What is known, told from the start: to a processor that joins, and in place of control records that were too many.
//!
//! A snapshot is made piece by piece as the stream takes it, so that its size is bounded by no queue. Records of what
//! happens meanwhile come in between: they are newer than what they stand beside.

use crate::server::announce;
use crate::server::hub::Hub;
use crate::server::kernel::Kernel;
use ratatosk_abi::RecordKind;

/// Control bytes that wait at most while a snapshot is made; leaves room for what happens meanwhile.
const SNAPSHOT_AHEAD_BYTES: usize = 512 * 1024;

/// How far the snapshot is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Snapshot {
    /// Nothing to tell.
    Whole,
    /// To begin as soon as the stream takes it.
    Wanted,
    /// Processes up to `told` are told; ends with `last`, as newer ones were told when they came.
    Processes {
        /// Handle.
        told: u64,
        /// Handle.
        last: u64,
    },
    /// Listeners up to this (cookie, tgid) are told.
    Listeners {
        /// Cookie and tgid.
        told: (u64, u32),
    },
}

impl<K: Kernel> Hub<K> {
    /// Makes as much of the snapshot as the stream will take soon.
    pub(super) fn continue_snapshot(&mut self) {
        let room = SNAPSHOT_AHEAD_BYTES.min(self.options.bounds.control_bytes / 4);
        while self.snapshot != Snapshot::Whole && self.queue.control_bytes() < room && self.queue.has_window()
        {
            self.snapshot = match self.snapshot {
                Snapshot::Whole => Snapshot::Whole,
                Snapshot::Wanted => self.begin_snapshot(),
                Snapshot::Processes { told, last } => self.tell_process(told, last),
                Snapshot::Listeners { told } => self.tell_listener(told),
            };
        }
    }

    fn begin_snapshot(&mut self) -> Snapshot {
        self.collapsed = false;
        self.tell(RecordKind::SnapshotBegin, &announce::marker(RecordKind::SnapshotBegin, self.kernel.now()));
        Snapshot::Processes { told: 0, last: self.processes.last_handle() }
    }

    fn tell_process(&mut self, told: u64, last: u64) -> Snapshot {
        let Some(process) = self.processes.after(told).filter(|process| process.handle <= last) else {
            return Snapshot::Listeners { told: (0, 0) };
        };
        let (now_ns, told) = (self.kernel.now(), process.handle);
        let state = self.kernel.target(process.tgid());
        let exists = announce::process(process, state, now_ns);
        let info = process.info.as_ref().map(|info| announce::process_info(process, info, state, now_ns));
        self.tell(RecordKind::Process, &exists);
        if let Some(info) = info {
            self.tell(RecordKind::ProcessInfo, &info);
        }
        Snapshot::Processes { told, last }
    }

    fn tell_listener(&mut self, told: (u64, u32)) -> Snapshot {
        let now_ns = self.kernel.now();
        let Some((told, listener)) = self.processes.listener_after(told) else {
            self.tell(RecordKind::SnapshotEnd, &announce::marker(RecordKind::SnapshotEnd, now_ns));
            return Snapshot::Whole;
        };
        let listens = announce::listener(listener, self.kernel.target(told.1), now_ns);
        self.tell(RecordKind::Listen, &listens);
        Snapshot::Listeners { told }
    }
}
