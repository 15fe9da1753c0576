//! Short-lived forks that read what `/proc` says of a process. An open or a read there can block for ever (a file
//! system that hangs, a task that holds its memory map), so none is made by a process that others wait for.

use crate::{
    privilege::{process, seccomp},
    process::ipc::Request,
};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};
use std::{
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, AsRawFd},
        unix::ffi::OsStrExt,
    },
    time::{Duration, Instant},
};

/// Longest string that is told of a process: a path's bound, and what `ps` shows is shorter.
pub const MAX_STRING_BYTES: usize = 4096;
/// Readers at work at once: more would be a fork bomb's echo.
const MAX_READERS: usize = 8;
/// A reader that takes longer hangs: it is ended, and its processes stay unreadable.
const DEADLINE: Duration = Duration::from_secs(1);

/// What `/proc` says of a process; `None` where it could not be read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProcessStrings {
    /// Target of `/proc/<pid>/exe`.
    pub exe: Option<Vec<u8>>,
    /// `/proc/<pid>/cmdline`, arguments separated by NUL.
    pub cmdline: Option<Vec<u8>>,
    /// `/proc/<pid>/cgroup`.
    pub cgroup: Option<Vec<u8>>,
}

/// Reads the three, looking into no byte of them.
#[must_use]
pub fn read(tgid: u32) -> ProcessStrings {
    let exe = std::fs::read_link(format!("/proc/{tgid}/exe")).ok();
    ProcessStrings {
        exe: exe.map(|path| path.as_os_str().as_bytes().to_vec()),
        cmdline: read_file(&format!("/proc/{tgid}/cmdline")),
        cgroup: read_file(&format!("/proc/{tgid}/cgroup")),
    }
}

fn read_file(path: &str) -> Option<Vec<u8>> {
    let limit = u64::try_from(MAX_STRING_BYTES).ok()?;
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A fork at work, and what it was asked.
#[derive(Debug)]
struct Reader {
    pid: Pid,
    since: Instant,
    requests: Vec<Request>,
}

/// The readers that have not ended yet.
#[derive(Debug, Default)]
pub struct Readers {
    running: Vec<Reader>,
}

impl Readers {
    /// Whether one more may be started.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.running.len() < MAX_READERS
    }

    /// Whether none is at work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Runs `work`, which answers `requests`, in a fork that keeps only `channel` open.
    ///
    /// # Errors
    /// What fork(2) says.
    pub fn start(
        &mut self,
        channel: &impl AsFd,
        requests: Vec<Request>,
        work: impl FnOnce(),
    ) -> nix::Result<()> {
        let parent = nix::unistd::getpid();
        // SAFETY: the attacher is single-threaded, so the child may use everything that it inherits.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                self.running.push(Reader { pid: child, since: Instant::now(), requests })
            }
            ForkResult::Child => {
                process::close_all_but(&[2, channel.as_fd().as_raw_fd()]);
                let caged = process::end_with_parent(parent).is_ok() && seccomp::of_child().is_ok();
                if caged {
                    work();
                }
                // SAFETY: ends this child without running the parent's exit handlers a second time.
                unsafe { libc::_exit(i32::from(!caged)) }
            }
        }
        Ok(())
    }

    /// Forgets the ended ones and ends those that hang. Gives the requests of those that did not end well.
    pub fn reap(&mut self) -> Vec<Request> {
        let mut unanswered = Vec::new();
        self.running.retain_mut(|reader| match waitpid(reader.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {
                if reader.since.elapsed() > DEADLINE {
                    let _gone = kill(reader.pid, Signal::SIGKILL);
                }
                true
            }
            Ok(WaitStatus::Exited(_, 0)) => false,
            _ => {
                unanswered.append(&mut reader.requests);
                false
            }
        });
        unanswered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_readable_by_itself() {
        let strings = read(std::process::id());
        assert!(strings.exe.is_some_and(|exe| exe.starts_with(b"/")));
        assert!(strings.cmdline.is_some_and(|cmdline| !cmdline.is_empty()));
    }

    #[test]
    fn a_process_that_is_not_there_gives_nothing() {
        assert_eq!(read(u32::MAX), ProcessStrings::default());
    }
}
