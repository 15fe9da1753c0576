//! The process `elf`: looks into the binary, the mappings and the environment of one process, and ends.
//!
//! in   a [`Request`] of `server`, forked by the attacher; at most [`MAX_EXAMINERS`] at work, each [`DEADLINE`] long
//! out  two fixed-size messages over a pipe that only the attacher reads: [`Opened`], then [`Found`]
//! keeps nothing; the attacher keeps what [`CACHE_ENTRIES`] binaries were found to be
//!
//! It begins with the attacher's capabilities, opens its files and checks the policy; then it gives up everything, and
//! only then reads a byte that somebody else chose. From there on it can read its files, write its pipe, and end: what
//! it says counts only for the file that was named in [`Opened`], before it looked.

mod binary;
mod cache;
mod child;
mod environment;
mod language;
mod maps;
mod marks;
mod seccomp;
#[cfg(test)]
mod tests;

use crate::{
    policy::Policy,
    process::ipc::{MAX_ENVIRONMENT_BYTES, Reply, Request, Text},
};
use cache::Cache;
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork, pipe2},
};
use ratatosk_abi::{Language, readable};
use std::{
    fs::File,
    io::Read,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};
use tracing::warn;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Examiners at work at once: as many as `server` may ask for, and no more.
const MAX_EXAMINERS: usize = 8;
/// One that takes longer hangs, or was given a file that is made to be slow.
const DEADLINE: Duration = Duration::from_secs(2);
/// Binaries remembered: the executables of a large node.
const CACHE_ENTRIES: usize = 1024;

/// First message: which file the answer is about. Written before a byte of it is read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, FromBytes, Hash, Immutable, IntoBytes, KnownLayout, PartialEq)]
struct Opened {
    dev: u64,
    ino: u64,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
}

/// Second message: what was found.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
struct Found {
    /// [`readable`]: which of binary and environment were looked at.
    readable: u8,
    /// [`Language`] of the process.
    language: u8,
    /// [`Language`] of the file alone.
    binary: u8,
    reserved: u8,
    /// Bytes of `environment` that count.
    environment_len: u32,
    environment: [u8; MAX_ENVIRONMENT_BYTES],
}

/// One at work.
#[derive(Debug)]
struct Examiner {
    pid: Pid,
    since: Instant,
    request: Request,
    answer: File,
}

/// Those at work, and what earlier ones found.
#[derive(Debug)]
pub struct Examiners {
    running: Vec<Examiner>,
    cache: Cache,
}

impl Default for Examiners {
    fn default() -> Self {
        Self { running: Vec::new(), cache: Cache::new(CACHE_ENTRIES) }
    }
}

impl Examiners {
    /// Whether one more may be started.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.running.len() < MAX_EXAMINERS
    }

    /// Whether none is at work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Starts one. Its answer comes by [`Examiners::reap`].
    ///
    /// # Errors
    /// What pipe(2) and fork(2) say; `EAGAIN` if too many are at work.
    pub fn start(&mut self, request: Request, policy: &Policy) -> nix::Result<()> {
        if !self.has_room() {
            return Err(nix::Error::EAGAIN);
        }
        let (read, write) = pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK)?;
        let parent = nix::unistd::getpid();
        // SAFETY: the attacher is single-threaded, so the child may use everything that it inherits.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                let (since, answer) = (Instant::now(), File::from(read));
                self.running.push(Examiner { pid: child, since, request, answer });
                Ok(())
            }
            ForkResult::Child => self.become_elf(&request, policy, write, parent),
        }
    }

    fn become_elf(&self, request: &Request, policy: &Policy, pipe: OwnedFd, parent: Pid) -> ! {
        let code = child::run(request, policy, &self.cache, pipe, parent).is_err();
        // SAFETY: ends this child without running the parent's exit handlers a second time.
        unsafe { libc::_exit(i32::from(code)) }
    }

    /// Ends those that hang, and gives the answers of those that ended: empty ones if they failed.
    pub fn reap(&mut self) -> Vec<Box<Reply>> {
        let cache = &mut self.cache;
        let ended = self.running.extract_if(.., |examiner| has_ended(examiner));
        ended.map(|mut examiner| answer(&mut examiner, cache)).collect()
    }
}

fn has_ended(examiner: &Examiner) -> bool {
    match waitpid(examiner.pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) => {
            if examiner.since.elapsed() > DEADLINE {
                let _gone = kill(examiner.pid, Signal::SIGKILL);
            }
            false
        }
        Ok(WaitStatus::Signaled(_, signal, _)) => {
            warn!(tgid = examiner.request.tgid, %signal, "An examiner was ended; nothing is known of its process");
            true
        }
        _ => true,
    }
}

/// Both messages are fixed-size and lie in the pipe, or were never written.
fn answer(examiner: &mut Examiner, cache: &mut Cache) -> Box<Reply> {
    let mut reply = Reply::to(&examiner.request);
    let (mut opened, mut found) = (Opened::default(), Found::new_zeroed());
    let is_whole = examiner.answer.read_exact(opened.as_mut_bytes()).is_ok()
        && examiner.answer.read_exact(found.as_mut_bytes()).is_ok();
    if !is_whole {
        return reply;
    }
    if found.readable & readable::BINARY != 0 {
        cache.insert(opened, Language::from_raw(found.binary));
    }
    if found.readable & readable::ENVIRONMENT != 0 {
        let len = usize::try_from(found.environment_len).unwrap_or(usize::MAX);
        reply.store(Text::Environment, found.environment.get(..len).unwrap_or_default());
    }
    reply.readable |= found.readable & readable::BINARY;
    reply.language = Language::from_raw(found.language) as u8;
    reply
}
