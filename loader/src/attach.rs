//! Loads and attaches every probe family, and asks them over loopback whether they see what they should.

use crate::kernel::{KernelError, MappedKernel, boottime_ns, preemption::may_preempt};
use crate::policy::{Policy, Rule};
use crate::server::kernel::Kernel;
use ratatosk_abi::{ChunkRecord, RecordKind, Records, TargetState};
use ratatosk_bpf::{
    LoadOptions, SharedMaps,
    probes::{self, Family as _, inet_session::InetSession},
};
use ratatosk_proto::v1::{Tier, TierState};
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::Path,
};

/// Types of the running kernel: CO-RE finds its fields by them.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Connections that kprobe programs remember, 100 bytes each. Forgetting one widens one copy, and its close is not told.
const CONNS_BY_COOKIE: u32 = 16_384;

/// Why no probe is at work.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel was built without `CONFIG_DEBUG_INFO_BTF`.
    #[error("{KERNEL_BTF} is missing: this kernel has no BTF; boot one built with CONFIG_DEBUG_INFO_BTF=y")]
    NoBtf,
    /// A family that is always needed did not start.
    #[error("probes of family {family}: {reason}{hint}; docs/kernel-support.md says what works where")]
    Family {
        /// Which.
        family: &'static str,
        /// Why.
        reason: TierError,
        /// More about the kernel, or nothing.
        hint: String,
    },
    /// No family that carries payload works here.
    #[error("no tier works on this kernel: {0}; RATATOSK_LOG=debug shows the verifier's words")]
    NoTier(String),
    /// A tier that does not exist was asked for.
    #[error("RATATOSK_TIER={0:?} is no tier: give one of {known}", known = tier_names())]
    UnknownTier(String),
    /// The tier that was asked for may not be used.
    #[error("RATATOSK_TIER={0:?} is not permitted by the policy, which says {1}")]
    DeniedTier(String, String),
    /// The shared memory could not be set up.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Why one family is not at work.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    /// It could not be loaded.
    #[error("loading: {0}")]
    Load(libbpf_rs::Error),
    /// It could not be attached.
    #[error("attaching: {0}")]
    Attach(libbpf_rs::Error),
    /// The test connection failed.
    #[error("self-test over loopback: {0}")]
    Loopback(io::Error),
    /// The test connection was not seen as it was.
    #[error("self-test over loopback: {seen} of {calls} calls were seen rightly")]
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
    /// What is at work.
    pub probes: Probes,
    /// What the probes share, mapped.
    pub kernel: MappedKernel,
    /// What became of every family that could carry payload, for people.
    pub tiers: Vec<Tier>,
    /// Records that self-tests took out of the rings.
    pub tested: u64,
}

/// Families that are loaded and attached.
#[derive(Debug)]
pub struct Probes {
    /// Those that are always at work.
    pub always: Vec<Box<dyn probes::Loaded>>,
    /// The family that carries payload.
    pub tier: &'static dyn probes::Family,
    /// That family's programs.
    pub carrier: Box<dyn probes::Loaded>,
}

/// Calls that programs missed since they were loaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Misses {
    /// Of the family that carries payload.
    pub calls: u64,
    /// Of the families that are always at work.
    pub events: u64,
}

/// Loads, maps and attaches, and takes the first permitted tier that passes its self-test; or `forced`, or nothing.
///
/// # Errors
/// [`AttachError`].
pub fn attach(options: &LoadOptions, forced: Option<&str>, policy: &Policy) -> Result<Attached, AttachError> {
    if !Path::new(KERNEL_BTF).exists() {
        return Err(AttachError::NoBtf);
    }
    libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Debug, log_libbpf)));
    let tiers = tiers(forced, policy)?;
    let options = &with_connections(options, &tiers);
    let mut maps = SharedMaps::default();
    let always = start_always(options, &mut maps)?;
    let mut kernel = MappedKernel::new(&maps, options)?;
    let (mut reasons, mut tested) = (Vec::new(), 0);
    for tier in tiers.iter().copied() {
        let started = start(tier, options, &mut maps);
        match started.and_then(|loaded| self_test(&mut kernel, &mut tested).map(|()| loaded)) {
            Ok(carrier) => {
                let tiers = report(tier.name(), &reasons, &tiers, forced, policy);
                return Ok(Attached { probes: Probes { always, tier, carrier }, kernel, tiers, tested });
            }
            Err(reason) => reasons.push((tier.name(), reason.to_string())),
        }
    }
    let reasons: Vec<_> = reasons.into_iter().map(|(tier, reason)| format!("{tier}: {reason}")).collect();
    Err(AttachError::NoTier(reasons.join("; ")))
}

fn start_always(
    options: &LoadOptions,
    maps: &mut SharedMaps,
) -> Result<Vec<Box<dyn probes::Loaded>>, AttachError> {
    let start_one = |family: &'static dyn probes::Family| {
        let failed = |reason| AttachError::Family { family: family.name(), hint: hint(&reason), reason };
        start(family, options, maps).map_err(failed)
    };
    probes::ALWAYS.into_iter().map(start_one).collect()
}

type Tiers = Vec<&'static dyn probes::Family>;

/// Why [`preferred`] leaves kprobe sessions out.
const NO_SESSIONS: &str = "it is of use only where the kernel preempts, and keeps every return of a session";

/// Every tier with what became of it, once `chosen` of `tried` is at work.
fn report(
    chosen: &str,
    failed: &[(&str, String)],
    tried: &Tiers,
    forced: Option<&str>,
    policy: &Policy,
) -> Vec<Tier> {
    let not_tried = |name: &str| match forced {
        _ if !policy.permits_family(name) => "the policy does not permit it".to_owned(),
        Some(forced) => format!("RATATOSK_TIER={forced} was set"),
        None if tried.iter().any(|tier| tier.name() == name) => {
            format!("{chosen} is better here and is at work")
        }
        None => NO_SESSIONS.to_owned(),
    };
    let judged = |tier: &&dyn probes::Family| {
        let failure = failed.iter().find(|(name, _)| *name == tier.name());
        let (state, reason) = match failure {
            Some((_, reason)) => (TierState::Failed, reason.clone()),
            None if tier.name() == chosen => (TierState::AtWork, String::new()),
            None => (TierState::NotTried, not_tried(tier.name())),
        };
        let lacks = tier.lacks().iter().map(|what| (*what).to_owned()).collect();
        Tier { name: tier.name().to_owned(), state: state.into(), reason, lacks }
    };
    probes::TIERS.iter().map(judged).collect()
}

/// In the order in which they are tried.
fn tiers(forced: Option<&str>, policy: &Policy) -> Result<Tiers, AttachError> {
    let mut tiers = asked(forced)?;
    tiers.retain(|tier| policy.permits_family(tier.name()));
    if tiers.is_empty() {
        let (name, rule) = (forced.unwrap_or_default(), policy.rule(Rule::Families));
        return Err(AttachError::DeniedTier(name.to_owned(), rule.unwrap_or_default()));
    }
    Ok(tiers)
}

fn asked(forced: Option<&str>) -> Result<Tiers, AttachError> {
    let Some(name) = forced else { return Ok(preferred(may_preempt(), InetSession::keeps_every_return())) };
    let forced = probes::TIERS.into_iter().find(|tier| tier.name() == name);
    forced.map(|tier| vec![tier]).ok_or_else(|| AttachError::UnknownTier(name.to_owned()))
}

/// Kprobe sessions cost more than the others, so they come first only where the others would miss calls, and are left out
/// where they themselves would.
fn preferred(preempts: bool, sessions_keep_every_return: bool) -> Tiers {
    let (mut sessions, others): (Tiers, Tiers) =
        probes::TIERS.into_iter().partition(|tier| tier.name() == InetSession.name());
    sessions.retain(|_| preempts && sessions_keep_every_return);
    sessions.into_iter().chain(others).collect()
}

/// The table of connections by cookie takes memory only where it is used.
fn with_connections(options: &LoadOptions, tiers: &Tiers) -> LoadOptions {
    let is_used = tiers.iter().any(|tier| tier.name() == InetSession.name());
    LoadOptions { conns_by_cookie: if is_used { CONNS_BY_COOKIE } else { 0 }, ..options.clone() }
}

/// Tracing programs find the socket of a file, and keep state by socket, from this Linux on.
const OLDEST: (u32, u32) = (5, 11);

/// The capabilities were looked at before, so somebody else refuses.
const REFUSED: &str = ": the capabilities are there, so a seccomp profile, a security module or kernel lockdown refuses \
                       bpf(2). Default profiles of container runtimes may want CAP_SYS_ADMIN for it, not CAP_BPF";

/// What an error number does not say.
fn hint(reason: &TierError) -> String {
    let is_refused =
        matches!(reason, TierError::Load(error) if error.kind() == libbpf_rs::ErrorKind::PermissionDenied);
    let age = age_hint();
    if age.is_empty() && is_refused { REFUSED.to_owned() } else { age }
}

/// The verifier refuses an old kernel's missing helper with no more than EINVAL: the version tells people what that means. It
/// decides nothing, since distributions port such things back.
fn age_hint() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (release, (major, minor)) = (release.trim(), OLDEST);
    match version(release) {
        Some(known) if known < OLDEST => {
            format!(": this is Linux {release}, and the probes need {major}.{minor} or newer")
        }
        _ => String::new(),
    }
}

/// Major and minor of a release, as `6.1.0-40-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn tier_names() -> String {
    probes::TIERS.map(probes::Family::name).join(", ")
}

fn start(
    family: &dyn probes::Family,
    options: &LoadOptions,
    maps: &mut SharedMaps,
) -> Result<Box<dyn probes::Loaded>, TierError> {
    let mut loaded = family.load(options, maps).map_err(TierError::Load)?;
    loaded.attach().map_err(TierError::Attach)?;
    Ok(loaded)
}

impl Probes {
    /// What was missed; `None` if the kernel does not tell.
    #[must_use]
    pub fn misses(&self) -> Option<Misses> {
        let events = self.always.iter().map(|family| misses(family.as_ref())).sum::<Option<u64>>()?;
        Some(Misses { calls: misses(self.carrier.as_ref())?, events })
    }

    /// Iterators over what exists already.
    pub fn iterators(&self) -> impl Iterator<Item = &libbpf_rs::Link> {
        self.always.iter().chain([&self.carrier]).flat_map(|family| family.iterators())
    }
}

fn misses(family: &dyn probes::Loaded) -> Option<u64> {
    family.programs().into_iter().map(|program| recursion_misses(program.as_raw_fd())).sum()
}

/// `recursion_misses` of a program, from the fdinfo of its fd: that needs no bpf(2).
fn recursion_misses(program: i32) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{program}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

/// The verifier's words are for us, not for whoever starts the agent: an error says it in one line.
fn log_libbpf(_level: libbpf_rs::PrintLevel, text: String) {
    tracing::debug!(text = text.trim_end(), "libbpf");
}

/// Calls of the self-test, each way: enough to be no accident, few enough to cost nothing.
const TEST_CALLS: usize = 8;

/// Observes this process for a moment, lets bytes cross a loopback connection, and compares.
///
/// # Errors
/// [`TierError::Loopback`], [`TierError::SelfTest`]: a call that was not seen, counted as lost or not, fails it.
fn self_test(kernel: &mut MappedKernel, tested: &mut u64) -> Result<(), TierError> {
    let tgid = std::process::id();
    kernel.beat(boottime_ns());
    kernel.set_target(tgid, TargetState::Observed);
    let moved = cross_loopback().map_err(TierError::Loopback);
    kernel.set_target(tgid, TargetState::Own);
    moved?;
    let (mut seen, mut control, mut data) = (0, 0, 0);
    kernel.drain(&mut |_| control += 1, &mut |bytes| {
        data += 1;
        seen += usize::from(is_test_record(bytes, tgid));
    });
    *tested += control + data;
    kernel.beat(0);
    let calls = 2 * TEST_CALLS;
    if seen == calls { Ok(()) } else { Err(TierError::SelfTest { calls, seen }) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn states(
        chosen: &str,
        failed: &[(&str, String)],
        tried: &Tiers,
        forced: Option<&str>,
    ) -> Vec<(String, TierState, String)> {
        let tiers = report(chosen, failed, tried, forced, &Policy::default()).into_iter();
        tiers.map(|tier| (tier.name.clone(), tier.state(), tier.reason)).collect()
    }

    #[test]
    fn a_release_has_a_major_and_a_minor() {
        assert_eq!(version("5.10.0-46-cloud-amd64"), Some((5, 10)));
        assert_eq!(version("7.2-rc1"), Some((7, 2)));
        assert_eq!((version(""), version("unknown")), (None, None));
    }

    #[test]
    fn every_tier_says_why_it_is_not_at_work() {
        let [best, second, session] = probes::TIERS.map(probes::Family::name);
        let told = |name: &str, state, reason: &str| (name.to_owned(), state, reason.to_owned());
        let (plain, all) = (preferred(false, true), preferred(true, true));
        let better = |chosen: &str| format!("{chosen} is better here and is at work");
        assert_eq!(
            states(best, &[], &plain, None),
            [
                told(best, TierState::AtWork, ""),
                told(second, TierState::NotTried, &better(best)),
                told(session, TierState::NotTried, NO_SESSIONS),
            ]
        );
        assert_eq!(
            states(second, &[(best, "loading: no".to_owned())], &plain, None),
            [
                told(best, TierState::Failed, "loading: no"),
                told(second, TierState::AtWork, ""),
                told(session, TierState::NotTried, NO_SESSIONS),
            ]
        );
        let forced = format!("RATATOSK_TIER={session} was set");
        for (tried, forced_by, reason) in [(all, None, better(session)), (plain, Some(session), forced)] {
            assert_eq!(
                states(session, &[], &tried, forced_by),
                [
                    told(best, TierState::NotTried, &reason),
                    told(second, TierState::NotTried, &reason),
                    told(session, TierState::AtWork, ""),
                ]
            );
        }
        let policy = Policy { families: Some(vec![second.to_owned()]), ..Policy::default() };
        let tried = probes::TIERS.into_iter().filter(|tier| tier.name() == second).collect();
        let report = report(second, &[], &tried, None, &policy);
        let reasons: Vec<&str> = report.iter().map(|tier| tier.reason.as_str()).collect();
        assert_eq!(reasons, ["the policy does not permit it", "", "the policy does not permit it"]);
    }
}
