//! The life of one `elf`: open, check, give up everything, look, tell.

use super::{
    Found, Opened, binary,
    cache::Cache,
    environment,
    language::{self, Facts},
    maps, seccomp,
};
use crate::{
    policy::Policy,
    privilege::{caps, process},
    process::ipc::Request,
};
use nix::{
    sys::resource::{Resource, setrlimit},
    unistd::Pid,
};
use ratatosk_abi::{Language, readable};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    mem::ManuallyDrop,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
};
use zerocopy::{FromZeros, IntoBytes};

/// Seconds of CPU: parsing takes milliseconds.
const CPU_SECONDS: u64 = 2;
/// Bytes of heap: what is kept of a binary are its tables of sections, and symbol names one at a time.
const DATA_BYTES: u64 = 256 << 20;
/// A line of `/proc/<pid>/stat`.
const MAX_STAT_BYTES: u64 = 1024;
/// `/proc/<pid>/status` and `cgroup`, which the kernel writes.
const MAX_STATUS_BYTES: u64 = 8192;
/// Clock ticks of `/proc` per second (`USER_HZ`), the same on every architecture we run on.
const TICK_NS: u64 = 10_000_000;
/// Field 22 of `stat`, counted from the one after the name.
const START_FIELD: usize = 19;

/// What was opened. Never dropped: closing is no system call that this process still makes.
struct Files {
    exe: ManuallyDrop<File>,
    stat: ManuallyDrop<File>,
    maps: Option<ManuallyDrop<File>>,
    environ: Option<ManuallyDrop<File>>,
    pipe: ManuallyDrop<File>,
}

/// Runs to its end. Whatever fails, the attacher hears nothing, and nothing is known.
pub(super) fn run(
    request: &Request,
    policy: &Policy,
    cache: &Cache,
    pipe: OwnedFd,
    parent: Pid,
) -> io::Result<()> {
    process::close_all_but(&[2, pipe.as_raw_fd()]);
    process::end_with_parent(parent)?;
    setrlimit(Resource::RLIMIT_CPU, CPU_SECONDS, CPU_SECONDS)?;
    setrlimit(Resource::RLIMIT_DATA, DATA_BYTES, DATA_BYTES)?;
    let mut files = open(request.tgid, policy, pipe)?;
    let opened = identity(&files.exe)?;
    files.pipe.write_all(opened.as_bytes())?;
    let name = executable_name(request.tgid);
    let known = cache.get(&opened);
    give_everything_up(&files)?;
    // from here on bytes are read that somebody else chose
    if !is_the_one(&mut files.stat, request.start_ns)? {
        return Err(io::ErrorKind::NotFound.into());
    }
    let found = look(&mut files, &opened, &name, known);
    files.pipe.write_all(found.as_bytes())
}

/// All through one process directory: if the process ends, nothing of its successor is read.
fn open(tgid: u32, policy: &Policy, pipe: OwnedFd) -> io::Result<Files> {
    let directory = File::open(format!("/proc/{tgid}"))?;
    let path = |name: &str| format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    check(policy, &path)?;
    // O_NONBLOCK: what is no regular file is refused below, and must not hold us here
    let exe =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path("exe"))?;
    if !exe.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let optional = |name| File::open(path(name)).ok().map(ManuallyDrop::new);
    Ok(Files {
        exe: ManuallyDrop::new(exe),
        stat: ManuallyDrop::new(File::open(path("stat"))?),
        maps: optional("maps"),
        environ: optional("environ"),
        pipe: ManuallyDrop::new(File::from(pipe)),
    })
}

/// What the policy bounds is enforced here too: `server` may have been taken over.
fn check(policy: &Policy, path: &impl Fn(&str) -> String) -> io::Result<()> {
    let status = read_bounded(File::open(path("status"))?, MAX_STATUS_BYTES)?;
    let cgroup = read_bounded(File::open(path("cgroup"))?, MAX_STATUS_BYTES)?;
    let exe = fs::read_link(path("exe"))?;
    let uid = real_uid(&status).is_some_and(|uid| policy.permits_uid(uid));
    let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let permits = policy.examine
        && uid
        && policy.permits_cgroup(cgroup)
        && policy.permits_executable(Some(&exe.to_string_lossy()));
    if permits { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// First number of the line `Uid:`. The name of the process stands in the file too, but on one line with its own key.
fn real_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

fn read_bounded(file: File, bytes: u64) -> io::Result<String> {
    let mut text = Vec::new();
    file.take(bytes).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn identity(exe: &File) -> io::Result<Opened> {
    let of = exe.metadata()?;
    let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
    Ok(Opened {
        dev: of.dev(),
        ino: of.ino(),
        size: of.size(),
        mtime_ns: ns(of.mtime(), of.mtime_nsec()),
        ctime_ns: ns(of.ctime(), of.ctime_nsec()),
    })
}

/// Last part of the path, looked at only when nothing else tells.
fn executable_name(tgid: u32) -> String {
    let path = fs::read_link(format!("/proc/{tgid}/exe")).unwrap_or_default();
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn give_everything_up(files: &Files) -> io::Result<()> {
    keep_freed_memory();
    caps::keep_only(&[]).map_err(io::Error::other)?;
    process::no_new_privileges()?;
    let readable = [Some(&files.stat), files.maps.as_ref(), files.environ.as_ref()];
    let readable: Vec<i32> = readable.into_iter().flatten().map(|file| file.as_raw_fd()).collect();
    seccomp::install(&readable, files.exe.as_raw_fd(), files.pipe.as_raw_fd()).map_err(io::Error::other)
}

/// A heap of glibc that shrinks may ask a file of `/proc` how, and opening one would end us.
fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator, in a process of one thread.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX)
    };
}

/// The process began when it should: its pid was not given to another one meanwhile.
fn is_the_one(stat: &mut File, start_ns: u64) -> io::Result<bool> {
    let mut line = Vec::new();
    stat.take(MAX_STAT_BYTES).read_to_end(&mut line)?;
    Ok(start_tick(&String::from_utf8_lossy(&line)) == Some(start_ns / TICK_NS))
}

/// The name before it may hold anything, so it is counted from its closing bracket, the last in the line.
fn start_tick(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(START_FIELD)?.parse().ok()
}

fn look(files: &mut Files, opened: &Opened, name: &str, known: Option<Language>) -> Found {
    let libraries = files.maps.as_mut().map(|maps| maps::libraries(&mut **maps)).unwrap_or_default();
    let binary = known.unwrap_or_else(|| binary::language(&files.exe, opened.size));
    let mut found = Found::new_zeroed();
    found.language = language::of(&Facts { libraries, binary, name }) as u8;
    found.binary = binary as u8;
    found.readable = readable::BINARY;
    if let Some(kept) = files.environ.as_mut().and_then(|environ| environment::read(&mut **environ).ok()) {
        found.readable |= readable::ENVIRONMENT;
        found.environment_len = u32::try_from(kept.len()).unwrap_or_default();
        found.environment.iter_mut().zip(kept).for_each(|(to, from)| *to = from);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_behind_any_name() {
        let tail = "S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 1 2";
        for name in ["(x)", "(a b)", "(x) S 1 (y)", "(\n)"] {
            assert_eq!(start_tick(&format!("7 {name} {tail}")), Some(777), "{name}");
        }
        for cut in 0..tail.find("777").expect("there") {
            assert_eq!(start_tick(&format!("7 (x) {}", &tail[..cut])), None);
        }
    }

    #[test]
    fn the_real_uid_is_the_first_of_its_line() {
        assert_eq!(real_uid("Name:\tUid:9\nUid:\t33\t0\t0\t0\nGid:\t1"), Some(33));
        assert_eq!(real_uid("Name:\tx"), None);
    }
}
