//! What only some kernels or sockets do: tasks that preempt each other, sockets without sequence numbers, long vectors.
//! Needs root and a kernel with BTF; else it says so and counts as skipped.

mod support;

use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{Backlog, SockaddrIn, bind, connect, listen},
    unistd::Pid,
};
use ratatosk_abi::{Direction, Missing, OffsetKind, Source, counter};
use ratatosk_bpf::LoadOptions;
use ratatosk_loader::server::kernel::Kernel;
use std::{
    io::{self, IoSlice, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    thread,
};
use support::{OPTIONS, Probes, Seen, pair, port};

/// Enough to be interrupted some hundred times, few enough for a ring of 64 MiB.
const THREADS: usize = 8;
const CALLS: usize = 20_000;

#[test]
fn no_call_is_missed_uncounted_when_tasks_preempt_each_other() {
    let options = LoadOptions { data_ring_bytes: 64 << 20, turn_bytes: 64, call_bytes: 64, ..OPTIONS };
    let Some(mut probes) = Probes::start_with(&options) else { return };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| cross_on_one_cpu(CALLS / THREADS));
        }
    });
    let told = count_chunks(&mut probes);
    let refused = probes.attached.kernel.counters()[counter::DATA_RING_FULL];
    let seen = told + usize::try_from(refused).expect("few");
    let missed = probes.attached.probes.misses().expect("told");
    let missed = usize::try_from(missed.calls + missed.events).expect("few");
    let tier = probes.attached.probes.tier.name();
    println!("tier {tier}: {told} of {} calls told, {refused} refused, {missed} missed", 2 * CALLS);
    assert!(seen <= 2 * CALLS && seen + missed >= 2 * CALLS, "{seen} seen, {missed} missed");
    if tier == "inet_session" {
        assert_eq!(seen, 2 * CALLS);
    }
}

/// A drain ends after so many records.
fn count_chunks(probes: &mut Probes) -> usize {
    std::iter::repeat_with(|| probes.chunks().len()).take_while(|count| *count > 0).sum()
}

fn cross_on_one_cpu(calls: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(0).expect("first CPU");
    sched_setaffinity(Pid::from_raw(0), &cpus).expect("own affinity");
    let (mut client, mut server) = pair("127.0.0.1");
    for _ in 0..calls {
        client.write_all(b"x").expect("written");
        server.read_exact(&mut [0]).expect("read");
    }
}

#[test]
fn more_segments_than_are_followed_are_cut_and_said() {
    let Some(mut probes) = Probes::start() else { return };
    let (mut client, _server) = pair("127.0.0.1");
    let segments = [IoSlice::new(b"0123456789"); 12];
    assert_eq!(client.write_vectored(&segments).expect("written"), 120);
    let chunks = probes.chunks();
    let sent = chunks.iter().find(|chunk| chunk.is(Direction::Tx, port(&client))).expect("sent");
    assert_eq!(sent.fixed.orig_len, 120);
    assert_eq!(sent.fixed.missing, Missing::Segments as u8);
    assert!("0123456789".repeat(8).as_bytes().starts_with(&sent.payload), "{:?}", sent.payload);
}

#[test]
fn a_send_that_took_a_part_is_told_from_its_first_byte() {
    let Some(mut probes) = Probes::start() else { return };
    let (mut client, _server) = pair("127.0.0.1");
    client.set_nonblocking(true).expect("nonblocking");
    let body = vec![b'b'; 8 << 20];
    let segments = [IoSlice::new(b"head "), IoSlice::new(b"and "), IoSlice::new(&body)];
    let taken = client.write_vectored(&segments).expect("written");
    assert!(taken < body.len(), "the socket's buffer took it all");
    let chunks = probes.chunks();
    let sent = chunks.iter().find(|chunk| chunk.is(Direction::Tx, port(&client))).expect("sent");
    assert_eq!(usize::try_from(sent.fixed.orig_len).expect("fits"), taken);
    assert!(sent.payload.starts_with(b"head and bbbb"), "{:?}", &sent.payload[..20]);
    assert_eq!(sent.payload.len(), 1024);
}

fn mptcp_socket() -> io::Result<OwnedFd> {
    const IPPROTO_MPTCP: i32 = 262;
    // SAFETY: socket(2) has no memory of ours.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, IPPROTO_MPTCP) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the fd is new, and ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// MPTCP on both ends: sequence numbers belong to the paths, not to the stream.
fn mptcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let (listening, connecting) = (mptcp_socket()?, mptcp_socket()?);
    bind(listening.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
    listen(&listening, Backlog::new(1)?)?;
    let listener = TcpListener::from(listening);
    connect(connecting.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, listener.local_addr()?.port()))?;
    Ok((TcpStream::from(connecting), listener.accept()?.0))
}

#[test]
fn mptcp_counts_bytes_itself() {
    let Some(mut probes) = Probes::start() else { return };
    let Ok((mut client, mut server)) = mptcp_pair() else {
        println!("skipped: mptcp_counts_bytes_itself: this kernel has no MPTCP");
        return;
    };
    for part in [&b"first"[..], b"second"] {
        client.write_all(part).expect("written");
        server.read_exact(&mut vec![0; part.len()]).expect("read");
    }
    let is_by_registers = probes.is_by_registers();
    assert_counted(&probes.chunks(), Source::Mptcp, is_by_registers);
}

/// Own offsets begin at 0 and go on by the bytes; a tier that reads registers may not read these sockets' payload.
fn assert_counted(chunks: &[Seen], source: Source, is_by_registers: bool) {
    for direction in [Direction::Tx, Direction::Rx] {
        let own: Vec<_> = chunks
            .iter()
            .filter(|c| c.fixed.direction == direction as u8 && c.fixed.sock.source == source as u8)
            .collect();
        let offsets: Vec<_> = own.iter().map(|c| (c.fixed.offset, c.fixed.orig_len)).collect();
        assert_eq!(offsets, [(0, 5), (5, 6)], "{direction:?}: {chunks:?}");
        assert!(own.iter().all(|c| c.fixed.sock.offset_kind == OffsetKind::Counter as u8));
        let payload: Vec<_> = own.iter().map(|c| c.payload.as_slice()).collect();
        if is_by_registers {
            assert!(own.iter().all(|c| c.payload.is_empty() && c.fixed.missing == Missing::Ulp as u8));
        } else {
            assert_eq!(payload, [&b"first"[..], b"second"]);
        }
    }
}

/// `struct tls12_crypto_info_aes_gcm_128` of linux/tls.h, with a key of the test's own.
fn tls_key() -> [u8; 40] {
    const TLS_1_2: u16 = 0x0303;
    const AES_GCM_128: u16 = 51;
    let mut info = [7; 40];
    info[..2].copy_from_slice(&TLS_1_2.to_ne_bytes());
    info[2..4].copy_from_slice(&AES_GCM_128.to_ne_bytes());
    info[32..].fill(0); // the record's number
    info
}

fn set_option(fd: RawFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let length = u32::try_from(value.len()).expect("small");
    // SAFETY: the kernel reads `length` bytes of `value`.
    let failed = unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), length) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One direction, client to server, is encrypted by the kernel.
fn encrypt(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    const TCP_ULP: i32 = 31;
    const SOL_TLS: i32 = 282;
    const TLS_TX: i32 = 1;
    const TLS_RX: i32 = 2;
    for stream in [client, server] {
        set_option(stream.as_raw_fd(), libc::SOL_TCP, TCP_ULP, b"tls")?;
    }
    set_option(client.as_raw_fd(), SOL_TLS, TLS_TX, &tls_key())?;
    set_option(server.as_raw_fd(), SOL_TLS, TLS_RX, &tls_key())
}

#[test]
fn ktls_counts_plaintext_itself() {
    let Some(mut probes) = Probes::start() else { return };
    let (mut client, mut server) = pair("127.0.0.1");
    if let Err(error) = encrypt(&client, &server) {
        println!("skipped: ktls_counts_plaintext_itself: this kernel has no kTLS: {error}");
        return;
    }
    for part in [&b"first"[..], b"second"] {
        client.write_all(part).expect("written");
        let mut read = vec![0; part.len()];
        server.read_exact(&mut read).expect("read");
        assert_eq!(read, part);
    }
    let is_by_registers = probes.is_by_registers();
    assert_counted(&probes.chunks(), Source::Ktls, is_by_registers);
}
