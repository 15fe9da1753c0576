//! Every object passes the verifier of the running kernel, and its programs attach (root).

use ratatosk_bpf::{LoadOptions, Policy, SharedMaps, probes};

const OPTIONS: LoadOptions = LoadOptions {
    data_ring_bytes: 1 << 20,
    control_ring_bytes: 1 << 18,
    turn_bytes: 1024,
    call_bytes: 512,
    pid_max: 32_768,
    cpus: 2,
    policy: Policy { uids: None, cgroups: None },
};

fn is_root() -> bool {
    // SAFETY: geteuid reads a number and can't fail.
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn every_family_loads_and_attaches() {
    if !is_root() {
        println!("skipped: loading BPF programs needs root");
        return;
    }
    let mut maps = SharedMaps::default();
    for family in probes::ALL {
        let mut loaded =
            family.load(&OPTIONS, &mut maps).unwrap_or_else(|e| panic!("{}: {e}", family.name()));
        loaded.attach().unwrap_or_else(|e| panic!("{}: {e}", family.name()));
    }
    assert!(maps.map("data_ring").is_some());
}
