//! Real processes, examined by real forks. Without capabilities a process may look at others of its user, which is
//! enough here. What the filter leaves them is tested beside it.

use super::*;
use std::{
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

/// A process that waits on its stdin.
struct Waiting(Child);

impl Waiting {
    fn start(command: &mut Command) -> Option<Self> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = Self(child.ok()?);
        // the new program runs once its file is another than ours
        let ours = std::fs::read_link("/proc/self/exe").expect("readable");
        while std::fs::read_link(format!("/proc/{}/exe", child.0.id())).is_ok_and(|exe| exe == ours) {
            thread::yield_now();
        }
        Some(child)
    }

    fn request(&self) -> Request {
        Request::examine(self.0.id(), start_ns(self.0.id()), 1)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn start_ns(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields = stat.rsplit_once(')').expect("a name").1;
    fields.split_whitespace().nth(19).expect("start").parse::<u64>().expect("ticks") * 10_000_000
}

fn examine_with(examiners: &mut Examiners, request: Request, policy: &Policy) -> Box<Reply> {
    examiners.start(request, policy).expect("forked");
    loop {
        if let Some(reply) = examiners.reap().pop() {
            return reply;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn examine(request: Request) -> Box<Reply> {
    examine_with(&mut Examiners::default(), request, &Policy::default())
}

fn language(reply: &Reply) -> &'static str {
    Language::from_raw(reply.language).name()
}

#[test]
fn this_test_is_written_in_rust() {
    let (mut examiners, pid) = (Examiners::default(), std::process::id());
    for _ in 0..2 {
        let request = Request::examine(pid, start_ns(pid), 7);
        let reply = examine_with(&mut examiners, request, &Policy::default());
        assert_eq!((language(&reply), reply.token), ("rust", 7));
        assert_eq!(reply.readable, readable::BINARY | readable::ENVIRONMENT);
    }
    assert!(examiners.is_idle());
}

#[test]
fn interpreters_and_plain_programs_are_told_apart() {
    let read = "import sys; sys.stdin.read()";
    for (program, arguments, is) in [
        ("python3", ["-c", read].as_slice(), "python"),
        ("ruby", &["-e", "STDIN.read"], "ruby"),
        ("perl", &["-e", "<STDIN>"], "generic"),
        ("node", &["-e", "process.stdin.resume()"], "nodejs"),
        ("php", &["-r", "fgets(STDIN);"], "php"),
        ("cat", &[], "generic"),
    ] {
        let Some(child) = Waiting::start(Command::new(program).args(arguments)) else {
            println!("skipped: interpreters_and_plain_programs_are_told_apart: {program} is missing");
            continue;
        };
        // a wrapper may run first, and libraries are mapped some time after the start
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut found = language(&examine(child.request()));
        while found != is && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
            found = language(&examine(child.request()));
        }
        assert_eq!(found, is, "{program}");
    }
}

#[test]
fn of_the_environment_only_three_variables_leave() {
    let mut command = Command::new("cat");
    command.env("OTEL_SERVICE_NAME", "shop").env("PASSWORD", "OTEL_SERVICE_NAME=x");
    command.env("OTEL_RESOURCE_ATTRIBUTES", "a=b,c=d").env("OTEL_EXPORTER_OTLP_HEADERS", "key=secret");
    let child = Waiting::start(&mut command).expect("cat");
    let reply = examine(child.request());
    let told = reply.text(Text::Environment);
    assert_eq!(told, b"OTEL_SERVICE_NAME=shop\0OTEL_RESOURCE_ATTRIBUTES=a=b,c=d\0");
    let all = reply.as_bytes();
    assert!(!all.windows(6).any(|bytes| bytes == b"secret" || bytes == b"PASSWO"));
}

#[test]
fn another_process_under_the_same_pid_is_not_examined() {
    let child = Waiting::start(&mut Command::new("cat")).expect("cat");
    let reply = examine(Request { start_ns: start_ns(child.0.id()) + 50_000_000, ..child.request() });
    assert_eq!((reply.readable, reply.language), (0, 0));
    let reply = examine(Request::examine(u32::MAX, 1, 1));
    assert_eq!(reply.readable, 0);
}

#[test]
fn whom_the_policy_denies_is_not_examined() {
    let child = Waiting::start(&mut Command::new("cat")).expect("cat");
    let glob = |text| Some(vec![glob::Pattern::new(text).expect("glob")]);
    let uid = nix::unistd::getuid().as_raw();
    for (policy, readable) in [
        (Policy { examine: false, ..Policy::default() }, 0),
        (Policy { uids: Some(vec![uid + 1..=uid + 9]), ..Policy::default() }, 0),
        (Policy { cgroups: Some(vec![]), ..Policy::default() }, 0),
        (Policy { executables: glob("/none"), ..Policy::default() }, 0),
        (Policy { uids: Some(vec![uid..=uid]), executables: glob("/**/cat"), ..Policy::default() }, 24),
        (Policy { executables: glob("/**/*"), ..Policy::default() }, 24),
    ] {
        let reply = examine_with(&mut Examiners::default(), child.request(), &policy);
        assert_eq!(reply.readable, readable, "{policy:?}");
    }
}

#[test]
fn one_too_many_is_refused_and_all_are_reaped() {
    let child = Waiting::start(&mut Command::new("cat")).expect("cat");
    let mut examiners = Examiners::default();
    let started =
        (0..MAX_EXAMINERS + 3).filter(|_| examiners.start(child.request(), &Policy::default()).is_ok());
    assert_eq!(started.count(), MAX_EXAMINERS);
    let mut replies = 0;
    while replies < MAX_EXAMINERS {
        replies += examiners.reap().len();
        thread::sleep(Duration::from_millis(5));
    }
    assert!(examiners.is_idle() && examiners.has_room());
}

/// A file under our hand, removed at the end.
struct Sample(std::path::PathBuf);

impl Sample {
    fn new(bytes: &[u8]) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ratatosk-elf-{}-{number}", std::process::id()));
        std::fs::write(&path, bytes).expect("written");
        Self(path)
    }

    fn language(&self, len: usize) -> Language {
        let file = File::open(&self.0).expect("opened");
        binary::language(&file, u64::try_from(len).expect("small"))
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}

fn of_bytes(bytes: &[u8]) -> Language {
    Sample::new(bytes).language(bytes.len())
}

/// The program of this name that a shell would run.
fn program(name: &str) -> Option<std::path::PathBuf> {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    directories.as_bytes().split(|byte| *byte == b':').find_map(|directory| {
        let path = Path::new(std::ffi::OsStr::from_bytes(directory)).join(name);
        path.exists().then_some(path)
    })
}

fn cat() -> Vec<u8> {
    std::fs::read(program("cat").expect("a program called cat")).expect("readable")
}

#[test]
fn a_go_program_is_known_by_its_build_information() {
    let Some(path) = program("go") else {
        return println!("skipped: a_go_program_is_known_by_its_build_information: go is missing");
    };
    let file = File::open(path).expect("opened");
    let len = file.metadata().expect("known").len();
    assert_eq!(binary::language(&file, len), Language::Go);
}

#[test]
fn what_is_no_elf_file_is_nothing() {
    for bytes in [b"".as_slice(), b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x01\x01", &[0; 4096]] {
        assert_eq!(of_bytes(bytes), Language::Unknown, "{bytes:?}");
    }
}

#[test]
fn every_cut_and_many_flips_of_a_binary_end_well() {
    let whole = cat();
    assert_eq!(of_bytes(&whole), Language::Generic);
    for cut in (0..whole.len()).step_by(whole.len() / 200 + 1) {
        _ = of_bytes(&whole[..cut]);
    }
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 40).expect("24 bits")
    };
    // its tables: the head of the file and the sections at its end
    let tables = whole.len() - 4096.min(whole.len());
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            let (head, tail) = (random() % 64, tables + random() % (whole.len() - tables));
            bytes[head.max(5)] = u8::try_from(random() % 256).expect("a byte");
            bytes[tail] = u8::try_from(random() % 256).expect("a byte");
        }
        _ = of_bytes(&bytes);
    }
}

#[test]
fn a_file_that_shrinks_meanwhile_is_nothing() {
    let whole = cat();
    let sample = Sample::new(&whole[..whole.len() / 2]);
    assert_eq!(sample.language(whole.len()), Language::Unknown);
}
