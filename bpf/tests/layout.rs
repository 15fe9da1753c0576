//! The Rust mirrors have the layout of the C headers. Runs as any user: the BTF is read from a file.

use libbpf_rs::{
    HasSize,
    btf::{Btf, types::Struct},
};
use ratatosk_abi as abi;
use std::{mem::offset_of, path::Path, process::Command};

fn btf() -> Btf<'static> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("abi");
    let object = std::env::temp_dir().join(format!("ratatosk-layout-{}.o", std::process::id()));
    let status = Command::new("clang")
        .args(["-target", "bpf", "-Wpadded", "-Werror", "-g", "-O2", "-c"])
        .arg(dir.join("layout.bpf.c"))
        .arg("-o")
        .arg(&object)
        .status()
        .expect("clang runs");
    assert!(status.success(), "the layout has padding");
    let btf = Btf::from_path(&object).expect("object has BTF");
    std::fs::remove_file(object).expect("temporary object goes");
    btf
}

fn members(btf: &Btf<'_>, name: &str) -> (usize, Vec<(String, usize)>) {
    let found = btf.type_by_name::<Struct<'_>>(name).unwrap_or_else(|| panic!("struct {name} is in the BTF"));
    let offset = |member: &libbpf_rs::btf::types::StructMember<'_>| match member.attr {
        libbpf_rs::btf::types::MemberAttr::Normal { offset } => usize::try_from(offset / 8).expect("small"),
        libbpf_rs::btf::types::MemberAttr::BitField { .. } => panic!("{name} has a bit field"),
    };
    let list = found.iter().map(|m| (m.name.unwrap_or_default().to_string_lossy().into_owned(), offset(&m)));
    (found.size(), list.collect())
}

/// Compares one struct: its size, and each member's name and offset in order.
macro_rules! same {
    ($btf:expr, $c:literal, $rust:ty, $($field:ident),+) => {{
        let (size, list) = members($btf, $c);
        let mirror = vec![$((stringify!($field).to_owned(), offset_of!($rust, $field))),+];
        assert_eq!(list, mirror, "members of {}", $c);
        assert_eq!(size, size_of::<$rust>(), "size of {}", $c);
    }};
}

#[test]
fn mirrors_equal_the_headers() {
    let btf = &btf();
    same!(btf, "record_header", abi::RecordHeader, len, kind, fixed_len, ktime_ns, tgid, tid, task_start_ns);
    same!(
        btf,
        "socket_id",
        abi::SocketId,
        cookie,
        netns,
        family,
        local_port,
        remote_port,
        source,
        offset_kind,
        reserved,
        local_addr,
        remote_addr
    );
    same!(btf, "conn_record", abi::ConnRecord, hdr, sock, tx_offset, rx_offset, target_state, reserved);
    same!(
        btf,
        "chunk_record",
        abi::ChunkRecord,
        hdr,
        sock,
        offset,
        orig_len,
        captured_len,
        direction,
        missing,
        flags
    );
    same!(
        btf,
        "process_record",
        abi::ProcessRecord,
        hdr,
        cgroup_id,
        exe_ino,
        parent_start_ns,
        exe_dev,
        uid,
        parent_tgid,
        target_state,
        reserved,
        comm
    );
    same!(
        btf,
        "process_info_record",
        abi::ProcessInfoRecord,
        hdr,
        handle,
        cgroup_id,
        exe_ino,
        exe_dev,
        uid,
        parent_tgid,
        exe_len,
        cmdline_len,
        cgroup_len,
        target_state,
        readable,
        environment_len,
        language,
        reserved,
        comm
    );
    same!(btf, "exe_decision", abi::ExeDecision, exe_ino, cgroup_id, exe_dev, state);
    same!(btf, "cpu_counters", abi::CpuCounters, slot);
    same!(btf, "control_words", abi::ControlWords, heartbeat_ktime_ns, reserved);
}
