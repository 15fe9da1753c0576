//! `cargo xtask matrix`: the tests that depend on the kernel, on every kernel that is promised.
//!
//! in   [`CELLS`](cells::CELLS)
//! out  what the tests print, and a table; `test result:` and `skipped: ` lines are what `scripts/test` adds up
//! ends with 1 if a test or a claim failed, else with 0; a cell that can't run is skipped

mod binaries;
mod cells;
mod page;
mod verdict;

use crate::vm::{self, Ended, Kernel, Output, Vm};
use anyhow::{Context, bail};
use binaries::Binaries;
pub use binaries::release;
use cells::{CELLS, Cell};
pub use page::page;
use std::{
    ffi::OsString,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use verdict::{Counts, complaints, counts};

/// The fidelity test's agent, nginx and rings of 16 MiB need 1 GiB, and what they write lies in memory too.
const MEMORY: &str = "3G";
/// A guest that dies at its boot is the emulator's fault, mostly; twice is not.
const BOOTS: usize = 2;

/// Options of `matrix`.
#[derive(Debug, clap::Args)]
pub struct Matrix {
    /// Only cells of this kernel
    #[arg(long)]
    kernel: Option<String>,
    /// Only cells where this tier is at work; `refused` for those where none is
    #[arg(long)]
    tier: Option<String>,
}

/// A cell with what became of it.
struct Outcome {
    cell: &'static Cell,
    counts: Counts,
    seconds: u64,
}

/// Everything that a guest printed, while it is also handed on.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

/// One stream of a guest.
struct Tee<W> {
    heard: Heard,
    to: W,
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        let bytes = bytes.get(..written).unwrap_or_default();
        self.heard.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Heard {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// Runs every cell that `matrix` chooses.
pub fn run(matrix: &Matrix) -> anyhow::Result<()> {
    let cells: Vec<&Cell> = CELLS.iter().filter(|cell| is_chosen(matrix, cell)).collect();
    if cells.is_empty() {
        let known: Vec<_> =
            CELLS.iter().map(|cell| format!("{} {}", cell.name(), cell.tier_name())).collect();
        bail!("no such cell: there are {}", known.join(", "));
    }
    let outcomes = match unable() {
        Some(reason) => cells.into_iter().map(|cell| skipped(cell, reason)).collect(),
        None => run_all(&cells)?,
    };
    table(&outcomes);
    let failed: usize = outcomes.iter().map(|outcome| outcome.counts.failed).sum();
    if failed > 0 {
        bail!("{failed} failed");
    }
    Ok(())
}

fn is_chosen(matrix: &Matrix, cell: &Cell) -> bool {
    matrix.kernel.as_ref().is_none_or(|kernel| kernel == cell.kernel)
        && matrix.tier.as_ref().is_none_or(|tier| tier == cell.tier_name())
}

/// Why no guest can run on this machine.
pub fn unable() -> Option<&'static str> {
    if std::env::consts::ARCH != "x86_64" {
        Some("the guests are x86-64")
    } else if !nix::unistd::geteuid().is_root() {
        Some("sharing this machine's files with a guest needs root")
    } else {
        None
    }
}

fn run_all(cells: &[&'static Cell]) -> anyhow::Result<Vec<Outcome>> {
    let binaries = binaries::built().context("building what the guests run")?;
    let run = |cell: &&'static Cell| match vm::fetched(cell.kernel) {
        Ok(kernel) => run_cell(cell, &kernel, &binaries),
        Err(error) => Ok(skipped(cell, &format!("{error:#}"))),
    };
    cells.iter().map(run).collect()
}

fn skipped(cell: &'static Cell, reason: &str) -> Outcome {
    println!("skipped: matrix {}: {}", cell.name(), reason.replace('\n', " "));
    Outcome { cell, counts: Counts { skipped: 1, ..Counts::default() }, seconds: 0 }
}

/// The tests of a guest count, and one more: that the cell as a whole is as it must be.
fn run_cell(cell: &'static Cell, kernel: &Kernel, binaries: &Binaries) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    println!("== matrix {}: Linux {}, {}", cell.name(), kernel.version, cell.tier_name());
    let vm = guest(cell, binaries)?;
    let (ended, printed) = told(&vm, kernel)?;
    let complaints = complaints(cell, &ended, &printed);
    for complaint in &complaints {
        println!("matrix {}: {complaint}", cell.name());
    }
    let failed = usize::from(!complaints.is_empty());
    let (verdict, passed) = if failed == 0 { ("ok", 1) } else { ("FAILED", 0) };
    println!("test matrix {} {} ... {verdict}", cell.name(), cell.tier_name());
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    let mut counts = counts(&printed);
    counts += Counts { passed, failed, skipped: 0 };
    Ok(Outcome { cell, counts, seconds: started.elapsed().as_secs() })
}

/// How a guest ended, and all that it printed. It is tried once more if it did not come up.
pub fn told(vm: &Vm, kernel: &Kernel) -> anyhow::Result<(Ended, String)> {
    patiently(|| boot(vm, kernel))
}

fn patiently(mut boot: impl FnMut() -> anyhow::Result<(Ended, String)>) -> anyhow::Result<(Ended, String)> {
    for _ in 1..BOOTS {
        match boot()? {
            (Ended::Died { has_booted: false, console }, _) => {
                println!(
                    "matrix: the guest did not come up, trying again; its console ends with:\n{console}"
                );
            }
            ended => return Ok(ended),
        }
    }
    boot()
}

/// How the guest ended, and all that it printed.
fn boot(vm: &Vm, kernel: &Kernel) -> anyhow::Result<(Ended, String)> {
    let heard = Heard::default();
    let output = Output {
        stdout: Box::new(Tee { heard: heard.clone(), to: io::stdout() }),
        stderr: Box::new(Tee { heard: heard.clone(), to: io::stderr() }),
    };
    let ended = vm::boot(vm, kernel, output)?;
    Ok((ended, heard.text()))
}

fn guest(cell: &Cell, binaries: &Binaries) -> anyhow::Result<Vm> {
    Ok(Vm {
        kernel: cell.kernel.to_owned(),
        cpus: 2,
        memory: MEMORY.to_owned(),
        limit: cell.limit,
        share: Vec::new(),
        root: "/".into(),
        systemd: false,
        append: cell.append.to_owned(),
        icount: false,
        verbose: false,
        command: command(cell, binaries)?,
    })
}

/// One program after the other; the exit code is the last one that is not 0.
fn command(cell: &Cell, binaries: &Binaries) -> anyhow::Result<Vec<OsString>> {
    let tier =
        cell.forced.map_or("unset RATATOSK_TIER".to_owned(), |tier| format!("export RATATOSK_TIER={tier}"));
    let (mut script, mut paths) = (format!("{tier}; code=0; "), Vec::new());
    for run in cell.runs {
        let path = binaries.get(run.binary).with_context(|| format!("cargo built no {}", run.binary))?;
        paths.push(path.clone().into_os_string());
        let of_tests = if run.binary == cells::LOADER { "" } else { "--test-threads=1 --show-output" };
        script += &format!("\"$1\" {of_tests} {} || code=$?; shift; ", run.arguments.join(" "));
    }
    let shell = ["bash".into(), "-c".into(), (script + "exit $code").into(), "guest".into()];
    Ok(shell.into_iter().chain(paths).collect())
}

fn table(outcomes: &[Outcome]) {
    println!(
        "\n{:<20} {:<14} {:>6} {:>6} {:>7} {:>7}",
        "kernel", "tier", "passed", "failed", "skipped", "seconds"
    );
    for Outcome { cell, counts: Counts { passed, failed, skipped }, seconds } in outcomes {
        println!(
            "{:<20} {:<14} {passed:>6} {failed:>6} {skipped:>7} {seconds:>7}",
            cell.name(),
            cell.tier_name()
        );
    }
}

#[cfg(test)]
mod tests;
