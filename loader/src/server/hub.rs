//! The one owner of all state of `server`; everything here is synchronous.
//!
//! Records come in by [`Hub::drain`], the processor by [`Hub::on_event`], the attacher by [`Hub::on_replies`]; batches
//! leave by [`Hub::pump`] as far as the stream takes them, and nothing ever waits for a peer.

use crate::process::ipc::{IpcError, Reply, RequestKind};
use crate::process::server::{Handover, ServerOptions};
use crate::server::clock::Identity;
use crate::server::describe::Describe;
use crate::server::kernel::Kernel;
use crate::server::ledger::{DropReason, Ledger};
use crate::server::policy::Guard;
use crate::server::processes::{Info, Processes};
use crate::server::queue::Queue;
use crate::server::session::Session;
use crate::server::snapshot::Snapshot;
use crate::server::targets::Targets;
use ratatosk_abi::{Record, RecordKind, Records, TargetState, counter};
use std::io;
use std::os::fd::OwnedFd;

/// A probe reads the clock, then reserves its record: the drain in between misses it. An interrupt may come between.
const WATERMARK_SLACK_NS: u64 = 1_000_000;

/// Lines about bad requests per second: a processor must not fill the log.
const COMPLAINTS_PER_SECOND: u32 = 20;

/// Control records of one drain, copied out because learning from them writes to the kernel side.
#[derive(Debug, Default)]
struct Intake {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Intake {
    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).filter_map(|(begin, end)| self.bytes.get(begin..*end))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// See the module.
#[derive(Debug)]
pub struct Hub<K> {
    pub(super) kernel: K,
    pub(super) ledger: Ledger,
    pub(super) queue: Queue,
    pub(super) processes: Processes,
    pub(super) targets: Targets,
    pub(super) describe: Describe,
    pub(super) guard: Guard,
    pub(super) options: ServerOptions,
    pub(super) identity: Identity,
    pub(super) session: Option<Session>,
    pub(super) snapshot: Snapshot,
    /// Control records are dropped until a snapshot replaces them.
    pub(super) collapsed: bool,
    pub(super) watermark_ns: u64,
    intake: Intake,
    control_lost: u64,
    control_lost_before_resnapshot: u64,
    complaints_left: u32,
}

impl<K: Kernel> Hub<K> {
    /// Takes over what the attacher handed over, but the listener; asks for what exists already.
    pub fn new(handover: Handover<K>, identity: Identity) -> (Self, std::os::unix::net::UnixListener) {
        let Handover { mut kernel, ledger, listener, helper, options } = handover;
        for tgid in &options.own_tgids {
            kernel.set_target(*tgid, TargetState::Own);
        }
        let mut hub = Self {
            queue: Queue::new(options.bounds),
            ledger: Ledger::over(ledger),
            processes: Processes::default(),
            targets: Targets::default(),
            describe: Describe::over(helper),
            guard: Guard::new(options.policy.clone()),
            session: None,
            snapshot: Snapshot::Whole,
            collapsed: false,
            watermark_ns: 0,
            intake: Intake::default(),
            control_lost: 0,
            control_lost_before_resnapshot: 0,
            complaints_left: COMPLAINTS_PER_SECOND,
            kernel,
            options,
            identity,
        };
        hub.describe.ask_resnapshot();
        (hub, listener)
    }

    /// To wait for the rings.
    ///
    /// # Errors
    /// If no fd is left.
    pub fn wake_fd(&self) -> io::Result<OwnedFd> {
        self.kernel.wake_fd().try_clone_to_owned()
    }

    /// To wait for the attacher.
    ///
    /// # Errors
    /// If no fd is left.
    pub fn helper_fd(&self) -> io::Result<OwnedFd> {
        self.describe.helper().try_clone()
    }

    /// Tells the attacher that connections are accepted.
    ///
    /// # Errors
    /// [`IpcError`] if the attacher is gone.
    pub fn say_ready(&self) -> Result<(), IpcError> {
        self.describe.say_ready()
    }

    /// Takes every finished record out of the rings. Gives whether there was one.
    pub fn drain(&mut self) -> bool {
        let began_ns = self.kernel.now();
        let Self { kernel, queue, ledger, intake, watermark_ns, .. } = self;
        let mut had_data = false;
        kernel.drain(&mut |control| intake.push(control), &mut |data| {
            had_data = true;
            take_data(queue, ledger, data, *watermark_ns);
        });
        let mut intake = std::mem::take(&mut self.intake);
        let had_control = !intake.ends.is_empty();
        intake.records().for_each(|record| self.take_control(record));
        intake.clear();
        self.intake = intake;
        self.targets.settle(&mut self.kernel);
        self.watermark_ns = began_ns.saturating_sub(WATERMARK_SLACK_NS);
        had_data || had_control
    }

    fn take_control(&mut self, bytes: &[u8]) {
        let Some(record) = whole(bytes) else {
            return discard_malformed(&self.ledger);
        };
        self.ledger.produce(record.header.kind);
        self.enqueue(bytes);
        if let Some(kind) = RecordKind::from_raw(record.header.kind) {
            self.learn(kind, &record);
        }
    }

    /// Queues a control record that the loader made.
    pub(super) fn tell(&mut self, kind: RecordKind, bytes: &[u8]) {
        self.ledger.make(kind as u16);
        self.enqueue(bytes);
    }

    /// Queues a control record; past the bound everything queued gives way to a snapshot.
    fn enqueue(&mut self, bytes: &[u8]) {
        if self.collapsed {
            return self.ledger.discard(DropReason::Collapsed, 1);
        }
        if !self.queue.push_control(bytes, self.watermark_ns) {
            self.ledger.discard(DropReason::Collapsed, self.queue.collapse() + 1);
            self.ledger.count_collapse();
            self.collapsed = true;
            self.snapshot = Snapshot::Wanted;
        }
    }

    /// Takes what the attacher answered.
    ///
    /// # Errors
    /// [`IpcError`] if the attacher is gone.
    pub fn on_replies(&mut self) -> Result<(), IpcError> {
        while let Some(reply) = self.describe.receive()? {
            self.on_reply(&reply);
        }
        Ok(())
    }

    fn on_reply(&mut self, reply: &Reply) {
        let info = || Info::from_reply(reply);
        let is_news = match RequestKind::from_raw(reply.kind) {
            Some(RequestKind::Resnapshot) => {
                self.end_resnapshot(reply.is_whole == 1);
                false
            }
            Some(RequestKind::Examine) => self.processes.examined(reply.token, info()),
            _ => self.processes.describe(reply.token, info()).is_some(),
        };
        if is_news {
            self.announce(reply.token);
        }
    }

    fn end_resnapshot(&mut self, is_whole: bool) {
        // What the iterators told is in the ring by now.
        self.drain();
        // A record that found no room would look like a process that is gone.
        let is_whole = is_whole && self.lost_control() == self.control_lost_before_resnapshot;
        if is_whole && self.processes.end_resnapshot() > 0 {
            self.snapshot = Snapshot::Wanted;
        }
    }

    /// Asks the attacher what is still unknown.
    ///
    /// # Errors
    /// [`IpcError`] if the attacher is gone.
    pub fn ask(&mut self) -> Result<(), IpcError> {
        if !self.describe.runs_resnapshot() {
            self.control_lost_before_resnapshot = self.control_lost;
        }
        self.describe.send(&mut self.processes)
    }

    /// Every 100 ms: the probes hear that `server` lives, lost control records are noticed.
    pub fn beat(&mut self) {
        self.kernel.beat(self.kernel.now());
        let lost = self.lost_control();
        if lost > self.control_lost {
            self.control_lost = lost;
            self.describe.ask_resnapshot();
        }
    }

    fn lost_control(&self) -> u64 {
        self.kernel.counters()[counter::CONTROL_RING_FULL]
    }

    /// Whether one more line about a bad request may be written this second.
    pub(super) fn may_complain(&mut self) -> bool {
        let may = self.complaints_left > 0;
        self.complaints_left = self.complaints_left.saturating_sub(1);
        may
    }

    /// Every second: complaints are allowed again.
    pub fn forgive(&mut self) {
        self.complaints_left = COMPLAINTS_PER_SECOND;
    }
}

fn take_data(queue: &mut Queue, ledger: &Ledger, bytes: &[u8], made_after_ns: u64) {
    let Some(record) = whole(bytes) else {
        return discard_malformed(ledger);
    };
    ledger.produce(record.header.kind);
    if !queue.push_data(bytes, made_after_ns) {
        ledger.discard(DropReason::QueueFull, 1);
    }
}

fn discard_malformed(ledger: &Ledger) {
    ledger.produce(0);
    ledger.discard(DropReason::Malformed, 1);
}

/// The record that these bytes are, to the last one: else the batch could not be walked.
fn whole(bytes: &[u8]) -> Option<Record<'_>> {
    let record = Records::new(bytes).next()?.ok()?;
    (record.bytes.len() == bytes.len()).then_some(record)
}
