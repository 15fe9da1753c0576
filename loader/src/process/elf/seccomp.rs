//! What `elf` may still ask of the kernel once it reads foreign bytes: these calls, and every other one ends it.

use crate::privilege::seccomp::{SeccompError, only};
use libc::c_long;
use seccompiler::{SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompRule};

/// No memory of its own ever becomes code.
const EXECUTABLE: u64 = 4;

type Rules = Vec<(c_long, Vec<SeccompRule>)>;

/// Leaves: read some fds, pread one, write one, memory, and to end.
pub(super) fn install(readable: &[i32], pread: i32, write: i32) -> Result<(), SeccompError> {
    only(rules(readable, pread, write).map_err(SeccompError::from_backend)?)
}

fn rules(readable: &[i32], pread: i32, write: i32) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = vec![
        (libc::SYS_read, readable.iter().map(|fd| on_fd(*fd)).collect::<Result<_, _>>()?),
        (libc::SYS_pread64, vec![on_fd(pread)?]),
        (libc::SYS_write, vec![on_fd(write)?]),
        (libc::SYS_mmap, vec![anonymous_memory()?]),
        (libc::SYS_mprotect, vec![SeccompRule::new(vec![never_code()?])?]),
    ];
    let plain = [
        libc::SYS_brk,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_getrandom, // seeds of hash maps
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_rt_sigreturn,
    ];
    rules.extend(plain.map(|call| (call, Vec::new())));
    Ok(rules)
}

fn number(fd: i32) -> u64 {
    u64::from(u32::from_ne_bytes(fd.to_ne_bytes()))
}

fn on_fd(fd: i32) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(0, Dword, SeccompCmpOp::Eq, number(fd))?])
}

fn never_code() -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(2, Dword, SeccompCmpOp::MaskedEq(EXECUTABLE), 0)
}

fn anonymous_memory() -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(4, Dword, SeccompCmpOp::Eq, number(-1))?, never_code()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::{
        sys::{
            signal::Signal,
            wait::{WaitStatus, waitpid},
        },
        unistd::{ForkResult, fork, pipe},
    };
    use std::{
        fs::File,
        io::{Read, Write},
        mem::ManuallyDrop,
        os::{fd::AsRawFd, unix::fs::FileExt},
    };

    /// The fds that a filtered child may use: a file to read, the same to pread, a pipe to write.
    struct Fds {
        read: ManuallyDrop<File>,
        pread: ManuallyDrop<File>,
        write: ManuallyDrop<File>,
    }

    /// How a child ends that does `act` behind the filter, in which nothing may be dropped that would be closed.
    fn end_of(act: impl FnOnce(&mut Fds)) -> WaitStatus {
        let open = || ManuallyDrop::new(File::open("/proc/self/exe").expect("readable"));
        let (_read, write) = pipe().expect("pipe");
        let mut fds = Fds { read: open(), pread: open(), write: ManuallyDrop::new(File::from(write)) };
        // SAFETY: the child only makes system calls and allocates, which fork(2) of glibc leaves usable.
        match unsafe { fork() }.expect("forked") {
            ForkResult::Parent { child } => waitpid(child, None).expect("waited"),
            ForkResult::Child => {
                nix::sys::prctl::set_no_new_privs().expect("set");
                let installed =
                    install(&[fds.read.as_raw_fd()], fds.pread.as_raw_fd(), fds.write.as_raw_fd());
                installed.expect("installed");
                act(&mut fds);
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(0) }
            }
        }
    }

    fn is_killed(what: &str, act: impl FnOnce(&mut Fds)) {
        let status = end_of(act);
        assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{what}: {status:?}");
    }

    #[test]
    fn reading_writing_and_memory_are_left() {
        let status = end_of(|fds| {
            let mut bytes = vec![0; 1 << 20];
            fds.read.read_exact(&mut bytes[..16]).expect("read");
            fds.pread.read_exact_at(&mut bytes[..16], 4).expect("pread");
            fds.write.write_all(&bytes[..16]).expect("write");
        });
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
    }

    #[test]
    fn the_right_call_on_another_fd_ends_it() {
        is_killed("write to what is read", |fds| _ = fds.read.write(b"x"));
        is_killed("read of what is pread", |fds| _ = fds.pread.read(&mut [0; 8]));
        is_killed("pread of what is read", |fds| _ = fds.read.read_at(&mut [0; 8], 0));
        is_killed("write to stderr", |_| _ = std::io::stderr().write(b"x"));
    }

    #[test]
    fn every_other_call_ends_it() {
        for call in [
            libc::SYS_openat,
            libc::SYS_socket,
            libc::SYS_execve,
            libc::SYS_clone,
            libc::SYS_kill,
            libc::SYS_ptrace,
            libc::SYS_bpf,
            libc::SYS_ioctl,
            libc::SYS_fcntl,
            libc::SYS_close,
            libc::SYS_prctl,
            libc::SYS_setrlimit,
            libc::SYS_io_uring_setup,
            libc::SYS_memfd_create,
        ] {
            // SAFETY: the filter ends the process before the kernel looks at the arguments.
            is_killed(&call.to_string(), |_| _ = unsafe { libc::syscall(call, 0, 0, 0, 0, 0, 0) });
        }
    }

    #[test]
    fn no_memory_becomes_code() {
        let code = libc::PROT_READ | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: the kernel chooses the address, and the filter ends the process first.
        is_killed("mmap", |_| _ = unsafe { libc::mmap(std::ptr::null_mut(), 4096, code, flags, -1, 0) });
        // SAFETY: as above; no page is at this address.
        is_killed("mprotect", |_| _ = unsafe { libc::mprotect(std::ptr::null_mut(), 4096, code) });
        is_killed("mapping a file", |fds| {
            let (fd, read) = (fds.pread.as_raw_fd(), libc::PROT_READ);
            // SAFETY: as above.
            _ = unsafe { libc::mmap(std::ptr::null_mut(), 4096, read, libc::MAP_PRIVATE, fd, 0) };
        });
    }
}
