//! One guest, from boot to power-off.

use super::{DIED, TIMED_OUT, Vm, kernel::Kernel};
use anyhow::{Context, ensure};
use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// QEMU's own file sharing daemon, in Debian 12's package.
const VIRTIOFSD: &str = "/usr/lib/qemu/virtiofsd";
/// Exit code of a guest is written here, within the share of the command.
const CODE: &str = "code";

/// First process of the guest: the file systems that tests want, then the command.
const FIRST: &str = r#"b=/run/busybox
for pair in cgroup2:/sys/fs/cgroup bpf:/sys/fs/bpf tracefs:/sys/kernel/tracing debugfs:/sys/kernel/debug securityfs:/sys/kernel/security; do
	$b mount -t ${pair%%:*} ${pair%%:*} ${pair#*:} 2>/dev/null
done
$b ip link set lo up; $b hostname guest; ulimit -l unlimited
n=0; while read -r share; do $b mkdir -p "$share"; $b mount -t virtiofs "share$n" "$share"; n=$((n + 1)); done </run/xtask/shares
for port in /sys/class/virtio-ports/*; do
	case $(cat $port/name) in stdout) out=/dev/${port##*/} ;; stderr) err=/dev/${port##*/} ;; esac
done
$b setsid /bin/bash /run/xtask/command </dev/null >$out 2>$err
echo $? >/run/xtask/code; sync; $b poweroff -f
"#;

/// What a guest leaves on this machine, removed with it: helpers and a folder.
struct Traces {
    folder: PathBuf,
    helpers: Vec<Child>,
}

impl Drop for Traces {
    fn drop(&mut self) {
        for helper in &mut self.helpers {
            drop(helper.kill());
            drop(helper.wait());
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Boots, runs the command, gives its exit code.
pub fn run(vm: &Vm, kernel: &Kernel, limit: Duration) -> anyhow::Result<u8> {
    let folder = std::env::temp_dir().join(format!("xtask-vm-{}", std::process::id()));
    fs::create_dir_all(folder.join("control"))?;
    let mut traces = Traces { folder, helpers: Vec::new() };
    write_control(vm, &traces.folder.join("control"))?;
    let mut qemu = qemu(vm, kernel, &traces.folder)?;
    share_all(vm, kernel, &mut traces, &mut qemu)?;
    let mut guest = qemu.spawn().context("starting qemu-system-x86_64")?;
    let printers = ["stdout", "stderr"].map(|name| print_pipe(name, &traces.folder));
    let is_over = wait(&mut guest, limit)?;
    for printer in printers {
        drop(printer.join());
    }
    if !is_over {
        eprintln!("vm: ended after {} s", limit.as_secs());
        return Ok(TIMED_OUT);
    }
    code(&traces.folder)
}

fn code(folder: &Path) -> anyhow::Result<u8> {
    let Ok(text) = fs::read_to_string(folder.join("control").join(CODE)) else {
        let console = fs::read_to_string(folder.join("console")).unwrap_or_default();
        let lines: Vec<&str> = console.lines().collect();
        eprintln!(
            "vm: the guest died; its console ends with:\n{}",
            lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
        );
        return Ok(DIED);
    };
    Ok(text.trim().parse()?)
}

fn wait(guest: &mut Child, limit: Duration) -> anyhow::Result<bool> {
    let deadline = Instant::now() + limit;
    while guest.try_wait()?.is_none() {
        if Instant::now() > deadline {
            guest.kill()?;
            guest.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

/// The command as a script, in the directory and with the variables that a build tool would want.
fn write_control(vm: &Vm, folder: &Path) -> anyhow::Result<()> {
    let mut script = Vec::new();
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["PATH", "HOME", "LANG"].contains(&name.as_str())
            || ["RUST_", "CARGO_", "RATATOSK_"].iter().any(|p| name.starts_with(p))
        {
            script.extend([b"export ", name.as_bytes(), b"=", &quoted(&value), b"\n"].concat());
        }
    }
    script.extend([b"cd ", quoted(std::env::current_dir()?.as_os_str()).as_slice(), b"\n"].concat());
    for word in &vm.command {
        script.extend([quoted(word).as_slice(), b" "].concat());
    }
    fs::write(folder.join("command"), script)?;
    fs::write(folder.join("first"), FIRST)?;
    let shares: Vec<u8> =
        vm.share.iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\n"].concat()).collect();
    Ok(fs::write(folder.join("shares"), shares)?)
}

fn quoted(word: &OsStr) -> Vec<u8> {
    let inner = word.as_bytes().split(|byte| *byte == b'\'').collect::<Vec<_>>().join(b"'\\''".as_slice());
    [b"'", inner.as_slice(), b"'"].concat()
}

fn qemu(vm: &Vm, kernel: &Kernel, folder: &Path) -> anyhow::Result<Command> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let log = if vm.verbose { "loglevel=7" } else { "quiet loglevel=4" };
    let line = format!("console=ttyS0 panic=-1 {log} random.trust_cpu=on xtask.now={now} {}", vm.append);
    let console = if vm.verbose {
        "file:/dev/stderr".to_owned()
    } else {
        format!("file:{}", folder.join("console").display())
    };
    let memory = format!("memory-backend-memfd,id=memory,size={},share=on", vm.memory);
    let cpus = if vm.icount { 1 } else { vm.cpus }.to_string();
    let mut qemu = Command::new("qemu-system-x86_64");
    // a string instruction counts once per turn: without these two, copies move words, not bytes
    let cpu = if vm.icount { "max,-erms,-fsrm" } else { "max" };
    qemu.args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-cpu", cpu]);
    qemu.args(["-machine", "q35,memory-backend=memory", "-object", &memory, "-m", &vm.memory, "-smp", &cpus]);
    // threads that translate at the same time as the kernel patches its text make it panic (seen with QEMU 7.2)
    qemu.args(["-accel", "tcg,thread=single"]);
    if vm.icount {
        qemu.args(["-icount", "shift=0,sleep=off"]);
    }
    qemu.arg("-kernel")
        .arg(kernel.folder.join("vmlinux"))
        .arg("-initrd")
        .arg(kernel.folder.join("initramfs"));
    qemu.args(["-append", &line, "-serial", &console, "-device", "virtio-serial-pci"]);
    for name in ["stdout", "stderr"] {
        let pipe = folder.join(name);
        qemu.args(["-chardev", &format!("pipe,id={name},path={}", pipe.display())]);
        nix::unistd::mkfifo(&with_suffix(&pipe, "in"), nix::sys::stat::Mode::S_IRWXU)?;
        nix::unistd::mkfifo(&with_suffix(&pipe, "out"), nix::sys::stat::Mode::S_IRWXU)?;
        qemu.args(["-device", &format!("virtserialport,chardev={name},name={name}")]);
    }
    qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.join("qemu"))?);
    Ok(qemu)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    path.with_extension(suffix)
}

/// Hands on what the guest prints until its QEMU is gone.
fn print_pipe(name: &'static str, folder: &Path) -> thread::JoinHandle<()> {
    let pipe = with_suffix(&folder.join(name), "out");
    thread::spawn(move || {
        let Ok(mut pipe) = OpenOptions::new().read(true).open(pipe) else { return };
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            let bytes = buffer.get(..read).unwrap_or_default();
            let written = if name == "stdout" {
                write(&mut std::io::stdout(), bytes)
            } else {
                write(&mut std::io::stderr(), bytes)
            };
            if written.is_err() {
                return;
            }
        }
    })
}

fn write(to: &mut impl std::io::Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

fn share_all(vm: &Vm, kernel: &Kernel, traces: &mut Traces, qemu: &mut Command) -> anyhow::Result<()> {
    let control = traces.folder.join("control");
    share(traces, qemu, "root", Path::new("/"), false)?;
    share(traces, qemu, "modules", &kernel.modules(), false)?;
    share(traces, qemu, "control", &control, true)?;
    for (number, path) in vm.share.iter().enumerate() {
        share(traces, qemu, &format!("share{number}"), path, true)?;
    }
    Ok(())
}

/// Shares `path` as `tag`. Read-only: by a bind mount in a mount namespace of the daemon's own.
fn share(
    traces: &mut Traces,
    qemu: &mut Command,
    tag: &str,
    path: &Path,
    is_writable: bool,
) -> anyhow::Result<()> {
    let (place, socket) =
        (traces.folder.join(tag).with_extension("root"), traces.folder.join(tag).with_extension("socket"));
    fs::create_dir_all(&place)?;
    let remount = if is_writable { "" } else { "mount -o remount,ro,bind \"$2\" && " };
    let cache = if is_writable { "auto" } else { "always" };
    let script = format!(
        "mount --bind \"$1\" \"$2\" && {remount}exec {VIRTIOFSD} --socket-path=\"$3\" -o source=\"$2\" -o sandbox=chroot \
         -o cache={cache} -o log_level=err -o xattr -f"
    );
    let mut daemon = Command::new("unshare");
    daemon
        .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .args([path, &place, &socket]);
    traces
        .helpers
        .push(daemon.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("starting unshare")?);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !socket.exists() {
        ensure!(Instant::now() < deadline, "{VIRTIOFSD} does not serve {}: it needs root", path.display());
        thread::sleep(Duration::from_millis(10));
    }
    qemu.args(["-chardev", &format!("socket,id={tag},path={}", socket.display())]);
    qemu.args(["-device", &format!("vhost-user-fs-pci,chardev={tag},tag={tag}")]);
    Ok(())
}
