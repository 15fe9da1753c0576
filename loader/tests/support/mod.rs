//! What tests of the probes share: the probes at work on this process, and the records that came.

#![allow(dead_code, reason = "each test binary uses its part")]

use ratatosk_abi::{ChunkRecord, ConnRecord, Direction, Record, RecordKind, Records, TargetState};
use ratatosk_bpf::{LoadOptions, Policy};
use ratatosk_loader::{
    attach::{Attached, attach},
    kernel::boottime_ns,
    server::kernel::Kernel,
};
use std::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, MutexGuard},
};

pub const OPTIONS: LoadOptions = LoadOptions {
    data_ring_bytes: 1 << 20,
    control_ring_bytes: 1 << 20,
    turn_bytes: 1024,
    call_bytes: 512,
    pid_max: 4 << 20,
    cpus: 64,
    conns_by_cookie: 0,
    policy: Policy { uids: None, cgroups: None },
};

/// One test at a time: they all observe this process.
static ONE: Mutex<()> = Mutex::new(());

pub struct Probes {
    pub attached: Attached,
    _one: MutexGuard<'static, ()>,
}

/// A chunk of this process, with its payload.
#[derive(Debug)]
pub struct Seen {
    pub fixed: ChunkRecord,
    pub payload: Vec<u8>,
}

impl Seen {
    pub fn is(&self, direction: Direction, port: u16) -> bool {
        self.fixed.direction == direction as u8 && self.fixed.sock.local_port == port
    }
}

impl Probes {
    /// `None` where they can't run, said out loud.
    pub fn start() -> Option<Self> {
        Self::start_with(&OPTIONS)
    }

    pub fn start_with(options: &LoadOptions) -> Option<Self> {
        let one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: loading BPF programs needs root");
            return None;
        }
        let mut attached =
            attach(options, std::env::var("RATATOSK_TIER").ok().as_deref(), &Default::default())
                .expect("probes attach");
        attached.kernel.beat(boottime_ns());
        attached.kernel.set_target(std::process::id(), TargetState::Observed);
        Some(Self { attached, _one: one })
    }

    /// The tier reads payload through the registers of the system call.
    pub fn is_by_registers(&self) -> bool {
        self.attached.probes.tier.name() == "socket"
    }

    pub fn drain(&mut self) -> (Vec<ConnRecord>, Vec<Seen>) {
        let (mut conns, mut chunks) = (Vec::new(), Vec::new());
        let me = std::process::id();
        self.attached.kernel.drain(
            &mut |bytes| {
                each(bytes, |record| {
                    if is_conn(record) {
                        conns.push(record.fixed().expect("whole"))
                    }
                })
            },
            &mut |bytes| {
                each(bytes, |record| {
                    let fixed: ChunkRecord = record.fixed().expect("whole");
                    if fixed.hdr.tgid == me {
                        chunks.push(Seen { fixed, payload: record.payload().to_vec() });
                    }
                });
            },
        );
        (conns, chunks)
    }

    pub fn chunks(&mut self) -> Vec<Seen> {
        self.drain().1
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.attached.kernel.set_target(std::process::id(), TargetState::Unknown);
    }
}

pub fn each(bytes: &[u8], mut f: impl FnMut(&Record<'_>)) {
    for record in Records::new(bytes) {
        f(&record.expect("well formed"));
    }
}

pub fn is_conn(record: &Record<'_>) -> bool {
    [RecordKind::Listen, RecordKind::Connect, RecordKind::Close]
        .iter()
        .any(|k| *k as u16 == record.header.kind)
}

pub fn pair(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((address, 0)).expect("loopback");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (server, _) = listener.accept().expect("accepts");
    (client, server)
}

pub fn port(stream: &TcpStream) -> u16 {
    stream.local_addr().expect("bound").port()
}
