//! Loads and attaches every probe family, and asks them over loopback whether they see what they should.

use crate::kernel::{KernelError, MappedKernel, boottime_ns};
use crate::server::kernel::Kernel;
use ratatosk_abi::{ChunkRecord, RecordKind, Records, TargetState};
use ratatosk_bpf::{LoadOptions, SharedMaps, probes};
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
};

/// Types of the running kernel: CO-RE finds its fields by them.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Why no probe is at work.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel was built without `CONFIG_DEBUG_INFO_BTF`.
    #[error("{KERNEL_BTF} is missing: this kernel has no BTF; boot one built with CONFIG_DEBUG_INFO_BTF=y")]
    NoBtf,
    /// A family could not be loaded.
    #[error(
        "loading the probes of family {family}: {source} (tier socket needs Linux 6.3 or newer on x86-64; RATATOSK_LOG=debug shows the verifier's words)"
    )]
    Load {
        /// Which.
        family: &'static str,
        /// What libbpf said.
        source: libbpf_rs::Error,
    },
    /// A family could not be attached.
    #[error("attaching the probes of family {family}: {source}")]
    Attach {
        /// Which.
        family: &'static str,
        /// What libbpf said.
        source: libbpf_rs::Error,
    },
    /// The shared memory could not be set up.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The test connection failed.
    #[error("self-test over loopback: {0}")]
    Loopback(io::Error),
    /// The test connection was not seen as it was.
    #[error(
        "self-test over loopback: {seen} of {calls} calls were seen rightly, tier socket does not work here; see docs/architecture.md"
    )]
    SelfTest {
        /// Calls made.
        calls: usize,
        /// Records with the right bytes.
        seen: usize,
    },
}

/// Probes at work. Dropping it stops them.
#[derive(Debug)]
pub struct Attached {
    /// Every family, loaded and attached.
    pub families: Vec<Box<dyn probes::Loaded>>,
    /// What the probes share, mapped.
    pub kernel: MappedKernel,
}

/// Loads, maps and attaches.
///
/// # Errors
/// [`AttachError`].
pub fn attach(options: &LoadOptions) -> Result<Attached, AttachError> {
    if !Path::new(KERNEL_BTF).exists() {
        return Err(AttachError::NoBtf);
    }
    libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Debug, log_libbpf)));
    let mut maps = SharedMaps::default();
    let mut families = Vec::new();
    for family in probes::ALL {
        let loaded = family.load(options, &mut maps);
        families.push(loaded.map_err(|source| AttachError::Load { family: family.name(), source })?);
    }
    let kernel = MappedKernel::new(&maps, options)?;
    for (loaded, family) in families.iter_mut().zip(probes::ALL) {
        loaded.attach().map_err(|source| AttachError::Attach { family: family.name(), source })?;
    }
    Ok(Attached { families, kernel })
}

/// The verifier's words are for us, not for whoever starts the agent: an error says it in one line.
fn log_libbpf(_level: libbpf_rs::PrintLevel, text: String) {
    tracing::debug!(text = text.trim_end(), "libbpf");
}

/// Calls of the self-test, each way: enough to be no accident, few enough to cost nothing.
const TEST_CALLS: usize = 8;

/// Observes this process for a moment, lets bytes cross a loopback connection, and compares.
///
/// Gives the calls that were not seen (0 unless the kernel lost some and said so).
///
/// # Errors
/// [`AttachError::Loopback`], [`AttachError::SelfTest`].
pub fn self_test(kernel: &mut MappedKernel) -> Result<usize, AttachError> {
    let tgid = std::process::id();
    kernel.beat(boottime_ns());
    kernel.set_target(tgid, TargetState::Observed);
    let moved = cross_loopback().map_err(AttachError::Loopback);
    kernel.set_target(tgid, TargetState::Own);
    moved?;
    let mut seen = 0;
    kernel.drain(&mut |_| {}, &mut |bytes| seen += usize::from(is_test_record(bytes, tgid)));
    kernel.beat(0);
    let calls = 2 * TEST_CALLS;
    if seen == calls { Ok(calls - seen) } else { Err(AttachError::SelfTest { calls, seen }) }
}

fn payload(call: usize) -> [u8; 32] {
    let mut bytes = *b"ratatosk tests its own probes #_";
    if let Some(last) = bytes.last_mut() {
        *last = b'a' + u8::try_from(call % 26).unwrap_or_default();
    }
    bytes
}

fn cross_loopback() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    for call in 0..TEST_CALLS {
        client.write_all(&payload(call))?;
        server.read_exact(&mut [0; 32])?;
    }
    Ok(())
}

/// Whole, from us, and with the very bytes that crossed.
fn is_test_record(bytes: &[u8], tgid: u32) -> bool {
    let Some(Ok(record)) = Records::new(bytes).next() else { return false };
    let is_chunk = record.header.kind == RecordKind::Chunk as u16 && record.header.tgid == tgid;
    let whole =
        record.fixed::<ChunkRecord>().is_ok_and(|chunk| chunk.orig_len == 32 && chunk.captured_len == 32);
    is_chunk && whole && (0..TEST_CALLS).any(|call| record.payload() == payload(call))
}
