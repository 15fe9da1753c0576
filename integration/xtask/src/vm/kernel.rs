//! Debian's own kernels, unpacked beside cargo's output.

use super::{guest::VIRTIOFSD, initramfs};
use anyhow::{Context, bail, ensure};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where a kernel is found: (name, suite, package). Suites, not versions: these move with every security update.
const KNOWN: [(&str, &str, &str); 4] = [
    ("5.10", "bullseye-security", "linux-image-cloud-amd64"),
    ("6.1", "bookworm-security", "linux-image-cloud-amd64"),
    ("6.12", "bookworm-security", "linux-image-6.12-cloud-amd64"),
    ("sid", "sid", "linux-image-cloud-amd64"),
];
/// Debian packages that a guest needs on this machine, with a file that proves each.
const NEEDS: [(&str, &str); 7] = [
    ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
    ("qemu-system-common", VIRTIOFSD),
    ("busybox-static", "/bin/busybox"),
    ("cpio", "/usr/bin/cpio"),
    ("kmod", "/sbin/depmod"),
    ("xz-utils", "/usr/bin/xz"),
    ("zstd", "/usr/bin/zstd"),
];

/// A kernel that can be booted.
#[derive(Debug)]
pub struct Kernel {
    /// `uname -r`.
    pub version: String,
    /// Its unpacked packages; `vmlinux` and `initramfs` lie beside them.
    pub folder: PathBuf,
}

impl Kernel {
    /// `/lib/modules/<version>`.
    pub fn modules(&self) -> PathBuf {
        self.folder.join("lib/modules").join(&self.version)
    }
}

/// The kernel called `name`, from the cache or from the mirror.
pub fn fetched(name: &str) -> anyhow::Result<Kernel> {
    let Some((_, suite, package)) = KNOWN.into_iter().find(|(known, ..)| *known == name) else {
        bail!("no kernel {name:?}: there are {}", KNOWN.map(|(known, ..)| known).join(", "));
    };
    install(&NEEDS)?;
    let folder = cache().join(name);
    let stamp = folder.join("version");
    if let Ok(version) = fs::read_to_string(&stamp) {
        let kernel = Kernel { version, folder };
        // made each time: it is quick, and the script in it may have changed
        initramfs::build(&kernel)?;
        return Ok(kernel);
    }
    eprintln!("vm: fetching kernel {name} from {suite}");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let version = unpack(&folder, suite, package)?;
    let kernel = Kernel { version, folder };
    prepare(&kernel)?;
    fs::write(stamp, &kernel.version)?;
    Ok(kernel)
}

fn cache() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/kernels")
}

/// Installs those of `needs` (package, file that proves it) that are missing.
pub fn install(needs: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        needs.iter().filter(|(_, proof)| !Path::new(proof).exists()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("vm: installing {}", missing.join(" "));
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(missing);
    succeed(install.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()))
}

/// Runs a command to its end.
pub fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// Runs a command for what it prints.
pub fn printed(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(output.stdout)
}

fn text(command: &mut Command) -> anyhow::Result<String> {
    Ok(String::from_utf8(printed(command)?)?)
}

/// apt with lists of its own: nothing is installed, signatures are checked.
struct Apt {
    options: Vec<String>,
    folder: PathBuf,
}

impl Apt {
    fn of(folder: &Path, suite: &str) -> anyhow::Result<Self> {
        let folder = folder.join("apt");
        for part in ["lists/partial", "cache/archives/partial", "none"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let source = format!("deb [signed-by={keyring}] {} {suite} main\n", mirror_of(suite)?);
        fs::write(folder.join("sources.list"), source)?;
        let at = |path: &str| folder.join(path).display().to_string();
        let options = [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", at("none")),
            ("Dir::Etc::preferencesparts", at("none")),
            ("Dir::State::lists", at("lists")),
            ("Dir::Cache", at("cache")),
            ("Dir::State::status", "/dev/null".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            ("APT::Sandbox::User", "root".to_owned()),
        ];
        let options =
            options.into_iter().flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={value}")]);
        let apt = Self { options: options.collect(), folder };
        succeed(apt.command("apt-get").args(["-qq", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).current_dir(&self.folder);
        command
    }

    /// What `package` depends on and begins with `prefix`.
    fn dependencies(&self, package: &str, prefix: &str) -> anyhow::Result<Vec<String>> {
        let text = text(self.command("apt-cache").args(["depends", package]))?;
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect())
    }
}

/// The mirror that the machine's own apt uses for such a suite.
pub fn mirror_of(suite: &str) -> anyhow::Result<String> {
    let listed = text(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI) $(CODENAME)"]))?;
    let is_security = |name: &str| name.ends_with("-security");
    let mirrors =
        listed.lines().filter(|line| line.contains("debian")).filter_map(|line| line.split_once(' '));
    let mirror =
        mirrors.filter(|(_, name)| is_security(name) == is_security(suite)).map(|(uri, _)| uri).next_back();
    mirror.map(str::to_owned).context("apt knows no Debian mirror: run apt-get update")
}

/// Unpacks the image behind `package` into `folder`; gives the kernel's version.
fn unpack(folder: &Path, suite: &str, package: &str) -> anyhow::Result<String> {
    let apt = Apt::of(folder, suite)?;
    let versioned = apt.dependencies(package, "linux-image-")?;
    let image = versioned
        .into_iter()
        .find(|name| name.bytes().any(|b| b.is_ascii_digit()))
        .unwrap_or(package.to_owned());
    let version = image.trim_start_matches("linux-image-").to_owned();
    // from 6.19 on the image is a stub over linux-base, -binary and -modules of the same version
    let parts = apt.dependencies(&image, "linux-")?.into_iter().filter(|name| name.ends_with(&version));
    for part in parts.chain([image.clone()]) {
        succeed(apt.command("apt-get").args(["-qq", "download", &part]))?;
    }
    for entry in fs::read_dir(&apt.folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            succeed(Command::new("dpkg-deb").arg("-x").arg(path).arg(folder))?;
        }
    }
    if !folder.join("lib").exists() {
        std::os::unix::fs::symlink("usr/lib", folder.join("lib"))?;
    }
    Ok(version)
}

fn prepare(kernel: &Kernel) -> anyhow::Result<()> {
    succeed(Command::new("/sbin/depmod").arg("-b").arg(&kernel.folder).arg(&kernel.version))?;
    let packed = [
        kernel.folder.join("boot").join(format!("vmlinuz-{}", kernel.version)),
        kernel.modules().join("vmlinuz"),
    ];
    let packed = packed.into_iter().find(|path| path.exists()).context("the package holds no vmlinuz")?;
    fs::write(kernel.folder.join("vmlinux"), vmlinux(&fs::read(packed)?)?)?;
    initramfs::build(kernel)
}

/// The ELF within a bzImage (Documentation/arch/x86/boot.rst): it boots by PVH, with nothing to unpack in emulation.
fn vmlinux(image: &[u8]) -> anyhow::Result<Vec<u8>> {
    let word = |at: usize| -> anyhow::Result<usize> {
        let bytes = image.get(at..at + 4).context("the image is too short")?;
        Ok(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
    };
    let sectors = usize::from(*image.get(0x1f1).context("the image is too short")?);
    let start = (if sectors == 0 { 4 } else { sectors } + 1) * 512 + word(0x248)?;
    let payload = image.get(start..start + word(0x24c)?).context("the payload lies outside of the image")?;
    // the last four bytes are the unpacked length
    let payload = payload.get(..payload.len().saturating_sub(4)).unwrap_or_default();
    let tool = match payload {
        [0x28, 0xb5, ..] => "zstd",
        [0x02, 0x21, ..] => "lz4",
        [0x1f, 0x8b, ..] => "gzip",
        [0xfd, b'7', ..] => "xz",
        _ => bail!("the kernel is packed in a way that is not known"),
    };
    let elf = piped(Command::new(tool).arg("-dc"), payload)?;
    ensure!(elf.starts_with(b"\x7fELF"), "the image holds no ELF");
    Ok(elf)
}

/// What a filter makes of `input`. It may complain about what follows the stream: the kernel pads it.
fn piped(command: &mut Command, input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output()?;
    drop(feeder.join());
    Ok(output.stdout)
}
