//! One guest, from boot to power-off.

use super::{Ended, Output, Vm, interrupt::Interrupts, kernel::Kernel};
use anyhow::{Context, bail, ensure};
use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// QEMU's own file sharing daemon, in Debian 12's package.
pub const VIRTIOFSD: &str = "/usr/lib/qemu/virtiofsd";
/// A guest needs 3 s to its first process; one that needs as long as this hangs.
const BOOT: Duration = Duration::from_secs(90);
/// Lines of the console that tell why a guest died.
const CONSOLE_LINES: usize = 40;
/// Made by the guest's first process, within the share of the command.
const BOOTED: &str = "booted";
/// Exit code of a guest is written here, within the share of the command.
const CODE: &str = "code";

/// First process of a guest without systemd: the file systems that tests want, then the command.
const FIRST: &str = r#"b=/run/busybox
for pair in cgroup2:/sys/fs/cgroup bpf:/sys/fs/bpf tracefs:/sys/kernel/tracing debugfs:/sys/kernel/debug securityfs:/sys/kernel/security; do
	$b mount -t ${pair%%:*} ${pair%%:*} ${pair#*:} 2>/dev/null
done
$b ip link set lo up; $b hostname guest; ulimit -l unlimited
exec /bin/sh /run/xtask/second
"#;

/// First process of a guest with systemd, which mounts what it wants by itself.
const FIRST_SYSTEMD: &str = r#"b=/run/busybox
$b mkdir -p /run/systemd/system; $b cp /run/xtask/xtask.* /run/systemd/system/; $b hostname guest
exec /lib/systemd/systemd --unit=xtask.target --show-status=0
"#;
const TARGET: &str = "[Unit]\nRequires=basic.target\nAfter=basic.target\nWants=xtask.service\n";
const UNIT: &str = "[Unit]\nAfter=basic.target\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n\
                    LimitMEMLOCK=infinity\nExecStart=/bin/sh /run/xtask/second\n";

/// The command with its shares. systemd empties /tmp before it, so they are mounted no earlier.
const SECOND: &str = r#"b=/run/busybox
: >/run/xtask/booted
n=0; while read -r share; do $b mkdir -p "$share"; $b mount -t virtiofs "share$n" "$share"; n=$((n + 1)); done </run/xtask/shares
for port in /sys/class/virtio-ports/*; do
	case $(cat $port/name) in stdout) out=/dev/${port##*/} ;; stderr) err=/dev/${port##*/} ;; esac
done
$b setsid /bin/bash /run/xtask/command </dev/null >$out 2>$err
echo $? >/run/xtask/code; sync; $b poweroff -f
"#;

/// What a guest leaves on this machine, removed with it: helpers, then a folder. The folder is for root alone: the script in
/// it runs as root, and holds variables of this environment.
struct Traces {
    folder: TempDir,
    helpers: Vec<Child>,
}

impl Drop for Traces {
    fn drop(&mut self) {
        for helper in &mut self.helpers {
            drop(helper.kill());
            drop(helper.wait());
        }
    }
}

/// Boots, runs the command, hands on what it prints. An interrupt ends guest and helpers before this process.
pub fn run(vm: &Vm, kernel: &Kernel, output: Output) -> anyhow::Result<Ended> {
    // dropped last: when the guest is gone, what was held back may end us
    let interrupts = Interrupts::hold()?;
    let folder = tempfile::Builder::new().prefix("xtask-vm-").tempdir()?;
    let place = folder.path().to_owned();
    let mut traces = Traces { folder, helpers: Vec::new() };
    fs::create_dir(place.join("control"))?;
    write_control(vm, &place.join("control"))?;
    let mut qemu = qemu(vm, kernel, &place)?;
    share_all(vm, kernel, &mut traces, &mut qemu)?;
    let printers = [
        Printer::of(&place.join("stdout"), output.stdout)?,
        Printer::of(&place.join("stderr"), output.stderr)?,
    ];
    let mut guest = qemu.spawn().context("starting qemu-system-x86_64")?;
    let stopped = wait(&mut guest, &place, Duration::from_secs(vm.limit), &interrupts);
    drop(guest.kill());
    drop(guest.wait());
    printers.into_iter().for_each(Printer::finish);
    Ok(stopped?.unwrap_or_else(|| ended(&place)))
}

/// How a guest ended that powered itself off.
fn ended(folder: &Path) -> Ended {
    let code = fs::read_to_string(folder.join("control").join(CODE)).ok();
    match code.and_then(|text| text.trim().parse().ok()) {
        Some(code) => Ended::Code(code),
        None => Ended::Died { has_booted: has_booted(folder), console: console_tail(folder) },
    }
}

fn has_booted(folder: &Path) -> bool {
    folder.join("control").join(BOOTED).exists()
}

/// The end of what the kernel logged, and what QEMU itself said.
fn console_tail(folder: &Path) -> String {
    let read =
        |name: &str| String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap_or_default()).into_owned();
    let text = read("console") + &read("qemu");
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(CONSOLE_LINES)..).unwrap_or_default().join("\n")
}

/// Waits for its end. `Some` if it has to be ended.
fn wait(
    guest: &mut Child,
    folder: &Path,
    limit: Duration,
    interrupts: &Interrupts,
) -> anyhow::Result<Option<Ended>> {
    let started = Instant::now();
    while guest.try_wait()?.is_none() {
        if interrupts.came() {
            bail!("interrupted");
        }
        if started.elapsed() > BOOT && !has_booted(folder) {
            return Ok(Some(Ended::Died { has_booted: false, console: console_tail(folder) }));
        }
        if started.elapsed() > limit {
            return Ok(Some(Ended::TimedOut { console: console_tail(folder) }));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(None)
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
    if vm.root == Path::new("/") {
        script.extend([b"cd ", quoted(std::env::current_dir()?.as_os_str()).as_slice(), b"\n"].concat());
    }
    for word in &vm.command {
        script.extend([quoted(word).as_slice(), b" "].concat());
    }
    fs::write(folder.join("command"), script)?;
    fs::write(folder.join("first"), if vm.systemd { FIRST_SYSTEMD } else { FIRST })?;
    fs::write(folder.join("second"), SECOND)?;
    fs::write(folder.join("xtask.target"), TARGET)?;
    fs::write(folder.join("xtask.service"), UNIT)?;
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
    let mut qemu = mortal("qemu-system-x86_64");
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

/// A program that the kernel ends when this process is killed.
fn mortal(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    path.with_extension(suffix)
}

/// Hands on what the guest prints.
struct Printer {
    /// Without another writer, opening the pipe would wait for QEMU, for ever if it does not start.
    writer: File,
    thread: thread::JoinHandle<()>,
}

impl Printer {
    fn of(pipe: &Path, to: Box<dyn Write + Send>) -> anyhow::Result<Self> {
        let pipe = with_suffix(pipe, "out");
        let writer = OpenOptions::new().read(true).write(true).open(&pipe)?;
        let reader = File::open(&pipe)?;
        Ok(Self { writer, thread: thread::spawn(move || hand_on(reader, to)) })
    }

    /// Once QEMU is gone.
    fn finish(self) {
        drop(self.writer);
        drop(self.thread.join());
    }
}

fn hand_on(mut from: File, mut to: Box<dyn Write + Send>) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..read).unwrap_or_default();
        if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

fn share_all(vm: &Vm, kernel: &Kernel, traces: &mut Traces, qemu: &mut Command) -> anyhow::Result<()> {
    let control = traces.folder.path().join("control");
    share(traces, qemu, "root", &vm.root, false)?;
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
    let base = traces.folder.path().join(tag);
    let (place, socket) = (base.with_extension("root"), base.with_extension("socket"));
    fs::create_dir_all(&place)?;
    let remount = if is_writable { "" } else { "mount -o remount,ro,bind \"$2\" && " };
    let cache = if is_writable { "auto" } else { "always" };
    let script = format!(
        "mount --bind \"$1\" \"$2\" && {remount}exec {VIRTIOFSD} --socket-path=\"$3\" -o source=\"$2\" -o sandbox=chroot \
         -o cache={cache} -o log_level=err -o xattr -f"
    );
    let mut daemon = mortal("unshare");
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
