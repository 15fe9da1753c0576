//! One folder per probe family; [`ALWAYS`] and [`TIERS`] are the register.

pub mod inet;
pub mod inet_session;
pub mod process;
pub mod socket;

use crate::{LoadOptions, SharedMaps};
use libbpf_rs::{
    Link, Object, OpenObject, Result,
    btf::{self, Btf},
    skel::Skel,
};
use std::{
    fmt,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

/// What a family is, before it is loaded.
pub trait Family: fmt::Debug + Sync {
    /// Name of its folder, and of the tier if it carries payload.
    fn name(&self) -> &'static str;
    /// What it can't see, in words for people.
    fn lacks(&self) -> &'static [&'static str];
    /// Opens, sizes, and loads it.
    ///
    /// # Errors
    /// What libbpf says; `BPF_PROG_LOAD` fails with `EPERM` without `CAP_BPF` and `CAP_PERFMON`.
    fn load(&self, options: &LoadOptions, maps: &mut SharedMaps) -> Result<Box<dyn Loaded>>;
}

/// A family in the kernel. Dropping it stops its probes.
pub trait Loaded: fmt::Debug {
    /// Attaches every program.
    ///
    /// # Errors
    /// What libbpf says.
    fn attach(&mut self) -> Result<()>;
    /// Its programs, of which the kernel says how often it skipped them.
    fn programs(&self) -> Vec<BorrowedFd<'_>>;
    /// Its iterators, to be read to their end for a snapshot; empty for most.
    fn iterators(&self) -> Vec<&Link> {
        Vec::new()
    }
}

/// Families that carry no payload and are always at work.
pub const ALWAYS: [&dyn Family; 1] = [&process::Process];

/// Families that carry payload, the best first: one of them is at work.
pub const TIERS: [&dyn Family; 3] = [&socket::Socket, &inet::Inet, &inet_session::InetSession];

/// A loaded skeleton without iterators.
struct LoadedSkeleton<S>(S);

impl<S> fmt::Debug for LoadedSkeleton<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoadedSkeleton")
    }
}

impl<S: Skel<'static>> Loaded for LoadedSkeleton<S> {
    fn attach(&mut self) -> Result<()> {
        self.0.attach()
    }

    fn programs(&self) -> Vec<BorrowedFd<'_>> {
        programs_of(self.0.object())
    }
}

/// Without those that this kernel has no function for: they were not loaded.
fn programs_of(object: &Object) -> Vec<BorrowedFd<'_>> {
    let loaded = object.progs().filter(libbpf_rs::ProgramImpl::autoload);
    // SAFETY: the fds belong to `object`, which is borrowed for as long.
    loaded.map(|program| unsafe { BorrowedFd::borrow_raw(program.as_fd().as_raw_fd()) }).collect()
}

/// Opens a skeleton that includes `payload.bpf.h` and `policy.bpf.h`, sets their constants, and loads it.
macro_rules! load_payload_family {
    ($builder:path, $options:expr, $maps:expr $(, $optional:ident on $function:literal)*) => {{
        use libbpf_rs::skel::{OpenSkel as _, Skel as _, SkelBuilder as _};
        let (options, maps): (&LoadOptions, &mut SharedMaps) = ($options, $maps);
        let mut open = <$builder>::default().open(super::object_room())?;
        maps.prepare(open.open_object_mut(), options)?;
        if let Some(config) = open.maps.rodata_data.as_deref_mut() {
            config.cfg_turn_bytes = options.turn_bytes;
            config.cfg_call_bytes = options.call_bytes;
            config.cfg_wakeup_bytes = u64::from(options.data_ring_bytes / 4);
            config.cfg_loader_tgid = std::process::id();
            config.cfg_policy_any_uid = options.policy.uids.is_none();
            config.cfg_policy_any_cgroup = options.policy.cgroups.is_none();
        }
        $(open.progs.$optional.set_autoload(super::has_function($function));)*
        let loaded = open.load()?;
        maps.adopt(loaded.object())?;
        maps.freeze_policy(&options.policy)?;
        loaded
    }};
}
use load_payload_family;

/// Whether the running kernel has a function of this name that can be traced.
fn has_function(name: &str) -> bool {
    let known = Btf::from_vmlinux().map(|btf| btf.type_by_name::<btf::types::Func<'_>>(name).is_some());
    known.unwrap_or_default()
}

/// Room for an open object. Families live as long as the attacher, which lives as long as the process.
fn object_room() -> &'static mut MaybeUninit<OpenObject> {
    Box::leak(Box::new(MaybeUninit::uninit()))
}
