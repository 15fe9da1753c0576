//! System calls that no process of the loader may make any more. One list per process; a call on it ends the process.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};
use std::collections::BTreeMap;

/// Turns the right to read other processes into the right to change them, or gains rights anew: never ours to call.
const OF_NOBODY: [i64; 22] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_open_by_handle_at,
];

/// `server` and the readers hold no BPF object that would need it.
const OF_CHILDREN: [i64; 1] = [libc::SYS_bpf];

/// Why no filter is in place.
#[derive(Debug, thiserror::Error)]
#[error("installing the seccomp filter: {0}")]
pub struct SeccompError(String);

/// Refuses what nobody needs. The attacher keeps bpf(2): it makes iterators for snapshots.
///
/// # Errors
/// [`SeccompError`]: the caller must end.
pub fn of_attacher() -> Result<(), SeccompError> {
    install(OF_NOBODY.iter())
}

/// Refuses bpf(2) as well. Filters add up: a child of the attacher has both.
///
/// # Errors
/// [`SeccompError`]: the caller must end.
pub fn of_child() -> Result<(), SeccompError> {
    install(OF_NOBODY.iter().chain(&OF_CHILDREN))
}

/// Leaves these calls, each if one of its rules holds (or if it has none); any other ends the process.
///
/// # Errors
/// [`SeccompError`]: the caller must end.
pub fn only(calls: Vec<(i64, Vec<SeccompRule>)>) -> Result<(), SeccompError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(failed)?;
    let (else_, then) = (SeccompAction::KillProcess, SeccompAction::Allow);
    let filter = SeccompFilter::new(calls.into_iter().collect(), else_, then, arch).map_err(failed)?;
    let program = BpfProgram::try_from(filter).map_err(failed)?;
    seccompiler::apply_filter(&program).map_err(failed)
}

fn install<'a>(calls: impl Iterator<Item = &'a i64>) -> Result<(), SeccompError> {
    let rules: BTreeMap<i64, Vec<_>> = calls.map(|call| (*call, Vec::new())).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(failed)?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, arch).map_err(failed)?;
    let program = BpfProgram::try_from(filter).map_err(failed)?;
    seccompiler::apply_filter(&program).map_err(failed)
}

impl SeccompError {
    /// A rule that can't be written as a filter.
    #[must_use]
    pub fn from_backend(error: seccompiler::BackendError) -> Self {
        failed(error)
    }
}

fn failed(error: impl std::fmt::Display) -> SeccompError {
    SeccompError(error.to_string())
}
