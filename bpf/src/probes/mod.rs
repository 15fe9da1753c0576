//! One folder per probe family; [`ALL`] is the register.

pub mod process;
pub mod socket;

use crate::{LoadOptions, SharedMaps};
use libbpf_rs::{Link, OpenObject, Result};
use std::{fmt::Debug, mem::MaybeUninit};

/// What a family is, before it is loaded.
pub trait Family: Debug + Sync {
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
pub trait Loaded: Debug {
    /// Attaches every program.
    ///
    /// # Errors
    /// What libbpf says.
    fn attach(&mut self) -> Result<()>;
    /// Its iterators, to be read to their end for a snapshot; empty for most.
    fn iterators(&self) -> Vec<&Link> {
        Vec::new()
    }
}

/// Every family, in the order of loading.
pub const ALL: [&dyn Family; 2] = [&process::Process, &socket::Socket];

/// Room for an open object. Families live as long as the attacher, which lives as long as the process.
fn object_room() -> &'static mut MaybeUninit<OpenObject> {
    Box::leak(Box::new(MaybeUninit::uninit()))
}
