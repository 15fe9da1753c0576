//! docs/kernel-support.md, from the matrix and from what the families say of themselves.

use super::cells::{CELLS, Cell};
use ratatosk_bpf::probes::{self, Family};
use std::fmt::Write;

const INTRO: &str = "\
Ratatosk needs x86-64, BTF (`/sys/kernel/btf/vmlinux`) and Linux 6.1 or newer. Before 5.11 the loader says that the kernel is
too old, and ends with code 69. Between 5.11 and 6.0 nobody ran it: the self-test decides, as everywhere.

The version decides nothing, since distributions port features back. At its start the loader tries one tier after the other
and takes the first that passes a self-test over loopback; `ratatosk explain` tells which it is, and why not the others.
";

const CHOICE: &str = "\
## What is chosen

| the kernel | tried in this order |
|---|---|
| does not preempt | `socket`, `inet` |
| preempts, or may and does not tell, and keeps every return of a kprobe session (6.14 and later) | `inet_session`, `socket`, `inet` |
| preempts, and is older | `socket`, `inet`: calls that a preempted program misses are counted as `reentrancy` |

`socket` needs tracepoints that came with 6.3, so it fails on 6.1 and `inet` follows.
The reasons stand in [ADR 4](adr/0004-kprobe-sessions-where-the-kernel-preempts.md), the hooks of each tier in
[architecture.md](architecture.md#which-probes). `RATATOSK_TIER` forces one.
";

const RUN: &str = "\
`inet` and `inet_session` follow a call from its entry: one that already waits for bytes when they are attached, a thread in
`read` on an idle connection, is not seen. The request that ends the wait counts as `no_request` once it is answered, and the
next one on that connection is seen whole. `socket` sees it.

## What was run

`cargo xtask matrix` boots each of these in QEMU, without KVM, and `make test` ends with it. The kernels are Debian's cloud
kernels as they are today, unpacked below `target/kernels`. The machine that runs `make test` runs every other test on its own kernel.
A cell that can't run (not root, no QEMU, no mirror) counts as skipped and says why. `--kernel` and `--tier` choose cells; `cargo xtask vm`
runs any command on any of the kernels.
";

/// The page.
pub fn page(made: &str) -> String {
    let mut page = format!(
        "# Kernel support\n\n{made}\n{INTRO}\n{CHOICE}\n## What each lacks\n\n| tier | can't see |\n|---|---|\n"
    );
    for family in probes::TIERS {
        row(&mut page, [&format!("`{}`", family.name()), &lacks(family)]);
    }
    page += &format!("\n{RUN}\n| kernel | tier | runs | why |\n|---|---|---|---|\n");
    for cell in &CELLS {
        row(&mut page, [&cell.name(), &tier(cell), &runs(cell), cell.why]);
    }
    page
}

fn row<const N: usize>(page: &mut String, columns: [&str; N]) {
    // Nobody is left to tell if a string can't grow.
    let _ = writeln!(page, "| {} |", columns.join(" | "));
}

fn lacks(family: &dyn Family) -> String {
    family.lacks().join(", ")
}

fn tier(cell: &Cell) -> String {
    match (cell.tier, cell.forced) {
        (None, _) => "refused".to_owned(),
        (Some(tier), None) => format!("`{tier}`, chosen"),
        (Some(tier), Some(_)) => format!("`{tier}`, forced"),
    }
}

fn runs(cell: &Cell) -> String {
    cell.runs.iter().map(|run| format!("`{}`", run.binary)).collect::<Vec<_>>().join(", ")
}
