//! Compiles every probe family to a skeleton.

use libbpf_cargo::SkeletonBuilder;
use std::{env, path::PathBuf};

/// One folder each under `src/probes`.
const FAMILIES: [&str; 4] = ["inet", "inet_session", "process", "socket"];

fn main() -> anyhow::Result<()> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for family in FAMILIES {
        SkeletonBuilder::new()
            .source(format!("src/probes/{family}/{family}.bpf.c"))
            .clang_args([
                "-I",
                ".",
                "-I",
                "src/include",
                "-mcpu=v3",
                "-O2",
                "-Wall",
                "-Werror",
                "-Wno-unused-function",
            ])
            .build_and_generate(out.join(format!("{family}.skel.rs")))?;
    }
    for dir in ["abi", "src/include", "src/probes"] {
        println!("cargo:rerun-if-changed={dir}");
    }
    Ok(())
}
