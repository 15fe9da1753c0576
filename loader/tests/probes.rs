//! The probes of family `socket`, by real calls on loopback: what each call's record says. Needs root and a kernel
//! with BTF; else it says so and counts as skipped.

mod support;

use ratatosk_abi::{Direction, Missing, RecordKind, TargetState};
use ratatosk_bpf::{LoadOptions, Policy};
use ratatosk_loader::{kernel::boottime_ns, server::kernel::Kernel};
use std::{
    io::{IoSlice, IoSliceMut, Read, Write},
    net::{Shutdown, TcpListener},
    os::fd::AsRawFd,
};
use support::{OPTIONS, Probes, each, pair, port};

#[test]
fn plain_calls_are_seen_with_their_bytes_on_both_families() {
    let Some(mut probes) = Probes::start() else { return };
    for address in ["127.0.0.1", "::1"] {
        let (mut client, mut server) = pair(address);
        client.write_all(b"hello").expect("written");
        server.read_exact(&mut [0; 5]).expect("read");
        let chunks = probes.chunks();
        let tx = chunks.iter().find(|c| c.is(Direction::Tx, port(&client))).expect("sent");
        let rx = chunks.iter().find(|c| c.is(Direction::Rx, port(&server))).expect("received");
        assert_eq!((tx.payload.as_slice(), rx.payload.as_slice()), (&b"hello"[..], &b"hello"[..]));
        assert_eq!(tx.fixed.offset, rx.fixed.offset, "both ends name the same byte alike");
        assert_eq!(tx.fixed.sock.remote_port, port(&server));
        assert_eq!(tx.fixed.sock.local_addr, rx.fixed.sock.remote_addr);
    }
}

#[test]
fn vectors_are_joined() {
    let Some(mut probes) = Probes::start() else { return };
    let (mut client, mut server) = pair("127.0.0.1");
    let sent = client.write_vectored(&[IoSlice::new(b"one "), IoSlice::new(b"two "), IoSlice::new(b"three")]);
    assert_eq!(sent.expect("written"), 13);
    let (mut a, mut b) = ([0; 6], [0; 20]);
    let read = server.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]);
    assert_eq!(read.expect("read"), 13);
    let chunks = probes.chunks();
    assert_eq!(chunks.len(), 2);
    assert!(chunks.iter().all(|chunk| chunk.payload == b"one two three"), "{chunks:?}");
}

#[test]
fn a_peek_is_no_read() {
    let Some(mut probes) = Probes::start() else { return };
    let (mut client, server) = pair("127.0.0.1");
    client.write_all(b"peeked").expect("written");
    server.peek(&mut [0; 6]).expect("peeked");
    let chunks = probes.chunks();
    assert!(chunks.iter().all(|chunk| chunk.fixed.direction == Direction::Tx as u8), "{chunks:?}");
}

#[test]
fn a_fin_does_not_shift_the_last_bytes() {
    let Some(mut probes) = Probes::start() else { return };
    let (mut client, mut server) = pair("127.0.0.1");
    client.write_all(b"last words").expect("written");
    client.shutdown(Shutdown::Write).expect("fin");
    let mut buffer = [0; 64];
    assert_eq!(server.read(&mut buffer).expect("read"), 10);
    assert_eq!(server.read(&mut buffer).expect("eof"), 0);
    let chunks = probes.chunks();
    let (tx, rx) = (&chunks[0].fixed, &chunks[1].fixed);
    assert_eq!(tx.offset, rx.offset);
    let eof = &chunks[2].fixed;
    assert_eq!((eof.hdr.kind, eof.orig_len), (RecordKind::Eof as u16, 0));
    assert_eq!(eof.offset, tx.offset.wrapping_add(10), "the end of the stream, the FIN not counted");
    drop((client, server));
    let (conns, _) = probes.drain();
    let closes: Vec<_> = conns.iter().filter(|c| c.hdr.kind == RecordKind::Close as u16).collect();
    let of_server =
        closes.iter().find(|c| c.rx_offset == eof.offset).expect("the server's close has the final offset");
    assert!(closes.iter().any(|c| c.tx_offset == of_server.rx_offset), "{closes:?}");
}

#[test]
fn sendfile_is_told_by_length() {
    let Some(mut probes) = Probes::start() else { return };
    let (mut client, mut server) = pair("127.0.0.1");
    let file = std::fs::File::open("/proc/self/exe").expect("own binary");
    let sent = nix::sys::sendfile::sendfile(&client, &file, None, 3000).expect("sent");
    server.read_exact(&mut vec![0; sent]).expect("read");
    client.write_all(b"after").expect("written");
    let chunks = probes.chunks();
    let tx: Vec<_> = chunks.iter().filter(|c| c.is(Direction::Tx, port(&client))).collect();
    let [files @ .., after] = tx.as_slice() else { panic!("nothing sent: {chunks:?}") };
    assert!(
        files.iter().all(|c| c.payload.is_empty() && c.fixed.missing == Missing::Sendfile as u8),
        "{files:?}"
    );
    let told = files.iter().map(|c| c.fixed.orig_len).sum::<u32>();
    // before Linux 6.5 sendfile passes another function: then it is an exact gap
    assert!(told == 3000 || told == 0, "{told}");
    let first = chunks.iter().find(|c| c.is(Direction::Rx, port(&server))).expect("received").fixed.offset;
    assert_eq!(after.fixed.offset.wrapping_sub(first), 3000, "the next byte's place tells of them");
}

#[test]
fn widths_follow_the_turn() {
    let Some(mut probes) = Probes::start() else { return };
    let (mut client, mut server) = pair("127.0.0.1");
    let block = [b'x'; 4000];
    for _ in 0..40 {
        client.write_all(&block).expect("written");
        server.read_exact(&mut [0; 4000]).expect("read");
    }
    let chunks = probes.chunks();
    let tx: Vec<_> =
        chunks.iter().filter(|c| c.is(Direction::Tx, port(&client))).map(|c| c.payload.len()).collect();
    assert_eq!(tx[..3], [1024, 512, 512]);
    assert_eq!(tx.last(), Some(&64));
    assert!(chunks.iter().all(|chunk| chunk.fixed.orig_len == 4000));
}

#[test]
fn what_is_not_observed_leaves_no_byte() {
    let Some(mut probes) = Probes::start() else { return };
    let (mut client, _server) = pair("127.0.0.1");
    for state in [
        TargetState::Unknown,
        TargetState::Wanted,
        TargetState::Denied,
        TargetState::Own,
        TargetState::Ignored,
    ] {
        probes.attached.kernel.set_target(std::process::id(), state);
        client.write_all(b"secret").expect("written");
        assert!(probes.chunks().is_empty(), "{state:?}");
    }
}

#[test]
fn a_late_heartbeat_silences_the_probes() {
    let Some(mut probes) = Probes::start() else { return };
    let (mut client, _server) = pair("127.0.0.1");
    let before = probes.attached.kernel.counters()[ratatosk_abi::counter::SILENCED];
    probes.attached.kernel.beat(boottime_ns() - 6_000_000_000);
    client.write_all(b"nobody listens").expect("written");
    assert!(probes.chunks().is_empty());
    assert_eq!(probes.attached.kernel.counters()[ratatosk_abi::counter::SILENCED], before + 1);
}

#[test]
fn batched_messages_are_told_by_length() {
    let Some(mut probes) = Probes::start() else { return };
    let (client, mut server) = pair("127.0.0.1");
    let iov = libc::iovec { iov_base: b"batched".as_ptr().cast_mut().cast(), iov_len: 7 };
    // SAFETY: all-zero is a valid message header.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_iov = std::ptr::from_ref(&iov).cast_mut();
    message.msg_hdr.msg_iovlen = 1;
    // SAFETY: one message with one live buffer that is only read.
    let sent = unsafe { libc::sendmmsg(client.as_raw_fd(), &raw mut message, 1, 0) };
    assert_eq!(sent, 1);
    server.read_exact(&mut [0; 7]).expect("read");
    let chunks = probes.chunks();
    let tx = chunks.iter().find(|c| c.is(Direction::Tx, port(&client))).expect("sent");
    // at the socket layer the message is known, by the registers of the call it is not
    let expected = if probes.is_by_registers() { (Missing::Sendmmsg, 0) } else { (Missing::Nothing, 7) };
    assert_eq!((tx.fixed.missing, tx.fixed.orig_len, tx.payload.len()), (expected.0 as u8, 7, expected.1));
}

/// Whether bytes that a child of uid 0 writes are seen under `policy`.
fn is_child_seen(policy: Policy) -> Option<bool> {
    let mut probes = Probes::start_with(&LoadOptions { policy, ..OPTIONS })?;
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port().to_string();
    let mut child = std::process::Command::new("bash")
        .args(["-c", "read; exec 3<>/dev/tcp/127.0.0.1/$0; echo of a child >&3", &port])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("bash runs");
    std::thread::sleep(std::time::Duration::from_millis(300));
    probes.attached.kernel.set_target(child.id(), TargetState::Observed);
    child.stdin.take().expect("piped").write_all(b"go\n").expect("written");
    listener.accept().expect("accepted").0.read_exact(&mut [0; 11]).expect("read");
    drop(child.wait());
    let mut is_seen = false;
    let of_child = child.id();
    probes.attached.kernel.drain(&mut |_| {}, &mut |bytes| {
        each(bytes, |record| is_seen |= record.header.tgid == of_child);
    });
    let denied = probes.attached.kernel.counters()[ratatosk_abi::counter::POLICY_DENIED];
    assert_eq!(denied == 0, is_seen, "what the policy forbids is counted");
    Some(is_seen)
}

#[test]
fn the_policy_is_enforced_in_the_kernel() {
    for (uids, cgroups, expected) in [
        (None, None, true),
        (Some(vec![12_345]), None, false),
        (Some(vec![0, 12_345]), None, true),
        (None, Some(vec![u64::MAX]), false),
    ] {
        let Some(is_seen) = is_child_seen(Policy { uids, cgroups }) else { return };
        assert_eq!(is_seen, expected);
    }
}

/// `write` of the 32-bit ABI, made by this 64-bit process. `None` where the kernel has no such calls.
#[cfg(target_arch = "x86_64")]
fn write_by_int80(fd: i32, bytes: &[u8]) -> Option<usize> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
    let len = std::num::NonZeroUsize::new(4096)?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_32BIT;
    // SAFETY: a new mapping below 4 GiB, where a 32-bit call can reach it.
    let page =
        unsafe { mmap_anonymous(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }.ok()?;
    // SAFETY: the page has 4096 bytes and nobody else knows it.
    unsafe { page.cast::<u8>().as_ptr().copy_from(bytes.as_ptr(), bytes.len()) };
    let mut result: i64 = 4;
    // SAFETY: write(2) reads `bytes.len()` bytes of the page; rbx is put back, r8 to r11 are lost to the call.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {fd:r}", "int 0x80", "xchg rbx, {fd:r}",
            fd = inout(reg) i64::from(fd) => _,
            inout("rax") result, in("rcx") page.as_ptr(), in("rdx") bytes.len(),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    usize::try_from(result).ok()
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_the_32_bit_abi_are_told_by_length() {
    let Some(mut probes) = Probes::start() else { return };
    let (client, mut server) = pair("127.0.0.1");
    if write_by_int80(client.as_raw_fd(), b"32 bits") != Some(7) {
        println!("skipped: this kernel has no 32-bit system calls");
        return;
    }
    server.read_exact(&mut [0; 7]).expect("read");
    let chunks = probes.chunks();
    let tx = chunks.iter().find(|c| c.is(Direction::Tx, port(&client))).expect("sent");
    let expected = if probes.is_by_registers() { (Missing::CompatTask, 0) } else { (Missing::Nothing, 7) };
    assert_eq!((tx.fixed.missing, tx.fixed.orig_len, tx.payload.len()), (expected.0 as u8, 7, expected.1));
}

#[test]
fn a_child_begins_as_its_parent_and_exec_forgets() {
    let Some(mut probes) = Probes::start() else { return };
    let mut states = Vec::new();
    let child = std::process::Command::new("sleep").arg("0.2").spawn().expect("sleep runs");
    std::thread::sleep(std::time::Duration::from_millis(50));
    states.push(probes.attached.kernel.target(child.id()));
    let mut records = Vec::new();
    probes.attached.kernel.drain(
        &mut |bytes| {
            each(bytes, |record| {
                if record.header.tgid == child.id() {
                    records.push(record.header.kind)
                }
            })
        },
        &mut |_| {},
    );
    drop(child.wait_with_output());
    assert_eq!(states, [TargetState::Unknown], "an executable that nobody decided about");
    assert_eq!(records, [RecordKind::Fork as u16, RecordKind::Exec as u16]);
}

#[test]
fn a_decision_about_an_executable_holds_at_its_next_exec() {
    let Some(mut probes) = Probes::start() else { return };
    let mut of_sleep = None;
    let mut run = |probes: &mut Probes| {
        let child = std::process::Command::new("sleep").arg("0.1").spawn().expect("sleep runs");
        std::thread::sleep(std::time::Duration::from_millis(40));
        let state = probes.attached.kernel.target(child.id());
        probes.attached.kernel.drain(
            &mut |bytes| {
                each(bytes, |record| {
                    if record.header.kind == RecordKind::Exec as u16 && record.header.tgid == child.id() {
                        of_sleep = record.fixed::<ratatosk_abi::ProcessRecord>().ok();
                    }
                });
            },
            &mut |_| {},
        );
        drop(child.wait_with_output());
        (state, of_sleep)
    };
    let (_, process) = run(&mut probes);
    let process = process.expect("an exec record");
    let decision = ratatosk_abi::ExeDecision {
        exe_ino: process.exe_ino,
        exe_dev: process.exe_dev,
        cgroup_id: process.cgroup_id,
        state: TargetState::Observed as u32,
    };
    probes.attached.kernel.remember_exe(decision);
    assert_eq!(run(&mut probes).0, TargetState::Observed);
    probes.attached.kernel.forget_exes();
    assert_eq!(run(&mut probes).0, TargetState::Unknown);
}

#[test]
fn a_listener_on_a_wanted_port_is_observed_at_once() {
    let Some(mut probes) = Probes::start() else { return };
    use ratatosk_abi::PortMode;
    let me = std::process::id();
    let free = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound").port();
    for (mode, state) in [
        (PortMode::None, TargetState::Ignored),
        (PortMode::Mark, TargetState::Wanted),
        (PortMode::Observe, TargetState::Observed),
    ] {
        probes.attached.kernel.set_target(me, TargetState::Ignored);
        probes.attached.kernel.set_port(free, mode);
        drop(TcpListener::bind(("127.0.0.1", free)).expect("bound"));
        assert_eq!(probes.attached.kernel.target(me), state);
    }
    for state in [TargetState::Own, TargetState::Denied] {
        probes.attached.kernel.set_target(me, state);
        drop(TcpListener::bind(("127.0.0.1", free)).expect("bound"));
        assert_eq!(probes.attached.kernel.target(me), state, "a port never overrides this");
    }
    probes.attached.kernel.set_port(free, PortMode::None);
}
