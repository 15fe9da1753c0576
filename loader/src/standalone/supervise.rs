//! Keeps the sides running: one that dies restarts alone, and what can't be mended by a restart ends everything.
//!
//! An exit code of [`FINAL`] says that the next start would end the same way: the launcher stops the others and ends with
//! that code. Everything else, a clean exit included, is a death that nobody asked for: the side is started again after
//! [`BACKOFF_FIRST`], doubling to [`BACKOFF_MOST`], from the beginning once it has lived for [`STEADY`].

use super::{EXIT_PERMISSION, EXIT_UNAVAILABLE, EXIT_USAGE, Failure, say};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    os::fd::AsFd,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

/// Exit codes after which a restart would not help: configuration, unavailable, permission.
pub const FINAL: [u8; 3] = [EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_PERMISSION];
/// Pause before the first restart: short enough to lose little, long enough not to spin.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest pause before a restart.
pub const BACKOFF_MOST: Duration = Duration::from_secs(5);
/// A side that lived this long starts anew with [`BACKOFF_FIRST`].
pub const STEADY: Duration = Duration::from_secs(10);
/// Time to end after SIGTERM; then SIGKILL.
pub const GRACE: Duration = Duration::from_secs(10);

/// Time for what the sides forked to end after them.
const ORPHANS_END: Duration = Duration::from_secs(2);

/// The signals that the launcher waits for, blocked for everything else.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks them from here on.
    pub fn block() -> Result<Self, Failure> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
            mask.add(signal);
        }
        let fd = mask
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK));
        let fd = fd.map_err(|error| Failure::unavailable(format!("signalfd failed: {}", error.desc())))?;
        Ok(Self { fd })
    }

    /// Waits until a signal comes or `timeout` passes; true if somebody wants us to end.
    fn wait(&self, timeout: Option<Duration>) -> bool {
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            // Rounded up: a timer must have passed when we look at it.
            PollTimeout::try_from(timeout + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let _ = poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], timeout);
        let mut is_end = false;
        while let Ok(Some(info)) = self.fd.read_signal() {
            is_end |= info.ssi_signo != u32::try_from(libc::SIGCHLD).unwrap_or_default();
        }
        is_end
    }
}

/// One program that is kept running.
#[derive(Debug)]
pub struct Side {
    name: &'static str,
    command: Command,
    /// Whether its final exit codes end everything.
    decides: bool,
    state: State,
    backoff: Duration,
}

#[derive(Debug)]
enum State {
    Running { child: Child, since: Instant },
    Waiting { until: Instant },
    Stopped,
}

impl Side {
    /// Not started yet.
    pub fn new(name: &'static str, command: Command, decides: bool) -> Self {
        Self {
            name,
            command,
            decides,
            state: State::Waiting { until: Instant::now() },
            backoff: BACKOFF_FIRST,
        }
    }

    /// Starts it if its time has come.
    fn start_if_due(&mut self, now: Instant) {
        if !matches!(self.state, State::Waiting { until } if until <= now) {
            return;
        }
        match self.command.spawn() {
            Ok(child) => self.state = State::Running { child, since: now },
            Err(error) => {
                say(&format!("{} can't be started: {error}", self.name));
                self.restart_later(now);
            }
        }
    }

    /// Notices its death; gives the code that ends everything.
    fn reap(&mut self, now: Instant) -> Option<u8> {
        let State::Running { child, since } = &mut self.state else { return None };
        let status = child.try_wait().ok()??;
        let has_lived = now.duration_since(*since);
        self.state = State::Stopped;
        let code = final_code(status).filter(|_| self.decides);
        if code.is_some() {
            return code;
        }
        if has_lived >= STEADY {
            self.backoff = BACKOFF_FIRST;
        }
        say(&format!("{} ended ({status}), starts again in {} ms", self.name, self.backoff.as_millis()));
        self.restart_later(now);
        None
    }

    fn restart_later(&mut self, now: Instant) {
        self.state = State::Waiting { until: now + self.backoff };
        self.backoff = (self.backoff * 2).min(BACKOFF_MOST);
    }

    const fn restart_at(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Running { .. } | State::Stopped => None,
        }
    }

    /// Sends `signal` to the side itself; what it forked is its own to end.
    fn signal(&self, signal: Signal) {
        let State::Running { child, .. } = &self.state else { return };
        let Ok(pid) = i32::try_from(child.id()) else { return };
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => say(&format!("{} can't be signalled: {}", self.name, error.desc())),
        }
    }

    fn is_running(&mut self) -> bool {
        let State::Running { child, .. } = &mut self.state else { return false };
        matches!(child.try_wait(), Ok(None))
    }
}

/// Runs the sides until the end, and gives the launcher's exit code: 0 if somebody asked us to end.
pub fn run(signals: &Signals, mut sides: Vec<Side>) -> u8 {
    // What a side forked comes to us when that side ends, instead of to an init that may reap nothing.
    let _ = prctl::set_child_subreaper(true);
    let code = watch(signals, &mut sides);
    stop(signals, &mut sides);
    reap_orphans();
    code
}

/// Orphans end by themselves, at the end of their pipe or by their parent-death signal.
fn reap_orphans() {
    let deadline = Instant::now() + ORPHANS_END;
    while Instant::now() < deadline {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => thread::sleep(Duration::from_millis(5)),
            Ok(_) => {}
            Err(_) => return, // none is left
        }
    }
}

fn watch(signals: &Signals, sides: &mut [Side]) -> u8 {
    loop {
        let now = Instant::now();
        if let Some(code) = sides.iter_mut().find_map(|side| side.reap(now)) {
            return code;
        }
        sides.iter_mut().for_each(|side| side.start_if_due(now));
        let next = sides.iter().filter_map(Side::restart_at).min();
        if signals.wait(next.map(|at| at.saturating_duration_since(Instant::now()))) {
            return 0;
        }
    }
}

/// Ends what still runs, the later ones first: the processor takes leave of a loader that still answers. A second Ctrl-C
/// changes nothing: the bound is [`GRACE`].
fn stop(signals: &Signals, sides: &mut [Side]) {
    let deadline = Instant::now() + GRACE;
    for side in sides.iter_mut().rev() {
        side.signal(Signal::SIGTERM);
        wait_for_end(signals, side, deadline);
    }
    for side in sides {
        kill_side(side);
    }
}

fn wait_for_end(signals: &Signals, side: &mut Side, deadline: Instant) {
    while side.is_running() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        signals.wait(Some(left));
    }
}

fn kill_side(side: &mut Side) {
    if !side.is_running() {
        return;
    }
    say(&format!("{} did not end within {} s and is killed", side.name, GRACE.as_secs()));
    side.signal(Signal::SIGKILL);
    if let State::Running { child, .. } = &mut side.state {
        let _ = child.wait();
    }
}

fn final_code(status: ExitStatus) -> Option<u8> {
    let code = u8::try_from(status.code()?).ok()?;
    FINAL.contains(&code).then_some(code)
}
