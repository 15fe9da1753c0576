//! A temporary directory, free ports, and programs that end with their test.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// First of the ports of tests, unless `RATATOSK_TEST_PORTS` says otherwise: two runs on one machine must not meet.
/// Below the ephemeral ports: a port of a test is never by chance a client's own.
const FIRST_PORT: u16 = 21_000;
/// Ports of one run.
const PORT_COUNT: u16 = 1_000;

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// Every port that a test of this run may take.
#[must_use]
pub fn ports() -> std::ops::Range<u16> {
    let given = std::env::var("RATATOSK_TEST_PORTS").ok().and_then(|first| first.parse().ok());
    let first: u16 = given.unwrap_or(FIRST_PORT);
    first..first + PORT_COUNT
}

/// A port of [`ports`] that nobody listens on.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let port = ports().start + NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        assert!(ports().contains(&port), "ports {:?} are used up", ports());
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// A directory that every user can pass and read.
#[must_use]
pub fn directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix("ratatosk-test-").tempdir().expect("temporary directory");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("mode of the directory");
    directory
}

/// A file of this crate's `workloads/`.
#[must_use]
pub fn workload(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads").join(name)
}

/// Where the binaries under test are: `RATATOSK_BIN_DIR`, else the release build, else the debug build.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let given = std::env::var_os("RATATOSK_BIN_DIR").map(PathBuf::from);
    let places = given.into_iter().chain([target.join("release"), target.join("debug")]);
    let found = places.map(|place| place.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("{name} is not built: cargo build --release -p ratatosk-loader -p ratatosk -p ratatosk-demo")
    })
}

/// A program of this machine, not a wrapper that a version manager put before it.
#[must_use]
pub fn installed(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: scripts/setup --test installs it"))
}

/// Writes a shell script that everybody can run.
#[must_use]
pub fn script(path: PathBuf, body: &str) -> PathBuf {
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("script");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("mode of the script");
    path
}

/// Compiles a C file of `workloads/` into `directory`, and gives the executable.
#[must_use]
pub fn compile(name: &str, directory: &Path) -> PathBuf {
    let source = workload(name);
    let program = directory.join(source.file_stem().expect("a file name"));
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-Wall", "-Werror", "-pthread", "-o"]).arg(&program).arg(&source);
    assert!(cc.status().expect("cc is missing: scripts/setup --test installs it").success(), "{cc:?}");
    program
}

/// A file for a recording: in a folder of its own, where the processor's user may write.
#[must_use]
pub fn recording(directory: &Path) -> PathBuf {
    let folder = directory.join("recording");
    fs::create_dir(&folder).expect("folder for a recording");
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).expect("mode of the folder");
    folder.join("stream")
}

/// A program that is killed when the test is done with it.
#[derive(Debug)]
pub struct Program {
    /// Of the program.
    pub child: Child,
}

impl Program {
    /// Starts it.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child }
    }

    /// Asks it to end by SIGTERM; none if it has not within `grace`.
    pub fn terminate(&mut self, grace: Duration) -> Option<ExitStatus> {
        let pid = i32::try_from(self.child.id()).expect("a pid fits into i32");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM); // one that has ended already is no error
        let deadline = Instant::now() + grace;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
