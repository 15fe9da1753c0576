//! What tests of the stage share: processes as the loader tells them.

use super::super::*;
use crate::{
    config::{PortRange, Selection},
    model::{KtimeNs, ProcessChange, ProcessEvent, ProcessId, ProcessInfo},
};
use ratatosk_abi::TargetState;

pub const PARENT: ProcessId = ProcessId { tgid: 1, start_ns: 1 };
pub const SHOP: ProcessId = ProcessId { tgid: 42, start_ns: 7 };

pub fn ports(first: u16, last: u16) -> Selection {
    Selection { open_ports: vec![PortRange { first, last }], ..Selection::default() }
}

/// A processor that has just connected.
pub fn connected(selection: Selection) -> Discovery {
    let mut discovery = Discovery::new(Matcher::new(selection).expect("valid patterns"), "host".into());
    discovery.connected();
    discovery
}

pub fn event(process: ProcessId, parent: ProcessId, change: ProcessChange) -> ProcessEvent {
    ProcessEvent {
        time: KtimeNs(1),
        process,
        parent,
        change,
        state: TargetState::Unknown,
        comm: *b"child\0\0\0\0\0\0\0\0\0\0\0",
    }
}

pub fn info(process: ProcessId, handle: u64, exe: &str) -> ProcessInfo<'_> {
    ProcessInfo {
        process,
        parent_tgid: PARENT.tgid,
        handle,
        exe: Some(exe.as_bytes()),
        cmdline: None,
        cgroup: None,
        language: None,
        environment: None,
        comm: *b"comm\0\0\0\0\0\0\0\0\0\0\0\0",
        state: TargetState::Unknown,
    }
}
