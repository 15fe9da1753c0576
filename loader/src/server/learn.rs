//! What control records teach: who runs, who listens, and whose state needs repair.
//!
//! Only fixed parts are looked at, which the kernel wrote; no byte of an observed process.

use crate::server::announce;
use crate::server::hub::Hub;
use crate::server::kernel::Kernel;
use crate::server::ledger::DropReason;
use crate::server::processes::MAX_LISTENERS;
use crate::server::targets::Targets;
use ratatosk_abi::{ConnRecord, ProcessRecord, Record, RecordKind, TargetState};

impl<K: Kernel> Hub<K> {
    /// Learns from a record that was queued already.
    pub(super) fn learn(&mut self, kind: RecordKind, record: &Record<'_>) {
        match kind {
            RecordKind::Process | RecordKind::Fork | RecordKind::Exec => {
                record.fixed().into_iter().for_each(|process| self.learn_process(kind, &process));
            }
            RecordKind::Exit => self.learn_exit(record.header.tgid, record.header.ktime_ns),
            RecordKind::Listen => record.fixed().into_iter().for_each(|conn| self.learn_listener(&conn)),
            RecordKind::Close => {
                record
                    .fixed()
                    .into_iter()
                    .for_each(|conn: ConnRecord| self.processes.close(conn.sock.cookie));
            }
            _ => {}
        }
    }

    fn learn_process(&mut self, kind: RecordKind, record: &ProcessRecord) {
        let Ok(learned) = self.processes.learn(record, kind == RecordKind::Exec) else {
            self.ledger.make(RecordKind::ProcessInfo as u16);
            return self.ledger.discard(DropReason::ProcessTableFull, 1);
        };
        let Some(handle) = learned.new_handle else { return };
        let kernel_set = TargetState::from_raw(record.target_state).unwrap_or(TargetState::Unknown);
        let when = (record.hdr.ktime_ns, kernel_set);
        self.targets.repair(&mut self.kernel, learned.replaced.as_ref(), record.hdr.tgid, when);
        if kind == RecordKind::Fork && self.processes.inherit(handle).is_some() {
            self.announce(handle);
        } else {
            self.describe.ask(handle);
        }
    }

    fn learn_exit(&mut self, tgid: u32, ktime_ns: u64) {
        if let Some(ended) = self.processes.exit(tgid) {
            self.targets.retire(&ended, ktime_ns);
        }
    }

    fn learn_listener(&mut self, record: &ConnRecord) {
        if !self.processes.listen(record) && self.may_complain() {
            tracing::warn!(limit = MAX_LISTENERS, "Too many listeners, the next snapshot lacks one");
        }
        self.apply_port(record.sock.local_port, record.hdr.tgid);
        self.settle_port(record.sock.local_port, record.hdr.tgid);
    }

    /// The processor wanted a process before it listened on a port that the policy permits.
    fn settle_port(&mut self, port: u16, tgid: u32) {
        if !self.guard.policy().permits_port(port) {
            return;
        }
        let waiting = self.processes.by_tgid_mut(tgid).filter(|process| process.waits_for_port);
        if let Some(process) = waiting {
            process.waits_for_port = false;
            Targets::decide(&mut self.kernel, process, TargetState::Observed);
        }
    }

    /// Selects a process that listens on a wanted port. Who was looked at before it listened may be selected now.
    pub(super) fn apply_port(&mut self, port: u16, tgid: u32) {
        let Some(wanted) = self.targets.wanted_by(port) else { return };
        let Some(process) = self.processes.by_tgid_mut(tgid) else { return };
        let is_open = match self.kernel.target(tgid) {
            TargetState::Unknown => true,
            // Marked before, or ignored: only a port that decides alone changes that.
            TargetState::Wanted | TargetState::Ignored => wanted == TargetState::Observed,
            TargetState::Observed | TargetState::Denied | TargetState::Own => false,
        };
        // what is wanted was cut to what the policy permits by port alone
        if is_open {
            Targets::decide(&mut self.kernel, process, wanted);
        }
    }

    /// Tells the processor what is known about a process.
    pub(super) fn announce(&mut self, handle: u64) {
        let Some(process) = self.processes.get(handle) else { return };
        let Some(info) = &process.info else { return };
        let state = self.kernel.target(process.tgid());
        let bytes = announce::process_info(process, info, state, self.kernel.now());
        self.tell(RecordKind::ProcessInfo, &bytes);
    }
}
