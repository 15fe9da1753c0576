//! The process `server`: no capability, no bpf(2), one thread.
//!
//! Forked by the attacher with mappings of rings and arrays, the listening socket, one end of a socket pair and the
//! ledger page. [`run`] starts the runtime; no thread exists before.

use crate::policy::Policy;
use crate::process::ipc::IpcError;
use crate::server::accept::accept;
use crate::server::clock::Identity;
use crate::server::grpc;
use crate::server::hub::Hub;
use crate::server::kernel::Kernel;
use crate::server::ledger::LedgerPage;
use crate::server::queue::QueueBounds;
use crate::server::request::Event;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// While records come: spans tolerate it, and a wake-up per record would cost more than all else. A flood wakes us before,
/// at the watermark.
const DRAIN_EVERY: Duration = Duration::from_millis(20);
/// While none come; the rings wake us at their watermark.
const DRAIN_IDLE: Duration = Duration::from_millis(50);
/// Heartbeat of the probes and tick of the stream.
const BEAT_EVERY: Duration = Duration::from_millis(100);
const BEATS_PER_SECOND: u64 = 10;
/// Messages of processors that wait; more wait in their socket.
const EVENTS: usize = 64;

/// What an operator chose, and what the attacher found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerOptions {
    /// The only uid that may connect.
    pub processor_uid: u32,
    /// Bytes captured of the first call of a turn, for Hello.
    pub turn_bytes: u32,
    /// Bytes captured of later calls, for Hello.
    pub call_bytes: u32,
    /// What may be observed.
    pub policy: Policy,
    /// Probe family in use.
    pub tier: String,
    /// What it can't see, for people.
    pub tier_lacks: Vec<String>,
    /// What became of every family that could be, for people.
    pub tiers: Vec<ratatosk_proto::v1::Tier>,
    /// Bounds of the queue.
    pub bounds: QueueBounds,
    /// Processes of the agent that run already, in the initial pid namespace; `server` is one of them.
    pub own_tgids: Vec<u32>,
}

/// What the attacher hands over.
#[derive(Debug)]
pub struct Handover<K> {
    /// Rings and arrays.
    pub kernel: K,
    /// Shared with the attacher; outlives this process.
    pub ledger: &'static LedgerPage,
    /// Bound and listening.
    pub listener: UnixListener,
    /// One end of a `SOCK_SEQPACKET` pair.
    pub helper: OwnedFd,
    /// Options.
    pub options: ServerOptions,
}

/// Why `server` can't go on; the attacher forks another one.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// `/proc/sys/kernel/random` can't be read.
    #[error("can't read the boot id from /proc/sys/kernel/random: {0}")]
    Identity(#[source] io::Error),
    /// No runtime.
    #[error("can't start the runtime: {0}")]
    Runtime(#[source] io::Error),
    /// The attacher is gone or sends nonsense.
    #[error("lost the attacher: {0}")]
    Attacher(#[from] IpcError),
    /// HTTP/2 ended.
    #[error("stopped serving: {0}")]
    Serving(String),
}

/// Serves; returns only with an error.
///
/// # Errors
/// [`ServerError`]: there is nothing to do but to start again.
pub fn run<K: Kernel>(handover: Handover<K>) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(ServerError::Runtime)?.block_on(serve(handover))
}

/// [`run`], within a runtime.
///
/// # Errors
/// As [`run`].
pub async fn serve<K: Kernel>(handover: Handover<K>) -> Result<(), ServerError> {
    let identity = Identity::draw().map_err(ServerError::Identity)?;
    let processor_uid = handover.options.processor_uid;
    let (hub, listener) = Hub::new(handover, identity);
    listener.set_nonblocking(true).map_err(ServerError::Runtime)?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(ServerError::Runtime)?;
    let (events, from_grpc) = mpsc::channel(EVENTS);
    let (to_grpc, peers) = mpsc::channel(1);
    let door = accept(listener, processor_uid, events.clone(), to_grpc);
    tokio::select! {
        () = door => Err(ServerError::Serving("nobody takes connections".to_owned())),
        end = grpc::serve(peers, events) => Err(ServerError::Serving(format!("{end:?}"))),
        end = Wheel::new(hub).turn_forever(from_grpc) => end,
    }
}

fn watch(fd: io::Result<OwnedFd>) -> Result<AsyncFd<OwnedFd>, ServerError> {
    let fd = fd.map_err(ServerError::Runtime)?;
    // SAFETY: an OwnedFd names the same open fd until it is dropped, and the AsyncFd owns it.
    let watched = unsafe { AsyncFd::register(fd) };
    watched.map_err(|error| ServerError::Runtime(error.into()))
}

/// Turns the hub: what is due is done, then whatever comes first is waited for.
struct Wheel<K> {
    hub: Hub<K>,
    drain_at: Instant,
    drain_every: Duration,
    beat_at: Instant,
    beats: u64,
}

impl<K: Kernel> Wheel<K> {
    fn new(hub: Hub<K>) -> Self {
        let now = Instant::now();
        Self { hub, drain_at: now, drain_every: DRAIN_EVERY, beat_at: now, beats: 0 }
    }

    async fn turn_forever(mut self, mut events: mpsc::Receiver<Event>) -> Result<(), ServerError> {
        let rings = watch(self.hub.wake_fd())?;
        let helper = watch(self.hub.helper_fd())?;
        self.hub.say_ready()?;
        loop {
            let wake_at = self.turn()?;
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.hub.on_event(event),
                    None => return Err(ServerError::Serving("no more events".to_owned())),
                },
                ready = rings.readable() => {
                    ready.map_err(ServerError::Runtime)?.clear_ready();
                    self.drain_at = Instant::now();
                }
                ready = helper.readable() => {
                    ready.map_err(ServerError::Runtime)?.clear_ready();
                    self.hub.on_replies()?;
                }
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Does what is due. Gives when to come back.
    fn turn(&mut self) -> Result<Instant, ServerError> {
        let now = Instant::now();
        if now >= self.drain_at {
            self.drain(now);
        }
        if now >= self.beat_at {
            self.beat(now);
        }
        self.hub.ask()?;
        let is_behind = self.hub.pump();
        let wake_at = self.drain_at.min(self.beat_at);
        Ok(if is_behind { wake_at.min(now + DRAIN_EVERY) } else { wake_at })
    }

    fn drain(&mut self, now: Instant) {
        let had_records = self.hub.drain();
        self.drain_every = if had_records { DRAIN_EVERY } else { DRAIN_IDLE.min(self.drain_every * 2) };
        self.drain_at = now + self.drain_every;
    }

    fn beat(&mut self, now: Instant) {
        self.beat_at = now + BEAT_EVERY;
        self.beats += 1;
        self.hub.beat();
        self.hub.tick();
        if self.beats.is_multiple_of(BEATS_PER_SECOND) {
            self.hub.forgive();
        }
    }
}
