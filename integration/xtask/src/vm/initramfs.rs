//! The first root file system: drivers for the shares, and a script that makes the machine's root the guest's.

use super::kernel::{Kernel, printed, succeed};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

const MODULES: [&str; 4] = ["virtio_pci", "virtio_console", "virtiofs", "overlay"];

/// Runs before the machine's root is there: only busybox and these modules.
const INIT: &str = r#"#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev /host /new /top
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do [ -f "$module" ] && $b insmod "$module"; done
for word in $($b cat /proc/cmdline); do case $word in xtask.now=*) $b date -s "@${word#*=}" >/dev/null ;; esac; done
give_up() { echo "xtask: $1"; $b poweroff -f; }
$b mount -t virtiofs -o ro root /host || give_up "no share of the root"
$b mount -t tmpfs -o size=75% top /top; $b mkdir -p /top/upper /top/work
$b mount -t overlay -o lowerdir=/host,upperdir=/top/upper,workdir=/top/work root /new || give_up "no overlay"
for folder in proc sys dev; do $b mkdir -p /new/$folder; $b mount --move /$folder /new/$folder; done
$b mkdir -p /new/run /new/dev/pts /new/dev/shm
$b mount -t tmpfs -o mode=755 run /new/run; $b mount -t tmpfs -o mode=1777 shm /new/dev/shm
$b mount -t devpts -o gid=5,mode=620 devpts /new/dev/pts
$b mkdir -p /new/run/xtask "/new/lib/modules/$($b uname -r)"; $b cp $b /new/run/busybox
$b mount -t virtiofs -o ro modules "/new/lib/modules/$($b uname -r)"
$b mount -t virtiofs control /new/run/xtask || give_up "no share of the command"
exec $b switch_root /new /bin/sh /run/xtask/first
"#;

/// Writes `initramfs` into the kernel's folder.
pub fn build(kernel: &Kernel) -> anyhow::Result<()> {
    let folder = kernel.folder.join("initramfs.d");
    fs::create_dir_all(folder.join("bin"))?;
    fs::create_dir_all(folder.join("modules"))?;
    fs::copy("/bin/busybox", folder.join("bin/busybox"))?;
    copy_modules(kernel, &folder.join("modules"))?;
    fs::write(folder.join("init"), INIT)?;
    fs::set_permissions(folder.join("init"), fs::Permissions::from_mode(0o755))?;
    let archive = fs::File::create(kernel.folder.join("initramfs"))?;
    let mut pack = Command::new("sh");
    pack.args(["-c", "find . | cpio -o -H newc --quiet"]).current_dir(&folder);
    succeed(pack.stdin(Stdio::null()).stdout(archive))
}

/// Every module with what it needs before it, numbered in the order of loading, unpacked: busybox reads no xz.
fn copy_modules(kernel: &Kernel, to: &Path) -> anyhow::Result<()> {
    let mut copied: Vec<String> = Vec::new();
    for module in MODULES {
        let mut show = Command::new("/sbin/modprobe");
        show.arg("-d").arg(&kernel.folder).arg("-S").arg(&kernel.version).args(["--show-depends", module]);
        // built into the kernel: modprobe says so, or knows nothing of it
        let listed = printed(show.stderr(Stdio::null())).unwrap_or_default();
        for path in String::from_utf8(listed)?.lines().filter_map(|line| line.strip_prefix("insmod ")) {
            let path = path.trim();
            if !copied.iter().any(|known| known == path) {
                let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
                let bytes = if name.ends_with(".xz") {
                    printed(Command::new("xz").args(["-dc", path]))?
                } else {
                    fs::read(path)?
                };
                fs::write(to.join(format!("{:02}-{}", copied.len(), name.trim_end_matches(".xz"))), bytes)?;
                copied.push(path.to_owned());
            }
        }
    }
    Ok(())
}
