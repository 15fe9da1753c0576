//! The maps that all families share: created with the first object, reused by the others.

use libbpf_rs::{MapCore, MapFlags, MapHandle, OpenObject, Result};
use std::{collections::BTreeMap, ffi::OsString, os::fd::AsFd};

/// What the loader decides before anything is loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoadOptions {
    /// Size of the data ring, a power of two of at least a page.
    pub data_ring_bytes: u32,
    /// Size of the control ring, likewise.
    pub control_ring_bytes: u32,
    /// Bytes captured of the first call of a turn, at most 16 384.
    pub turn_bytes: u32,
    /// Bytes captured of later calls, at most 16 384.
    pub call_bytes: u32,
    /// Largest tgid plus one, as `kernel.pid_max` says.
    pub pid_max: u32,
    /// Possible CPUs.
    pub cpus: u32,
    /// Connections whose turns are remembered by cookie: for [`crate::probes::inet_session`], else 0.
    pub conns_by_cookie: u32,
    /// What may be observed at all.
    pub policy: Policy,
}

/// What an administrator permits; `None`: no bound. Enforced in the kernel from constants and frozen maps.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// Effective uids, at most 1024.
    pub uids: Option<Vec<u32>>,
    /// Ids of cgroups, which permit their descendants too, at most 1024.
    pub cgroups: Option<Vec<u64>>,
}

impl LoadOptions {
    /// Elements of `target_by_tgid`.
    #[must_use]
    pub fn target_pages(&self) -> u32 {
        let per_page = u32::try_from(ratatosk_abi::TARGETS_PER_PAGE).unwrap_or(1);
        self.pid_max.div_ceil(per_page).max(1)
    }

    /// Elements of a map whose size the machine decides, `None` for the others.
    fn max_entries(&self, map: &str) -> Option<u32> {
        match map {
            "data_ring" => Some(self.data_ring_bytes),
            "control_ring" => Some(self.control_ring_bytes),
            "target_by_tgid" => Some(self.target_pages()),
            "counters" => Some(self.cpus),
            "conn_by_cookie" => Some(self.conns_by_cookie.max(1)),
            _ => None,
        }
    }
}

/// Handles of the shared maps, by name.
#[derive(Debug, Default)]
pub struct SharedMaps {
    by_name: BTreeMap<OsString, MapHandle>,
    is_policy_frozen: bool,
}

impl SharedMaps {
    /// The map called `name` in `maps.bpf.h`.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&MapHandle> {
        self.by_name.get(std::ffi::OsStr::new(name))
    }

    /// Before an object is loaded: sizes its maps, and puts those that exist in place of its own.
    pub(crate) fn prepare(&self, object: &mut OpenObject, options: &LoadOptions) -> Result<()> {
        for mut map in object.maps_mut() {
            let name = map.name().to_os_string();
            if let Some(existing) = self.by_name.get(&name) {
                map.reuse_fd(existing.as_fd())?;
            } else if let Some(entries) = options.max_entries(&name.to_string_lossy()) {
                map.set_max_entries(entries)?;
            }
        }
        Ok(())
    }

    /// Fills the lists of the policy, and freezes them: from here on nobody can change them.
    pub(crate) fn freeze_policy(&mut self, policy: &Policy) -> Result<()> {
        if std::mem::replace(&mut self.is_policy_frozen, true) {
            return Ok(()); // another tier was tried before: the lists are the same
        }
        let uids = policy.uids.iter().flatten().map(|uid| uid.to_ne_bytes().to_vec());
        let cgroups = policy.cgroups.iter().flatten().map(|id| id.to_ne_bytes().to_vec());
        self.fill_and_freeze("policy_uids", uids)?;
        self.fill_and_freeze("policy_cgroups", cgroups)
    }

    fn fill_and_freeze(&self, name: &str, keys: impl Iterator<Item = Vec<u8>>) -> Result<()> {
        let Some(map) = self.map(name) else { return Ok(()) };
        for key in keys {
            map.update(&key, &[1], MapFlags::ANY)?;
        }
        map.freeze()
    }

    /// After an object was loaded: keeps the maps that it created. Its constants (`.rodata`) are its own.
    pub(crate) fn adopt(&mut self, object: &libbpf_rs::Object) -> Result<()> {
        for map in object.maps() {
            let name = map.name().to_os_string();
            if !name.to_string_lossy().contains('.') && !self.by_name.contains_key(&name) {
                self.by_name.insert(name, MapHandle::try_from(&map)?);
            }
        }
        Ok(())
    }
}
