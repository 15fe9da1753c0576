//! The step between the launcher's fork and a side's exec: root becomes somebody with exactly the powers it should have.
//!
//! It runs in a process of its own (`ratatosk-loader become`, not meant for people) instead of a closure between fork and
//! exec, so that it is ordinary code.

use super::{EXIT_PERMISSION, EXIT_UNAVAILABLE, say, users::LOADER_CAPABILITIES};
use caps::{CapSet, CapsHashSet, errors::CapsError};
use nix::{
    sys::{
        prctl,
        resource::{RLIM_INFINITY, Resource, setrlimit},
        signal::{SigSet, Signal},
    },
    unistd::{Gid, Pid, Uid, getppid, setgroups, setresgid, setresuid},
};
use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    process::{self, Command, ExitCode},
};

/// Name of the subcommand.
pub const SUBCOMMAND: &str = "become";

/// Which capabilities are kept, as permitted, inheritable, ambient and bounding set.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Powers {
    /// [`LOADER_CAPABILITIES`].
    Loader,
    /// Nothing.
    None,
}

/// Who to become.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Become {
    /// Not 0.
    pub uid: u32,
    /// Not 0.
    pub gid: u32,
    /// Supplementary groups, all of them.
    pub groups: Vec<u32>,
    /// What is kept.
    pub powers: Powers,
}

/// Command line of `become`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    uid: u32,
    #[arg(long)]
    gid: u32,
    #[arg(long)]
    group: Vec<u32>,
    #[arg(long, value_enum)]
    powers: Powers,
    /// Pid of the launcher: if it is gone already, nobody would stop us
    #[arg(long)]
    parent: u32,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("uid and gid 0 are refused")]
    Root,
    #[error("{step} failed: {errno}")]
    Step { step: &'static str, errno: nix::Error },
    #[error("capability set {set} can't be set: {error}")]
    Capabilities { set: &'static str, error: CapsError },
    #[error("file descriptors can't be closed: {0}")]
    Descriptors(io::Error),
    #[error("the launcher is gone")]
    Orphan,
    #[error("no command")]
    NoCommand,
    #[error("{program} can't be run: {error}")]
    Exec { program: String, error: io::Error },
}

impl Become {
    /// The command line that leads to [`run`], up to the `--`.
    pub fn arguments(&self) -> Vec<String> {
        let powers = match self.powers {
            Powers::Loader => "loader",
            Powers::None => "none",
        };
        let mut arguments = vec![
            SUBCOMMAND.to_owned(),
            format!("--uid={}", self.uid),
            format!("--gid={}", self.gid),
            format!("--powers={powers}"),
            format!("--parent={}", process::id()),
        ];
        arguments.extend(self.groups.iter().map(|group| format!("--group={group}")));
        arguments
    }
}

/// Becomes the user and runs the command. Comes back only if that failed.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let Err(error) = enter(args);
    say(&format!("starting a side: {error}"));
    let code = if matches!(error, Error::Exec { .. }) { EXIT_UNAVAILABLE } else { EXIT_PERMISSION };
    ExitCode::from(code)
}

/// Order matters: what needs a capability comes before its loss, and the parent-death signal after the change of user,
/// which clears it. The exec keeps it: it raises no capability above the ambient set and runs no set-id file.
fn enter(args: &Args) -> Result<std::convert::Infallible, Error> {
    if args.uid == 0 || args.gid == 0 {
        return Err(Error::Root);
    }
    let keep = kept(args.powers);
    if args.powers == Powers::Loader {
        // Before 5.11 BPF memory counts against this limit, and the loader may not raise it. Later it does not matter, so
        // a root without CAP_SYS_RESOURCE is no error.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    }
    bound(&keep)?;
    change_user(args)?;
    for (name, set) in [
        ("effective", CapSet::Effective),
        ("permitted", CapSet::Permitted),
        ("inheritable", CapSet::Inheritable),
        ("ambient", CapSet::Ambient),
    ] {
        // Inheritable before ambient, else the kernel refuses; effective is raised from permitted.
        caps::set(None, set, &keep).map_err(|error| Error::Capabilities { set: name, error })?;
    }
    prctl::set_no_new_privs().map_err(step("no_new_privs"))?;
    close_descriptors().map_err(Error::Descriptors)?;
    tie_to_parent(args.parent)?;
    Err(exec(args))
}

fn kept(powers: Powers) -> CapsHashSet {
    match powers {
        Powers::Loader => LOADER_CAPABILITIES.into_iter().collect(),
        Powers::None => CapsHashSet::new(),
    }
}

fn step(step: &'static str) -> impl Fn(nix::Error) -> Error {
    move |errno| Error::Step { step, errno }
}

fn bound(keep: &CapsHashSet) -> Result<(), Error> {
    let failed = |error| Error::Capabilities { set: "bounding", error };
    let now = caps::read(None, CapSet::Bounding).map_err(failed)?;
    now.difference(keep).try_for_each(|&cap| caps::drop(None, CapSet::Bounding, cap).map_err(failed))
}

fn change_user(args: &Args) -> Result<(), Error> {
    let groups: Vec<Gid> = args.group.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(args.uid), Gid::from_raw(args.gid));
    setgroups(&groups).map_err(step("setgroups"))?;
    setresgid(gid, gid, gid).map_err(step("setresgid"))?;
    prctl::set_keepcaps(args.powers == Powers::Loader).map_err(step("keepcaps"))?;
    setresuid(uid, uid, uid).map_err(step("setresuid"))
}

/// Whatever the caller of the launcher forgot to close is no business of the sides.
fn close_descriptors() -> io::Result<()> {
    // SAFETY: nothing of ours above stderr is open, so no owner of a descriptor is left behind; no memory is touched.
    let rc = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A launcher that is killed takes its sides along. SIGTERM, so that they remove their socket.
fn tie_to_parent(parent: u32) -> Result<(), Error> {
    prctl::set_pdeathsig(Signal::SIGTERM).map_err(step("pdeathsig"))?;
    let is_there = i32::try_from(parent).is_ok_and(|parent| getppid() == Pid::from_raw(parent));
    if !is_there {
        return Err(Error::Orphan);
    }
    // The launcher blocks what it reads by signalfd; a blocked mask survives exec.
    SigSet::all().thread_unblock().map_err(step("sigmask"))
}

fn exec(args: &Args) -> Error {
    let Some((program, rest)) = args.command.split_first() else { return Error::NoCommand };
    let error = Command::new(program).args(rest).exec();
    Error::Exec { program: program.to_string_lossy().into_owned(), error }
}
