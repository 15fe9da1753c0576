//! A small Debian with systemd, to be the root of a guest.

use super::kernel::{install, mirror_of, succeed};
use anyhow::Context;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What an administrator's machine has, with something to observe, something to ask it by, and a container runtime.
const PACKAGES: &str = "systemd,systemd-sysv,passwd,nginx-light,curl,crun,libcap2-bin";
/// The default seccomp profile of podman and CRI-O: its package alone, without the networking that it depends on.
const PROFILE: &str = "golang-github-containers-common";
/// Where that is in the tree.
pub const SECCOMP_PROFILE: &str = "usr/share/containers/seccomp.json";
/// Debian packages that make it, with a file that proves each.
const NEEDS: [(&str, &str); 1] = [("mmdebstrap", "/usr/bin/mmdebstrap")];
/// Nobody reads them in a guest.
const LEFT_OUT: [&str; 3] = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];
/// Any: without one, each boot would be the first, with all that systemd does then.
const MACHINE_ID: &str = "5a61c2f0d6e34b07a3a1f8e4c0b59d27\n";
/// Of what the tree was made: another recipe makes another tree.
const STAMP: &str = "recipe";

/// The tree, from the cache or made anew: about a minute. Of this machine's own suite, so that what was built here runs there.
pub fn tree() -> anyhow::Result<PathBuf> {
    let suite = suite().context("reading /etc/os-release")?;
    let cache = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/guests");
    let folder = cache.join(&suite);
    let recipe = format!("{PACKAGES} {PROFILE} {LEFT_OUT:?}");
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|made| made == recipe) {
        return Ok(folder.join("root").canonicalize()?);
    }
    install(&NEEDS)?;
    eprintln!("vm: making a root of {suite}");
    let new = cache.join(format!("{suite}.{}", std::process::id()));
    fs::create_dir_all(&new)?;
    let made = make(&suite, &new.join("root")).and_then(|()| Ok(fs::write(new.join(STAMP), &recipe)?));
    if made.is_err() {
        drop(fs::remove_dir_all(&new));
    }
    made?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::rename(&new, &folder)?;
    Ok(folder.join("root").canonicalize()?)
}

/// `bookworm`.
fn suite() -> anyhow::Result<String> {
    let release = fs::read_to_string("/etc/os-release")?;
    let mut lines = release.lines();
    let name = lines.find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(str::to_owned).context("this machine's suite is not named: it needs Debian")
}

fn make(suite: &str, root: &Path) -> anyhow::Result<()> {
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--mode=root", "--format=directory", "--variant=essential"]);
    make.arg(format!("--include={PACKAGES}"));
    make.args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
    make.arg(format!(
        "--customize-hook=cd \"$1\" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq -o APT::Sandbox::User=root download {PROFILE} && \
         dpkg-deb -x {PROFILE}_*.deb . && rm {PROFILE}_*.deb"
    ));
    succeed(make.arg(suite).arg(root).arg(mirror_of(suite)?))?;
    fs::write(root.join("etc/machine-id"), MACHINE_ID)?;
    Ok(fs::write(root.join("etc/fstab"), "")?)
}
