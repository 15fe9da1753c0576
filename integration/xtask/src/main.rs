//! Chores of the house: `cargo xtask <what>`.

mod bench;
mod deploy;
mod matrix;
mod pages;
mod vm;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use pages::{Page, pages};
use std::{fs, path::PathBuf, process::ExitCode};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Chores of the house")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Write the pages of docs/ that are made from the programs themselves
    Gen {
        /// Write nothing, fail if a page is stale
        #[arg(long)]
        check: bool,
    },
    /// Run a command on another kernel, in a QEMU guest (as root): cargo xtask vm --kernel 6.12 -- command
    Vm(vm::Vm),
    /// Measure what the agent costs: cargo xtask bench app
    Bench(bench::Bench),
    /// Run the tests that depend on the kernel on every kernel that is promised, in QEMU guests (as root)
    Matrix(matrix::Matrix),
    /// Do what deploy/README.md says, in a QEMU guest with systemd, and check what comes of it (as root)
    Deploy(deploy::Deploy),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().chore {
        Chore::Gen { check: true } => check(),
        Chore::Gen { check: false } => pages().iter().try_for_each(write),
        Chore::Bench(bench) => bench::run(&bench),
        Chore::Deploy(deploy) => deploy::run(&deploy),
        Chore::Matrix(matrix) => matrix::run(&matrix),
        Chore::Vm(vm) => return exit_code(vm::run(&vm)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The guest's exit code is ours.
fn exit_code(outcome: anyhow::Result<u8>) -> ExitCode {
    outcome.map(ExitCode::from).unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::from(vm::DIED)
    })
}

fn check() -> anyhow::Result<()> {
    let stale: Vec<&str> = pages().iter().filter(|page| !is_fresh(page)).map(|page| page.path).collect();
    if !stale.is_empty() {
        bail!("stale: {}; run `cargo xtask gen` and commit what it wrote", stale.join(", "));
    }
    Ok(())
}

fn write(page: &Page) -> anyhow::Result<()> {
    fs::write(place(page), &page.text).with_context(|| format!("writing {}", page.path))
}

fn is_fresh(page: &Page) -> bool {
    fs::read_to_string(place(page)).is_ok_and(|text| text == page.text)
}

fn place(page: &Page) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(page.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_pages_are_up_to_date() {
        check().expect("fresh pages");
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
