//! Every record's fate, in memory that outlives `server`.
//!
//! `produced = acknowledged + dropped + held` holds after every call. The page is the attacher's: when a server dies, the
//! next one books what was held as [`DropReason::ServerRestart`].

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use ratatosk_proto::v1::{Dropped, Produced};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// Slots for kinds; a kind beyond counts in slot 0, which no kind has.
const KIND_SLOTS: usize = 64;

/// Why a record that was produced did not reach a processor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DropReason {
    /// The queue was full; data only.
    QueueFull = 0,
    /// Control records that a snapshot replaced.
    Collapsed = 1,
    /// Held by a server that died.
    ServerRestart = 2,
    /// Not a record: its length contradicts itself.
    Malformed = 3,
    /// A process beyond the table's bound was not announced.
    ProcessTableFull = 4,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::QueueFull, Self::Collapsed, Self::ServerRestart, Self::Malformed, Self::ProcessTableFull];

    /// Value of the label `reason`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Collapsed => "collapsed",
            Self::ServerRestart => "server_restart",
            Self::Malformed => "malformed",
            Self::ProcessTableFull => "process_table_full",
        }
    }
}

/// The shared page. All zero is a new one; written by one `server` at a time.
#[derive(Debug)]
#[repr(C)]
pub struct LedgerPage {
    produced: [AtomicU64; KIND_SLOTS],
    dropped: [AtomicU64; DropReason::ALL.len()],
    acknowledged: AtomicU64,
    server_restarts: AtomicU64,
    control_collapsed: AtomicU64,
    reentrancy: AtomicU64,
    control_reentrancy: AtomicU64,
    made: AtomicU64,
    tested: AtomicU64,
    streams: AtomicU64,
    since_unix_ns: AtomicU64,
}

impl LedgerPage {
    /// A page of this process only.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            produced: [const { AtomicU64::new(0) }; KIND_SLOTS],
            dropped: [const { AtomicU64::new(0) }; DropReason::ALL.len()],
            acknowledged: AtomicU64::new(0),
            server_restarts: AtomicU64::new(0),
            control_collapsed: AtomicU64::new(0),
            reentrancy: AtomicU64::new(0),
            control_reentrancy: AtomicU64::new(0),
            made: AtomicU64::new(0),
            tested: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            since_unix_ns: AtomicU64::new(0),
        }
    }

    /// A page that this process shares with what it forks from now on; never unmapped.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn map_shared() -> nix::Result<&'static Self> {
        let len = NonZeroUsize::new(size_of::<Self>()).ok_or(nix::errno::Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing.
        let page = unsafe { mmap_anonymous(None, len, access, MapFlags::MAP_SHARED) }?;
        // SAFETY: page-aligned, as long as `Self`, all zero which is a valid `Self`, only atomics, and never unmapped.
        let page = unsafe { page.cast::<Self>().as_ref() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        page.since_unix_ns.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        Ok(page)
    }
}

impl Default for LedgerPage {
    fn default() -> Self {
        Self::new()
    }
}

/// Books into a [`LedgerPage`].
#[derive(Clone, Copy, Debug)]
pub struct Ledger {
    page: &'static LedgerPage,
}

impl Ledger {
    /// Books into `page`.
    #[must_use]
    pub const fn over(page: &'static LedgerPage) -> Self {
        Self { page }
    }

    /// Books into a page of its own, never freed; for tests.
    #[must_use]
    pub fn in_process() -> Self {
        Self::over(Box::leak(Box::default()))
    }

    /// A record of this kind was made by the loader, and not by a probe.
    pub fn make(&self, kind: u16) {
        self.page.made.fetch_add(1, Relaxed);
        self.produce(kind);
    }

    /// The self-test took so many records out of the rings.
    pub fn book_tested(&self, records: u64) {
        self.page.tested.store(records, Relaxed);
    }

    /// A record of this kind came to be.
    pub fn produce(&self, kind: u16) {
        let slot = self.page.produced.get(usize::from(kind)).unwrap_or(&self.page.produced[0]);
        slot.fetch_add(1, Relaxed);
    }

    /// Records were acknowledged.
    pub fn acknowledge(&self, records: u64) {
        self.page.acknowledged.fetch_add(records, Relaxed);
    }

    /// Records were given up.
    pub fn discard(&self, reason: DropReason, records: u64) {
        self.page.dropped[reason as usize].fetch_add(records, Relaxed);
    }

    /// The queued control records were replaced by a snapshot once more.
    pub fn count_collapse(&self) {
        self.page.control_collapsed.fetch_add(1, Relaxed);
    }

    /// Books what a dead server held. Called by the attacher before it forks the next one; not at the first start.
    pub fn book_restart(&self) {
        self.discard(DropReason::ServerRestart, self.outstanding());
        self.page.server_restarts.fetch_add(1, Relaxed);
    }

    /// Produced, and neither acknowledged nor dropped.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        let settled = self.acknowledged() + self.page.dropped.iter().map(load).sum::<u64>();
        self.page.produced.iter().map(load).sum::<u64>().saturating_sub(settled)
    }

    /// Records acknowledged since the loader started.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        load(&self.page.acknowledged)
    }

    /// Records dropped for this reason since the loader started.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        load(&self.page.dropped[reason as usize])
    }

    /// Starts of `server` after its first.
    #[must_use]
    pub fn server_restarts(&self) -> u64 {
        load(&self.page.server_restarts)
    }

    /// Times the queued control records were replaced by a snapshot.
    #[must_use]
    pub fn control_collapsed(&self) -> u64 {
        load(&self.page.control_collapsed)
    }

    /// Calls that the kernel did not show to a probe, as the attacher read it.
    /// Those of the tier lost bytes, those of the family `process` an event.
    pub fn book_reentrancy(&self, calls: u64, events: u64) {
        self.page.reentrancy.store(calls, Relaxed);
        self.page.control_reentrancy.store(events, Relaxed);
    }

    /// Calls that the kernel did not show to a probe, because the probe was interrupted on that CPU.
    #[must_use]
    pub fn reentrancy(&self) -> u64 {
        load(&self.page.reentrancy)
    }

    /// Events that the kernel did not show to family `process`, for the same reason.
    #[must_use]
    pub fn control_reentrancy(&self) -> u64 {
        load(&self.page.control_reentrancy)
    }

    /// A processor opened a stream.
    pub fn count_stream(&self) {
        self.page.streams.fetch_add(1, Relaxed);
    }

    /// Streams that processors opened since the loader started.
    #[must_use]
    pub fn streams(&self) -> u64 {
        load(&self.page.streams)
    }

    /// When this page was made, 0 in tests.
    #[must_use]
    pub fn since_unix_ns(&self) -> u64 {
        load(&self.page.since_unix_ns)
    }

    /// Records that the loader made since it started.
    #[must_use]
    pub fn made(&self) -> u64 {
        load(&self.page.made)
    }

    /// Records that the self-test took out of the rings.
    #[must_use]
    pub fn tested(&self) -> u64 {
        load(&self.page.tested)
    }

    /// By kind, for Status.
    #[must_use]
    pub fn produced_by_kind(&self) -> Vec<Produced> {
        let counts = (0..).zip(self.page.produced.iter().map(load));
        counts.filter(|(_, records)| *records > 0).map(|(kind, records)| Produced { kind, records }).collect()
    }

    /// By reason, zeros included so that each series exists from the start, for Status.
    #[must_use]
    pub fn dropped_by_reason(&self) -> Vec<Dropped> {
        let reasons = DropReason::ALL.into_iter();
        reasons.map(|why| Dropped { reason: why.name().to_owned(), records: self.dropped(why) }).collect()
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_books_what_was_held_and_nothing_else() {
        let ledger = Ledger::over(LedgerPage::map_shared().expect("memory"));
        for kind in [1, 1, 17, 9_999] {
            ledger.produce(kind);
        }
        ledger.acknowledge(1);
        ledger.discard(DropReason::QueueFull, 1);
        assert_eq!(ledger.outstanding(), 2);
        ledger.book_restart();
        assert_eq!((ledger.outstanding(), ledger.dropped(DropReason::ServerRestart)), (0, 2));
        assert_eq!(ledger.server_restarts(), 1);
    }

    #[test]
    fn a_kind_nobody_knows_counts_as_kind_0() {
        let ledger = Ledger::in_process();
        ledger.produce(u16::MAX);
        assert_eq!(ledger.produced_by_kind(), [Produced { kind: 0, records: 1 }]);
    }
}
