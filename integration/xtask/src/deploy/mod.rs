//! `cargo xtask deploy`: what deploy/README.md tells an administrator, done in a guest with systemd.
//!
//! in   deploy/, the release binaries, and the checks beside this file
//! out  a line for each check, and `test result:` and `skipped: ` lines, which `scripts/test` adds up
//! ends with 1 if a check failed; where no guest can be had it is skipped

mod manifest;
mod pod;
mod seccomp;

use crate::{
    matrix::{self, release},
    vm::{self, Ended, Kernel, Vm},
};
use anyhow::{Context, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// What the guest runs, beside this file: the first reads the others.
const CHECKS: [&str; 3] = ["checks.sh", "units.sh", "pod.sh"];
/// Both sides with the bounds of their units, nginx, and what is written, which lies in memory too.
const MEMORY: &str = "1536M";
/// Seconds: four times what it takes on a busy machine.
const LIMIT: u64 = 600;

/// Options of `deploy`.
#[derive(Debug, clap::Args)]
pub struct Deploy {
    /// Kernel of the guest, as `cargo xtask vm` takes it
    #[arg(long, default_value = "6.12")]
    kernel: String,
}

/// Runs every check in one guest.
pub fn run(deploy: &Deploy) -> anyhow::Result<()> {
    if let Some(reason) = matrix::unable() {
        return skip(reason);
    }
    let (kernel, root) = match vm::fetched(&deploy.kernel).and_then(|kernel| Ok((kernel, vm::tree()?))) {
        Ok(guest) => guest,
        Err(error) => return skip(&format!("{error:#}")),
    };
    let stage = staged(&root).context("staging what the guest installs")?;
    println!("== deploy: systemd on Linux {}", kernel.version);
    judged(matrix::told(&guest(&kernel, root, stage.path()), &kernel)?.0)
}

fn skip(reason: &str) -> anyhow::Result<()> {
    println!("skipped: deploy: {}", reason.replace('\n', " "));
    Ok(())
}

fn judged(ended: Ended) -> anyhow::Result<()> {
    match ended {
        Ended::Code(0) => Ok(()),
        Ended::Code(code) => bail!("the checks ended with {code}"),
        Ended::TimedOut { console } => bail!("ended after {LIMIT} s; the console ends with:\n{console}"),
        Ended::Died { console, .. } => bail!("the guest died; its console ends with:\n{console}"),
    }
}

/// A folder laid out as the repository is: the README's commands are run in it.
fn staged(root: &Path) -> anyhow::Result<TempDir> {
    let stage = tempfile::tempdir()?;
    let binaries = release()?;
    let bin = stage.path().join("target/release");
    fs::create_dir_all(&bin)?;
    for name in ["ratatosk", "ratatosk-loader"] {
        fs::copy(binaries.get(name).with_context(|| format!("cargo built no {name}"))?, bin.join(name))?;
    }
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    vm::succeed(Command::new("cp").arg("-r").arg(deploy).arg(stage.path()))?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/deploy");
    for name in CHECKS {
        fs::copy(sources.join(name), stage.path().join(name))?;
    }
    let manifest = stage.path().join("deploy/kubernetes/ratatosk.yaml");
    pod::write(&manifest, &root.join(vm::SECCOMP_PROFILE), &stage.path().join("pod"))
        .context("making the pod")?;
    Ok(stage)
}

fn guest(kernel: &Kernel, root: PathBuf, stage: &Path) -> Vm {
    Vm {
        kernel: kernel.version.clone(),
        cpus: 2,
        memory: MEMORY.to_owned(),
        limit: LIMIT,
        share: vec![stage.to_owned()],
        root,
        systemd: true,
        append: String::new(),
        icount: false,
        verbose: false,
        command: vec!["bash".into(), stage.join("checks.sh").into()],
    }
}
