//! Settings of a process that no child should undo.

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
    signal::Signal,
};

/// No core dump and no ptrace by others: payload and capabilities live in this memory.
///
/// # Errors
/// What prctl(2) or setrlimit(2) say.
pub fn hide() -> nix::Result<()> {
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}

/// Nothing that is executed from here on gains a right.
///
/// # Errors
/// What prctl(2) says.
pub fn no_new_privileges() -> nix::Result<()> {
    prctl::set_no_new_privs()
}

/// Ends this child with its parent. The parent may have died before the call: that is checked.
///
/// # Errors
/// What prctl(2) says; `ESRCH` if the parent is gone already.
pub fn end_with_parent(parent: nix::unistd::Pid) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if nix::unistd::getppid() == parent { Ok(()) } else { Err(nix::Error::ESRCH) }
}

/// Closes every file descriptor but those in `kept`.
pub fn close_all_but(kept: &[i32]) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| !kept.contains(fd)) {
        // SAFETY: nobody in this fresh child uses these any more; the directory's own fd is closed already.
        unsafe { libc::close(fd) };
    }
}
