//! `bench stream`: the loader's real server and the real pipeline, joined by gRPC over a unix socket, on one core.
//!
//! in   records made here, as full as the rings of a loaded machine would be
//! out  spans to an exporter that counts them; CPU time of everything, and allocations

#[path = "../../../../../processor/benches/allocations/mod.rs"] // of the bench of the pipeline alone
mod allocations;
mod source;

use super::{
    cpu,
    figures::{Figure, per},
};
use anyhow::{Context, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{AddressFamily, SockFlag, SockType, socketpair},
    unistd::Pid,
};
use ratatosk::{
    config::{PortRange, Selection},
    discover::Matcher,
    export::Exporter,
    ingest,
    model::Span,
    pipeline::Pipeline,
    telemetry::Telemetry,
};
use ratatosk_loader::{
    policy::Policy,
    process::server::{Handover, ServerOptions, run as serve},
    server::{ledger::LedgerPage, queue::QueueBounds},
};
use source::{Progress, Source};
use std::{
    hint::black_box,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// The first exchanges find empty tables and empty buffers.
const WARM_UP: Duration = Duration::from_millis(500);

/// Options of `bench stream`.
#[derive(Debug, clap::Args)]
pub struct Stream {
    /// Rounds
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of a round
    #[arg(long, default_value_t = 2)]
    seconds: u64,
}

/// An exporter that costs next to nothing.
struct Sink(Arc<Progress>);

impl Exporter for Sink {
    fn name(&self) -> &'static str {
        "sink"
    }

    fn export(&mut self, spans: &[Span]) {
        self.0.tell(black_box(spans).len());
    }
}

/// Measures and prints.
pub fn run(stream: &Stream) -> anyhow::Result<()> {
    let mut one = CpuSet::new();
    one.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &one)?;
    let folder = tempfile::tempdir()?;
    let progress = Arc::new(Progress::new()?);
    let _attacher = start_server(&folder.path().join("sock"), &progress)?;
    start_processor(&folder.path().join("sock"), &progress)?;
    progress.wait_for(1, Duration::from_secs(10)).context("no exchange was told")?;
    thread::sleep(WARM_UP);
    let rounds: Vec<Round> =
        (0..stream.rounds).map(|_| Round::of(&progress, stream.seconds)).collect::<Result<_, _>>()?;
    ensure!(progress.is_whole(), "exchanges were lost");
    print(&rounds);
    Ok(())
}

/// One round.
struct Round {
    exchanges: u64,
    wall: Duration,
    cpu_ns: u64,
    allocations: u64,
}

impl Round {
    fn of(progress: &Progress, seconds: u64) -> anyhow::Result<Self> {
        let read = || anyhow::Ok((progress.told(), cpu::of_self()?, allocations::so_far()));
        let (began, before) = (Instant::now(), read()?);
        thread::sleep(Duration::from_secs(seconds));
        let (wall, after) = (began.elapsed(), read()?);
        let exchanges = after.0 - before.0;
        Ok(Self { exchanges, wall, cpu_ns: after.1 - before.1, allocations: after.2 - before.2 })
    }
}

fn print(rounds: &[Round]) {
    let figure = |get: fn(&Round) -> f64| Figure::of(rounds.iter().map(get));
    println!(
        "| loader's server, gRPC over a unix socket and pipeline, on one core | median (least to most) |\n|---|---|"
    );
    println!("| exchanges per second of CPU | {} |", figure(|r| per(r.exchanges * 1_000_000_000, r.cpu_ns)));
    println!(
        "| exchanges per second of wall time | {} |",
        figure(|r| per(r.exchanges * 1_000_000_000, cpu::ns(r.wall)))
    );
    println!("| CPU per exchange, ns | {} |", figure(|r| per(r.cpu_ns, r.exchanges)));
    println!("| allocations per exchange | {:.2} |", figure(|r| per(r.allocations, r.exchanges)));
}

/// Runs `server` in a thread. Gives the attacher's end of its pair, which never answers.
fn start_server(socket: &Path, progress: &Arc<Progress>) -> anyhow::Result<OwnedFd> {
    let (helper, attacher) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let options = ServerOptions {
        processor_uid: nix::unistd::geteuid().as_raw(),
        turn_bytes: 1024,
        call_bytes: 512,
        tier: "bench".to_owned(),
        tier_lacks: Vec::new(),
        tiers: Vec::new(),
        bounds: QueueBounds::default(),
        own_tgids: Vec::new(),
        policy: Policy::default(),
    };
    let (listener, source) = (UnixListener::bind(socket)?, Source::new(Arc::clone(progress)));
    let ledger = Box::leak(Box::<LedgerPage>::default());
    let handover = Handover { kernel: source, ledger, listener, helper, options };
    thread::Builder::new().name("server".to_owned()).spawn(move || match serve(handover) {
        Ok(()) => {}
        Err(error) => eprintln!("server: {error}"),
    })?;
    Ok(attacher)
}

fn start_processor(socket: &Path, progress: &Arc<Progress>) -> anyhow::Result<()> {
    let ports = PortRange { first: source::PORT, last: source::PORT };
    let matcher = Matcher::new(Selection { open_ports: vec![ports], ..Selection::default() })?;
    let mut pipeline =
        Pipeline::new(matcher, [7; 16], vec![Box::new(Sink(Arc::clone(progress)))], Telemetry::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = socket.to_owned();
    thread::Builder::new().name("processor".to_owned()).spawn(move || {
        let (_desk, mut questions) = ratatosk::explain::desk();
        let forever = std::future::pending();
        let end = runtime.block_on(ingest::run(&socket, &mut pipeline, None, &mut questions, forever));
        eprintln!("processor: {end:?}");
    })?;
    Ok(())
}
