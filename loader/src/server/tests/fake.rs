//! The kernel side, the attacher and a processor, all under the test's hand.

use crate::policy::Policy;
use crate::process::ipc::{self, Reply, RequestKind, Text};
use crate::process::server::{Handover, ServerOptions};
use crate::server::kernel::Kernel;
use crate::server::ledger::LedgerPage;
use crate::server::queue::QueueBounds;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use ratatosk_abi::{
    ConnRecord, ExeDecision, PortMode, ProcessRecord, Record, RecordHeader, RecordKind, Records, TargetState,
    counter,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use zerocopy::IntoBytes;

#[derive(Debug, Default)]
pub struct World {
    pub control: Vec<Vec<u8>>,
    pub data: Vec<Vec<u8>>,
    pub targets: HashMap<u32, TargetState>,
    pub ports: HashMap<u16, PortMode>,
    pub decisions: Vec<ExeDecision>,
    pub counters: [u64; counter::SLOTS],
    pub now_ns: u64,
    pub beats: u64,
}

/// Shared with the test; time moves with every look at it.
#[derive(Clone, Debug)]
pub struct FakeKernel {
    world: Rc<RefCell<World>>,
    wake: Rc<EventFd>,
}

impl FakeKernel {
    pub fn new() -> Self {
        let wake = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK).expect("eventfd");
        let world = World { now_ns: 1_000_000_000, ..World::default() };
        Self { world: Rc::new(RefCell::new(world)), wake: Rc::new(wake) }
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.borrow_mut())
    }

    pub fn wake(&self) {
        self.wake.write(1).expect("woken");
    }
}

impl Kernel for FakeKernel {
    fn drain(&mut self, control: &mut dyn FnMut(&[u8]), data: &mut dyn FnMut(&[u8])) {
        let rings = self.with(|world| (std::mem::take(&mut world.control), std::mem::take(&mut world.data)));
        rings.0.iter().for_each(|record| control(record));
        rings.1.iter().for_each(|record| data(record));
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn counters(&self) -> [u64; counter::SLOTS] {
        self.with(|world| world.counters)
    }

    fn target(&self, tgid: u32) -> TargetState {
        self.with(|world| world.targets.get(&tgid).copied().unwrap_or(TargetState::Unknown))
    }

    fn set_target(&mut self, tgid: u32, state: TargetState) {
        self.with(|world| world.targets.insert(tgid, state));
    }

    fn set_port(&mut self, port: u16, mode: PortMode) {
        self.with(|world| world.ports.insert(port, mode));
    }

    fn remember_exe(&mut self, decision: ExeDecision) {
        self.with(|world| world.decisions.push(decision));
    }

    fn forget_exes(&mut self) {
        self.with(|world| world.decisions.clear());
    }

    fn beat(&mut self, _: u64) {
        self.with(|world| world.beats += 1);
    }

    fn now(&self) -> u64 {
        self.with(|world| {
            world.now_ns += 1000;
            world.now_ns
        })
    }
}

pub const PAGE: fn() -> &'static LedgerPage = || Box::leak(Box::default());

/// What a test hands over, and the attacher's end of the pair.
pub fn handover(
    kernel: &FakeKernel,
    bounds: QueueBounds,
    uid: u32,
) -> (Handover<FakeKernel>, OwnedFd, PathBuf) {
    static SOCKETS: AtomicU32 = AtomicU32::new(0);
    let name = format!("ratatosk-server-{}-{}.sock", std::process::id(), SOCKETS.fetch_add(1, Relaxed));
    let path = std::env::temp_dir().join(name);
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    let (helper, attacher) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).expect("a pair");
    let options = ServerOptions {
        policy: Policy::default(),
        processor_uid: uid,
        turn_bytes: 1024,
        call_bytes: 512,
        tier: "socket".to_owned(),
        tiers: Vec::new(),
        tier_lacks: vec!["io_uring payload".to_owned()],
        bounds,
        own_tgids: vec![1],
    };
    let handover = Handover { kernel: kernel.clone(), ledger: PAGE(), listener, helper, options };
    (handover, attacher, path)
}

/// Answers what was asked; gives the kinds. A resnapshot saw nothing, and says that it is not whole.
pub fn answer(attacher: &OwnedFd) -> Vec<RequestKind> {
    answer_with(attacher, 0)
}

pub fn answer_with(attacher: &OwnedFd, is_whole: u8) -> Vec<RequestKind> {
    let requests = std::iter::from_fn(|| ipc::receive_request(attacher).expect("open"));
    let kinds = requests.map(|request| {
        let mut reply = Reply::to(&request);
        reply.is_whole = is_whole;
        reply.store(Text::Exe, format!("/bin/{}", request.tgid).as_bytes());
        assert!(ipc::send_reply(attacher, &reply).expect("sent"));
        RequestKind::from_raw(request.kind).expect("a kind")
    });
    kinds.collect()
}

fn header(kind: RecordKind, len: usize, tgid: u32, ktime_ns: u64) -> RecordHeader {
    RecordHeader {
        len: u32::try_from(len).expect("short"),
        kind: kind as u16,
        fixed_len: u16::try_from(len).expect("short"),
        ktime_ns,
        tgid,
        tid: tgid,
        task_start_ns: u64::from(tgid) * 10,
    }
}

pub fn process(kind: RecordKind, tgid: u32, ktime_ns: u64) -> Vec<u8> {
    process_with(kind, tgid, ktime_ns, |_| {})
}

pub fn process_with(
    kind: RecordKind,
    tgid: u32,
    ktime_ns: u64,
    change: impl FnOnce(&mut ProcessRecord),
) -> Vec<u8> {
    let hdr = header(kind, size_of::<ProcessRecord>(), tgid, ktime_ns);
    let mut record =
        ProcessRecord { hdr, exe_ino: 100 + u64::from(tgid), cgroup_id: 5, ..Default::default() };
    change(&mut record);
    record.as_bytes().to_vec()
}

pub fn listen(tgid: u32, port: u16) -> Vec<u8> {
    let mut record = ConnRecord {
        hdr: header(RecordKind::Listen, size_of::<ConnRecord>(), tgid, 1),
        ..ConnRecord::default()
    };
    (record.sock.cookie, record.sock.local_port) = (u64::from(port), port);
    record.as_bytes().to_vec()
}

pub fn chunk(ktime_ns: u64) -> Vec<u8> {
    header(RecordKind::Chunk, size_of::<RecordHeader>(), 7, ktime_ns).as_bytes().to_vec()
}

/// Kinds of the records in a batch.
pub fn kinds(batch: &[u8]) -> Vec<RecordKind> {
    records(batch).map(|record| RecordKind::from_raw(record.header.kind).expect("a kind")).collect()
}

pub fn records(batch: &[u8]) -> impl Iterator<Item = Record<'_>> {
    Records::new(batch).map(|record| record.expect("well formed"))
}
