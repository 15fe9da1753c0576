//! Every object passes the verifier of the running kernel, and its programs attach (root).

use ratatosk_bpf::{LoadOptions, Policy, SharedMaps, probes};

const OPTIONS: LoadOptions = LoadOptions {
    data_ring_bytes: 1 << 20,
    control_ring_bytes: 1 << 18,
    turn_bytes: 1024,
    call_bytes: 512,
    pid_max: 32_768,
    cpus: 2,
    conns_by_cookie: 0,
    policy: Policy { uids: None, cgroups: None },
};

fn is_root() -> bool {
    // SAFETY: geteuid reads a number and can't fail.
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn a_family_that_carries_payload_loads_and_attaches() {
    if !is_root() {
        println!("skipped: loading BPF programs needs root");
        return;
    }
    let mut maps = SharedMaps::default();
    let mut works = Vec::new();
    for family in probes::ALWAYS.into_iter().chain(probes::TIERS) {
        let started =
            family.load(&OPTIONS, &mut maps).and_then(|mut loaded| loaded.attach().map(|()| loaded));
        match started {
            Ok(_) => works.push(family.name()),
            Err(error) => println!("{}: {error}", family.name()),
        }
    }
    assert!(works.contains(&"process"), "{works:?}");
    assert!(works.len() > 1, "no tier works on this kernel");
    assert!(maps.map("data_ring").is_some());
}
