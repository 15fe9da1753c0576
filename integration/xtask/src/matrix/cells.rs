//! What is run where, and why: the matrix itself.

/// One guest: a kernel, how it is started, and what runs in it.
#[derive(Debug)]
pub struct Cell {
    /// As `cargo xtask vm --kernel` takes it.
    pub kernel: &'static str,
    /// More of the kernel's command line.
    pub append: &'static str,
    /// Forces a tier (`RATATOSK_TIER`); none lets the loader choose.
    pub forced: Option<&'static str>,
    /// The tier that must be at work; none where the loader must refuse.
    pub tier: Option<&'static str>,
    /// In this order.
    pub runs: &'static [Run],
    /// What must be true of everything printed and of the exit code.
    pub claims: &'static [Claim],
    /// Seconds until the guest is ended: four times what it took on a busy machine.
    pub limit: u64,
    /// Why this cell exists.
    pub why: &'static str,
}

/// A program that runs in a guest.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Name of the test binary, or [`LOADER`].
    pub binary: &'static str,
    /// Words without spaces.
    pub arguments: &'static [&'static str],
}

/// Something that must be true of a cell beside its tests.
#[derive(Clone, Copy, Debug)]
pub enum Claim {
    /// Exit code of the guest, if it is not 0.
    Code(u8),
    /// Must be printed.
    Says(&'static str),
    /// Must not be printed.
    Never(&'static str),
}

/// The product itself, instead of a test binary.
pub const LOADER: &str = "ratatosk-loader";

const LOAD: Run = Run { binary: "load", arguments: &[] };
const PROBES: Run = Run { binary: "probes", arguments: &[] };
const CARRIERS: Run = Run { binary: "carriers", arguments: &[] };
/// Its other test costs as long again, and says more about sizes than about kernels.
const FIDELITY: Run = Run {
    binary: "fidelity",
    arguments: &["--exact", "twenty_thousand_requests_at_full_speed_equal_the_log"],
};
const EVERYTHING: &[Run] = &[LOAD, PROBES, CARRIERS, FIDELITY];
const PREEMPTED: Run = Run {
    binary: "carriers",
    arguments: &["--exact", "no_call_is_missed_uncounted_when_tasks_preempt_each_other"],
};
const STANDALONE: Run = Run { binary: LOADER, arguments: &["standalone"] };

/// Every cell.
pub const CELLS: [Cell; 5] = [
    Cell {
        kernel: "5.10",
        append: "",
        forced: None,
        tier: None,
        runs: &[STANDALONE],
        claims: &[Claim::Code(69), Claim::Says("this is Linux 5.10"), Claim::Says("need 5.11 or newer")],
        limit: 60,
        why: "too old: tracing programs keep no state by socket before 5.11. It must say so and end with code 69",
    },
    Cell {
        kernel: "6.1",
        append: "",
        forced: Some("inet"),
        tier: Some("inet"),
        runs: EVERYTHING,
        claims: &[],
        limit: 600,
        why: "the oldest that is promised (Debian 12). The tracepoints of `socket` came with 6.3; `sendfile` is `inet_sendpage`'s",
    },
    Cell {
        kernel: "6.12",
        append: "",
        forced: Some("inet"),
        tier: Some("inet"),
        runs: EVERYTHING,
        claims: &[],
        limit: 600,
        why: "Debian 13's kernel. It would choose `socket`, which the machine that runs the tests shows by itself",
    },
    Cell {
        kernel: "6.12",
        append: "preempt=full",
        forced: Some("inet"),
        tier: Some("inet"),
        runs: &[PREEMPTED],
        claims: &[Claim::Never(" 0 missed")],
        limit: 180,
        why: "tasks preempt each other within a program: the kernel skips calls, and each of them must be counted",
    },
    Cell {
        kernel: "sid",
        append: "",
        forced: None,
        tier: Some("inet_session"),
        runs: EVERYTHING,
        claims: &[],
        limit: 600,
        why: "the newest. It preempts lazily, so the loader itself must choose the tier that misses nothing",
    },
];

impl Cell {
    /// For people: `6.12 preempt=full`.
    pub fn name(&self) -> String {
        format!("{} {}", self.kernel, self.append).trim_end().to_owned()
    }

    /// The tier, or what stands for none.
    pub fn tier_name(&self) -> &'static str {
        self.tier.unwrap_or("refused")
    }
}
