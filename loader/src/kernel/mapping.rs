//! Memory shared with the kernel, seen as atomics: the other side writes at any time.

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use std::{
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU8, AtomicU64},
};

/// A shared mapping. Never unmapped: it lives as long as the process, and its children inherit it.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is only reached through atomics, which any thread may use.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the whole of an mmapable array map, `len` bytes of values.
    ///
    /// # Errors
    /// What mmap(2) says: `EPERM` if the map is frozen, `EINVAL` if it is not mmapable or smaller.
    pub fn of_map(map: impl AsFd, len: usize) -> nix::Result<Self> {
        let length = NonZeroUsize::new(len).ok_or(nix::Error::EINVAL)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, map, 0)
        }?;
        Ok(Self { base: base.cast(), len })
    }

    /// Zeroed memory that parent and forked children share.
    ///
    /// # Errors
    /// What mmap(2) says.
    pub fn anonymous(len: usize) -> nix::Result<Self> {
        let length = NonZeroUsize::new(len).ok_or(nix::Error::EINVAL)?;
        // SAFETY: as above.
        let base = unsafe {
            mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED)
        }?;
        Ok(Self { base: base.cast(), len })
    }

    /// The memory as bytes.
    #[must_use]
    pub fn bytes(&self) -> &'static [AtomicU8] {
        // SAFETY: `base` is a live mapping of `len` bytes that is never unmapped; AtomicU8 has no invalid values.
        unsafe { std::slice::from_raw_parts(self.base.cast().as_ptr(), self.len) }
    }

    /// The memory as words of 8 bytes.
    #[must_use]
    pub fn words(&self) -> &'static [AtomicU64] {
        // SAFETY: as `bytes`; a mapping is aligned to a page.
        unsafe { std::slice::from_raw_parts(self.base.cast().as_ptr(), self.len / 8) }
    }

    /// The beginning of the memory as a `T`, which consists of atomics only.
    ///
    /// # Panics
    /// If the mapping is shorter than `T`.
    #[must_use]
    pub fn page<T: AtomicsOnly>(&self) -> &'static T {
        assert!(self.len >= size_of::<T>(), "mapping is shorter than its type");
        // SAFETY: long enough (asserted), aligned to a page, never unmapped, and every bit pattern is a `T`.
        unsafe { self.base.cast().as_ref() }
    }
}

/// A type of which every bit pattern is valid and that is only changed through atomics.
///
/// # Safety
/// `repr(C)`, every field an atomic integer or an array of such.
pub unsafe trait AtomicsOnly {}
