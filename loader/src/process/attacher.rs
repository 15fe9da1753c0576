//! The main process of the loader. It takes what it needs, gives up all but two capabilities, and then only forks:
//! `server`, which speaks with the processor, and readers, which look at one handful of processes each.
//!
//! It is single-threaded, speaks with its own children only, and looks into no byte of a file.

use crate::{
    attach::{Attached, Probes, attach},
    cli::{LogFormat, Run},
    error::LoaderError,
    kernel::MappedKernel,
    policy::{Policy, Rule},
    privilege::{caps, process, seccomp},
    process::{
        elf::Examiners,
        ipc::{self, Reply, Request, RequestKind, Text},
        reader::{self, Readers},
        server::{self, Handover, ServerOptions},
    },
    say,
    server::{
        kernel::Kernel,
        ledger::{Ledger, LedgerPage},
        queue::QueueBounds,
    },
    socket::{self, BoundSocket},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        socket::{AddressFamily, SockFlag, SockType, socketpair},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork, geteuid, getpid},
};
use ratatosk_bpf::LoadOptions;
use sd_notify::NotifyState;
use std::{
    io::Read,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};
use tracing::{info, warn};

/// Room for control records between two ticks of `server`: a burst of some thousand forks.
const CONTROL_RING_BYTES: u32 = 1 << 20;
/// How often the kernel is asked what it did not show to the probes.
const MISSES_TICK: Duration = Duration::from_secs(1);
/// How often hanging readers are looked for while some are at work.
const READER_TICK: Duration = Duration::from_millis(50);
/// Wait before a dead `server` is started again; doubles up to the longest while it keeps dying.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// A `server` that lived this long did not die of its start.
const SETTLED: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`LoaderError`]: its text names the step, its exit code the kind.
pub fn run(options: &Run) -> Result<(), LoaderError> {
    check_identity()?;
    process::hide().map_err(|e| step("hiding this process from others", e))?;
    let socket = socket::listen(&options.socket, options.processor_gid)?;
    let policy = announced(Policy::load(options.policy.as_deref())?);
    let load = load_options(options, &policy)?;
    let Attached { probes, kernel, tiers, tested } = attach(&load, options.tier.as_deref(), &policy)?;
    let ledger = LedgerPage::map_shared().map_err(|e| step("mapping the counters", e))?;
    Ledger::over(ledger).book_tested(tested);
    let signals = block_signals().map_err(|e| step("taking signals", e))?;
    process::no_new_privileges().map_err(|e| step("setting no_new_privs", e))?;
    caps::keep_only(&caps::OF_ATTACHER)?;
    seccomp::of_attacher()?;
    info!(target: "audit", event = "dropped_capabilities", kept = "SYS_PTRACE,DAC_READ_SEARCH", "Capabilities dropped");
    let mut attacher = Attacher {
        options,
        policy,
        turn_bytes: load.turn_bytes,
        call_bytes: load.call_bytes,
        socket,
        probes,
        kernel: Some(kernel),
        tiers,
        ledger,
        readers: Readers::default(),
        examiners: Examiners::default(),
        misses_read: Instant::now(),
        is_blind: false,
        has_watchdog: sd_notify::watchdog_enabled().is_some(),
        is_told_ready: false,
    };
    let child = attacher.fork_server()?;
    attacher.supervise(child, &signals)
}

fn step(what: &str, error: nix::Error) -> LoaderError {
    LoaderError::Unavailable(format!("{what}: {error}"))
}

fn check_identity() -> Result<(), LoaderError> {
    if geteuid().is_root() {
        return Err(LoaderError::Permission(
            "the loader refuses to run as root (uid 0 with SYS_PTRACE is root on the whole machine); start it by \
             `ratatosk-loader standalone`, or as another user with ambient capabilities"
                .to_owned(),
        ));
    }
    let missing = caps::missing(&caps::TO_LOAD);
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Err(LoaderError::Permission(format!(
        "missing capabilities: {}; grant them as ambient capabilities (systemd: AmbientCapabilities=, or start it by \
         `ratatosk-loader standalone` as root)",
        names.join(", ")
    )))
}

/// What may be observed is said before anything is.
fn announced(policy: Policy) -> Policy {
    let bounds = policy.rules().join("; ");
    match &policy.file {
        Some(file) => info!(target: "audit", event = "policy", file = %file.display(), bounds, "Policy read"),
        None => {
            info!(target: "audit", event = "policy", "No policy file: whatever a processor selects is observed")
        }
    }
    for cgroup in policy.cgroups.iter().flatten().filter(|cgroup| cgroup.id.is_none()) {
        warn!(target: "audit", event = "policy_cgroup_missing", cgroup = cgroup.path, "Cgroup does not exist: it permits nothing until the loader is started again");
    }
    policy
}

/// What was asked for, or less.
fn width(rule: Rule, asked: u32, bound: Option<u32>) -> u32 {
    let permitted = bound.map_or(asked, |bound| bound.min(asked));
    if permitted < asked {
        warn!(target: "audit", event = "policy_narrowed", option = rule.key(), asked, permitted, "Policy permits less than was asked for");
    }
    permitted
}

fn load_options(options: &Run, policy: &Policy) -> Result<LoadOptions, LoaderError> {
    let pid_max = read_number("/proc/sys/kernel/pid_max")?;
    let cpus = libbpf_rs::num_possible_cpus()
        .map_err(|e| LoaderError::Unavailable(format!("counting CPUs: {e}")))?;
    Ok(LoadOptions {
        data_ring_bytes: options.ring_bytes,
        control_ring_bytes: CONTROL_RING_BYTES,
        turn_bytes: width(Rule::TurnBytes, options.turn_bytes, policy.turn_bytes),
        call_bytes: width(Rule::CallBytes, options.call_bytes, policy.call_bytes),
        pid_max,
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        conns_by_cookie: 0,
        policy: policy.in_kernel(),
    })
}

fn read_number(path: &str) -> Result<u32, LoaderError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| LoaderError::Unavailable(format!("reading {path}: {e}")))?;
    text.trim().parse().map_err(|e| LoaderError::Unavailable(format!("reading {path}: {e}")))
}

fn block_signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM] {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// A running `server`, and our end of the line to it.
struct Child {
    pid: Pid,
    channel: OwnedFd,
    since: Instant,
}

struct Attacher<'a> {
    options: &'a Run,
    policy: Policy,
    /// As permitted.
    turn_bytes: u32,
    call_bytes: u32,
    socket: BoundSocket,
    probes: Probes,
    /// `None` only in a forked child that took it.
    kernel: Option<MappedKernel>,
    /// What became of every tier.
    tiers: Vec<ratatosk_proto::v1::Tier>,
    ledger: &'static LedgerPage,
    readers: Readers,
    examiners: Examiners,
    misses_read: Instant,
    /// It was said that misses can't be read.
    is_blind: bool,
    /// systemd wants to hear that we live.
    has_watchdog: bool,
    is_told_ready: bool,
}

impl Attacher<'_> {
    fn fork_server(&mut self) -> Result<Child, LoaderError> {
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let (ours, theirs) = pair.map_err(|e| step("connecting to server", e))?;
        let parent = getpid();
        // SAFETY: this process is single-threaded, so the child may use everything that it inherits.
        match unsafe { fork() }.map_err(|e| step("forking server", e))? {
            ForkResult::Parent { child } => Ok(Child { pid: child, channel: ours, since: Instant::now() }),
            ForkResult::Child => {
                let code = self.become_server(theirs, parent).err().map_or(0, |e| report(&e));
                // SAFETY: ends this child without running the parent's exit handlers a second time.
                unsafe { libc::_exit(i32::from(code)) }
            }
        }
    }

    /// In the child: gives up everything, then serves.
    fn become_server(&mut self, helper: OwnedFd, attacher: Pid) -> Result<(), LoaderError> {
        let gone = || LoaderError::Unavailable("the kernel side was handed over already".to_owned());
        let kernel = self.kernel.take().ok_or_else(gone)?;
        let listener = self.socket.listener.try_clone();
        let listener = listener.map_err(|e| LoaderError::Unavailable(format!("the socket: {e}")))?;
        process::close_all_but(&[
            0,
            1,
            2,
            helper.as_raw_fd(),
            listener.as_raw_fd(),
            kernel.wake_fd().as_raw_fd(),
        ]);
        caps::keep_only(&[])?;
        process::end_with_parent(attacher).map_err(|e| step("tying server to the attacher", e))?;
        seccomp::of_child()?;
        SigSet::all().thread_unblock().map_err(|e| step("taking signals", e))?;
        let options = self.server_options(attacher);
        Ok(server::run(Handover { kernel, ledger: self.ledger, listener, helper, options })?)
    }

    fn server_options(&self, attacher: Pid) -> ServerOptions {
        let own = [attacher.as_raw(), getpid().as_raw()];
        ServerOptions {
            processor_uid: self.options.processor_uid,
            turn_bytes: self.turn_bytes,
            call_bytes: self.call_bytes,
            policy: self.policy.clone(),
            tier: self.probes.tier.name().to_owned(),
            tiers: self.tiers.clone(),
            tier_lacks: self.probes.tier.lacks().iter().map(|what| (*what).to_owned()).collect(),
            bounds: QueueBounds { queue_bytes: self.options.queue_bytes, ..QueueBounds::default() },
            own_tgids: own.iter().filter_map(|pid| u32::try_from(*pid).ok()).collect(),
        }
    }

    /// Serves the children until a signal ends it.
    fn supervise(&mut self, mut child: Child, signals: &SignalFd) -> Result<(), LoaderError> {
        let mut wait = FIRST_WAIT;
        loop {
            self.wait_for_work(&child, signals)?;
            if is_asked_to_end(signals) {
                notify(&[NotifyState::Stopping]);
                self.socket.unlink();
                return end(&child);
            }
            self.answer(&child);
            self.book_misses();
            for request in self.readers.reap() {
                send(&child, &Reply::to(&request)); // it hung or failed: unreadable
            }
            self.examiners.reap().iter().for_each(|reply| send(&child, reply));
            if let Some(status) = ended(child.pid) {
                self.check_fatal(status)?;
                wait =
                    if child.since.elapsed() > SETTLED { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
                warn!(?status, "Server ended; starting it again");
                Ledger::over(self.ledger).book_restart();
                thread::sleep(wait);
                child = self.fork_server()?;
            }
        }
    }

    fn wait_for_work(&self, child: &Child, signals: &SignalFd) -> Result<(), LoaderError> {
        let is_idle = self.readers.is_idle() && self.examiners.is_idle();
        let timeout = if is_idle { MISSES_TICK } else { READER_TICK };
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if self.readers.has_room() && self.examiners.has_room() {
            fds.push(PollFd::new(child.channel.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(step("waiting for children", error)),
        }
    }

    /// Takes what `server` asks for. A server that sends nonsense or is gone is noticed by its end.
    fn answer(&mut self, child: &Child) {
        let mut processes = Vec::new();
        while let Ok(Some(request)) = ipc::receive_request(&child.channel) {
            match RequestKind::from_raw(request.kind) {
                Some(RequestKind::Describe) => processes.push(request),
                Some(RequestKind::Examine) => self.examine(child, request),
                Some(RequestKind::Resnapshot) => {
                    let mut reply = Reply::to(&request);
                    reply.is_whole = u8::from(self.run_iterators());
                    send(child, &reply);
                }
                Some(RequestKind::Ready) => self.tell_ready(),
                None => {}
            }
        }
        if !processes.is_empty() {
            self.describe(child, processes);
        }
    }

    fn describe(&mut self, child: &Child, requests: Vec<Request>) {
        let work = requests.clone();
        let started = self.readers.start(&child.channel, requests, || {
            for request in work {
                send(child, &described(&request));
            }
        });
        if let Err(error) = started {
            warn!(%error, "A reader could not be forked");
        }
    }

    fn examine(&mut self, child: &Child, request: Request) {
        if let Err(error) = self.examiners.start(request, &self.policy) {
            warn!(%error, "An examiner could not be forked");
            send(child, &Reply::to(&request));
        }
    }

    /// A probe that was interrupted on a CPU misses what happens there meanwhile: the kernel counts it by program.
    fn book_misses(&mut self) {
        if self.misses_read.elapsed() >= MISSES_TICK {
            self.misses_read = Instant::now();
            self.feed_watchdog();
            match self.probes.misses() {
                Some(missed) => Ledger::over(self.ledger).book_reentrancy(missed.calls, missed.events),
                None if !self.is_blind => {
                    warn!("The kernel does not tell how many calls the probes missed");
                    self.is_blind = true;
                }
                None => {}
            }
        }
    }

    /// Once, when connections are accepted.
    fn tell_ready(&mut self) {
        if !std::mem::replace(&mut self.is_told_ready, true) {
            let targets = self.kernel.as_ref().map_or(0, MappedKernel::observed);
            let tier = self.probes.tier.name();
            match self.options.log_format {
                LogFormat::Text => say::line(&format!("ready: tier={tier} targets={targets}")),
                LogFormat::Json => info!(tier, targets, "ready"),
            }
            let status = format!("tier {tier} is at work");
            notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
        }
    }

    /// Every second, but only while the probes' heartbeat goes on: `server` keeps it, so one that hangs is noticed as well.
    fn feed_watchdog(&mut self) {
        if self.has_watchdog && self.kernel.as_ref().is_some_and(MappedKernel::is_beating) {
            notify(&[NotifyState::Watchdog]);
        }
    }

    /// What exists already goes through the control ring. Gives whether all of it did.
    fn run_iterators(&self) -> bool {
        let mut is_whole = true;
        for link in self.probes.iterators() {
            if let Err(error) = run_iterator(link) {
                warn!(%error, "An iterator could not be read");
                is_whole = false;
            }
        }
        is_whole
    }

    /// An error that a new start would only repeat ends the loader.
    fn check_fatal(&self, status: WaitStatus) -> Result<(), LoaderError> {
        match status {
            WaitStatus::Exited(_, code @ (64 | 69 | 77)) => {
                Err(LoaderError::ServerEnded(u8::try_from(code).unwrap_or(69)))
            }
            _ => Ok(()),
        }
    }
}

fn run_iterator(link: &libbpf_rs::Link) -> std::io::Result<()> {
    let mut iter = libbpf_rs::Iter::new(link).map_err(std::io::Error::other)?;
    iter.read_to_end(&mut Vec::new()).map(drop)
}

fn described(request: &Request) -> Box<Reply> {
    let strings = reader::read(request.tgid);
    let mut reply = Reply::to(request);
    let texts = [(Text::Exe, strings.exe), (Text::Cmdline, strings.cmdline), (Text::Cgroup, strings.cgroup)];
    for (text, bytes) in texts {
        if let Some(bytes) = bytes {
            reply.store(text, &bytes);
        }
    }
    reply
}

/// Tells systemd, if it started us. It may be gone, which is no reason to stop.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// A server that is gone needs no answer.
fn send(child: &Child, reply: &Reply) {
    if let Err(error) = ipc::send_reply(&child.channel, reply) {
        warn!(%error, "A reply could not be sent to server");
    }
}

fn report(error: &LoaderError) -> u8 {
    say::named(&format_args!("server: {error}"));
    error.exit_code()
}

fn ended(pid: Pid) -> Option<WaitStatus> {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(_) => None,
        Ok(status) => Some(status),
    }
}

fn is_asked_to_end(signals: &SignalFd) -> bool {
    let mut asked = false;
    while let Ok(Some(info)) = signals.read_signal() {
        asked |= info.ssi_signo != Signal::SIGCHLD as u32;
    }
    asked
}

/// `server` ends with us by its parent-death signal; waiting leaves no zombie to an init that reaps none.
fn end(child: &Child) -> Result<(), LoaderError> {
    let _gone = nix::sys::signal::kill(child.pid, Signal::SIGKILL);
    let _status = waitpid(child.pid, None);
    Ok(())
}
