//! The launcher with shell scripts as its two sides. Needs root.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Group, Pid, User, geteuid},
};
use std::{
    fs::{self, Permissions},
    io::Read,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Long enough for a machine that is busy with a build.
const PATIENCE: Duration = Duration::from_secs(8);

/// Writes what `/proc` says about it, then waits for SIGTERM.
const PATIENT: &str = r#"trap 'echo stopped >> "$OUT.end"; exit 0' TERM
cat /proc/$$/status > "$OUT.tmp"; mv "$OUT.tmp" "$OUT"
while :; do sleep 0.05; done"#;

/// A directory that both users can pass, with two stubs in it.
struct Stage {
    directory: PathBuf,
}

struct Launcher {
    child: Child,
    stage: Stage,
}

impl Stage {
    fn new(name: &str, loader: &str, processor: &str) -> Option<Self> {
        if !geteuid().is_root() {
            eprintln!("skipped: {name}: the launcher needs root");
            return None;
        }
        let directory =
            std::env::temp_dir().join(format!("ratatosk-standalone-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        for (side, body) in [("loader", loader), ("processor", processor)] {
            let out = directory.join(format!("{side}.out"));
            let script = format!("#!/bin/bash\nOUT={}\necho run >> $OUT.runs\n{body}\n", out.display());
            let path = directory.join(side);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
        Some(Self { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn command(&self) -> Command {
        self.command_in(&self.directory)
    }

    /// With the two stubs of another directory.
    fn command_in(&self, stubs: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ratatosk-loader"));
        command.arg("standalone");
        command.arg("--loader").arg(stubs.join("loader")).arg("--processor").arg(stubs.join("processor"));
        command.env("RATATOSK_SOCKET", self.path("run/agent.sock"));
        command.env("BEYLA_OPEN_PORT", "8080").env("SECRET_OF_ROOT", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, command: &mut Command) -> (Option<i32>, String) {
        let Output { status, stderr, .. } = command.output().unwrap();
        (status.code(), String::from_utf8_lossy(&stderr).into_owned())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Launcher {
    fn start(name: &str, loader: &str, processor: &str) -> Option<Self> {
        let stage = Stage::new(name, loader, processor)?;
        Some(Self { child: stage.command().spawn().unwrap(), stage })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.stage.path(name)
    }

    fn wait_for(&self, name: &str) -> String {
        wait_until(name, || fs::read_to_string(self.path(name)).ok())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Exit code (or minus the signal) and stderr.
    fn end(&mut self) -> (i32, String) {
        let child = &mut self.child;
        let status = wait_until("end of the launcher", || child.try_wait().unwrap());
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (status.code().unwrap_or_else(|| -status.signal().unwrap_or(1)), text)
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("waited too long for {what}");
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    line.split_once(':').unwrap().1.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn uid(name: &str) -> u32 {
    User::from_name(name).unwrap().unwrap().uid.as_raw()
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[test]
fn each_side_has_its_own_user_and_exactly_its_capabilities() {
    let Some(mut launcher) = Launcher::start("caps", PATIENT, PATIENT) else { return };
    let (loader, processor) = (launcher.wait_for("loader.out"), launcher.wait_for("processor.out"));
    // BPF 39, PERFMON 38, SYS_PTRACE 19, DAC_READ_SEARCH 2.
    let four = format!("{:016x}", (1u64 << 39) | (1 << 38) | (1 << 19) | (1 << 2));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(&loader, set), four, "loader {set}");
        assert_eq!(field(&processor, set), "0".repeat(16), "processor {set}");
    }
    for (status, user) in [(&loader, "ratatosk-loader"), (&processor, "ratatosk")] {
        assert_eq!(field(status, "Uid"), vec![uid(user).to_string(); 4].join(" "));
        assert_eq!(field(status, "NoNewPrivs"), "1");
    }
    let group = Group::from_name("ratatosk").unwrap().unwrap().gid;
    assert_eq!(field(&loader, "Groups"), group.to_string());
    assert_eq!(field(&processor, "Groups"), "");
    launcher.signal(Signal::SIGINT);
    launcher.signal(Signal::SIGINT);
    assert_eq!(launcher.end().0, 0);
    assert!(launcher.path("loader.out.end").exists() && launcher.path("processor.out.end").exists());
    assert!(!launcher.path("run").exists(), "the socket's directory is removed");
}

#[test]
fn the_environment_is_clean_and_no_descriptor_is_inherited() {
    let look = r#"(env; ls /proc/$$/fd; echo "args $*") > "$OUT.tmp"; mv "$OUT.tmp" "$OUT"; exec sleep 30"#;
    let Some(mut launcher) = Launcher::start("clean", look, look) else { return };
    let (loader, processor) = (launcher.wait_for("loader.out"), launcher.wait_for("processor.out"));
    for text in [&loader, &processor] {
        assert!(text.contains("BEYLA_OPEN_PORT=8080"), "{text}");
        assert!(!text.contains("SECRET_OF_ROOT"), "{text}");
        // 255 is the shell's own script.
        assert!(text.contains("\n0\n1\n2\n255\nargs"), "{text}");
    }
    let expected = format!("--processor-uid {} --processor-gid", uid("ratatosk"));
    assert!(loader.contains("args run --socket ") && loader.contains(&expected), "{loader}");
    launcher.signal(Signal::SIGINT);
    assert_eq!(launcher.end().0, 0);
}

#[test]
fn a_configuration_file_reaches_the_processor_by_its_whole_path_and_chooses_instead_of_the_demo() {
    let look = r#"(env; echo "args $*") > "$OUT.tmp"; mv "$OUT.tmp" "$OUT"; exec sleep 30"#;
    let Some(stage) = Stage::new("config", look, look) else { return };
    fs::write(stage.path("beyla.yml"), "open_port: 8080\n").unwrap();
    let mut command = stage.command();
    command.args(["--config", "beyla.yml"]).current_dir(&stage.directory).env_remove("BEYLA_OPEN_PORT");
    let child = command.spawn().unwrap();
    let mut launcher = Launcher { child, stage };
    let (loader, processor) = (launcher.wait_for("loader.out"), launcher.wait_for("processor.out"));
    let expected = format!("args --config {}", launcher.path("beyla.yml").canonicalize().unwrap().display());
    assert!(processor.contains(&expected), "{processor}");
    assert!(!processor.contains("TRACE_PRINTER"), "the file may say it: {processor}");
    assert!(!loader.contains("beyla.yml"), "{loader}");
    launcher.signal(Signal::SIGINT);
    assert_eq!(launcher.end().0, 0);
}

#[test]
fn a_configuration_file_that_is_not_there_ends_the_launcher() {
    let Some(stage) = Stage::new("no-config", PATIENT, PATIENT) else { return };
    let missing = stage.path("missing.yml");
    let (code, said) = stage.output(stage.command().arg("--config").arg(&missing));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("missing.yml can't be used: No such file"), "{said}");
}

#[test]
fn the_loader_can_bind_a_socket_for_the_processor() {
    let bind = r#"touch "$3" && chgrp ratatosk "$3" && chmod 660 "$3" && touch "$3.lock"
stat -c '%a %U %G' "$(dirname "$3")" > "$OUT.tmp" && mv "$OUT.tmp" "$OUT"; exec sleep 30"#;
    let reach = r#"while ! test -w "$RATATOSK_SOCKET"; do sleep 0.05; done; touch "$OUT"; exec sleep 30"#;
    let Some(mut launcher) = Launcher::start("bind", bind, reach) else { return };
    assert_eq!(launcher.wait_for("loader.out"), "750 ratatosk-loader ratatosk\n");
    launcher.wait_for("processor.out");
    launcher.signal(Signal::SIGTERM);
    assert_eq!(launcher.end().0, 0);
    assert!(!launcher.path("run").exists(), "what the killed loader left is removed");
}

#[test]
fn a_side_that_is_killed_restarts_alone() {
    let Some(mut launcher) = Launcher::start("restart", PATIENT, PATIENT) else { return };
    let pid = |status: &str| field(status, "Pid");
    let (loader, processor) = (launcher.wait_for("loader.out"), launcher.wait_for("processor.out"));
    fs::remove_file(launcher.path("processor.out")).unwrap();
    kill(Pid::from_raw(pid(&processor).parse().unwrap()), Signal::SIGKILL).unwrap();
    let again = launcher.wait_for("processor.out");
    assert_ne!(pid(&again), pid(&processor));
    assert!(is_alive(&pid(&loader)), "the other side keeps its pid");
    assert_eq!(fs::read_to_string(launcher.path("loader.out.runs")).unwrap(), "run\n");
    launcher.signal(Signal::SIGINT);
    let (code, text) = launcher.end();
    assert_eq!(code, 0);
    assert!(text.contains("processor ended (signal: 9 (SIGKILL)), starts again in 100 ms"), "{text}");
}

#[test]
fn a_final_exit_code_ends_everything_with_that_code() {
    for code in [64, 69, 77] {
        let die = format!("exit {code}");
        let Some(mut launcher) = Launcher::start(&format!("final-{code}"), &die, PATIENT) else { return };
        assert_eq!(launcher.end().0, code);
        assert_eq!(fs::read_to_string(launcher.path("loader.out.runs")).unwrap(), "run\n");
        assert!(!launcher.path("run").exists());
    }
}

#[test]
fn restarts_wait_longer_and_longer() {
    let Some(mut launcher) = Launcher::start("backoff", PATIENT, "exit 3") else { return };
    thread::sleep(Duration::from_secs(2));
    launcher.signal(Signal::SIGINT);
    let (_, text) = launcher.end();
    for pause in [100, 200, 400, 800] {
        assert!(text.contains(&format!("starts again in {pause} ms")), "{text}");
    }
    assert!(fs::read_to_string(launcher.path("processor.out.runs")).unwrap().lines().count() <= 6);
}

#[test]
fn killing_the_launcher_leaves_no_side() {
    let Some(mut launcher) = Launcher::start("kill9", PATIENT, PATIENT) else { return };
    let pids = ["loader.out", "processor.out"].map(|name| field(&launcher.wait_for(name), "Pid"));
    launcher.child.kill().unwrap();
    launcher.child.wait().unwrap();
    wait_until("both sides to end", || (!pids.iter().any(|pid| is_alive(pid))).then_some(()));
}

#[test]
fn a_second_launcher_ends_with_69_and_leaves_the_first_alone() {
    let Some(mut first) = Launcher::start("second", PATIENT, PATIENT) else { return };
    let pid = field(&first.wait_for("loader.out"), "Pid");
    let (code, text) = first.stage.output(&mut first.stage.command());
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("another launcher serves"), "{text}");
    assert!(is_alive(&pid) && first.path("run").exists());
    first.signal(Signal::SIGINT);
    assert_eq!(first.end().0, 0);
}

#[test]
fn a_directory_of_somebody_else_is_refused_unchanged() {
    let Some(stage) = Stage::new("foreign", PATIENT, PATIENT) else { return };
    // World-writable like /tmp, and not empty.
    let (code, text) = stage.output(stage.command().env("RATATOSK_SOCKET", stage.path("agent.sock")));
    assert_eq!(code, Some(69), "{text}");
    assert_eq!(fs::metadata(&stage.directory).unwrap().permissions().mode() & 0o7777, 0o777);
}

#[test]
fn a_missing_processor_is_named() {
    let Some(stage) = Stage::new("missing", PATIENT, PATIENT) else { return };
    fs::remove_file(stage.path("processor")).unwrap();
    let (code, text) = stage.output(&mut stage.command());
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("no binary at") && text.contains("--processor PATH"), "{text}");
}

#[test]
fn a_root_without_bpf_is_told_what_it_lacks() {
    let Some(stage) = Stage::new("lacks", PATIENT, PATIENT) else { return };
    if Command::new("capsh").arg("--print").output().is_err() {
        return eprintln!("skipped: a_root_without_bpf_is_told_what_it_lacks: capsh is missing");
    }
    let inner = stage.command();
    let mut outer = Command::new("capsh");
    outer.args(["--drop=cap_bpf", "--", "-c", "exec \"$0\" \"$@\""]);
    outer.arg(inner.get_program()).args(inner.get_args());
    let (code, text) = stage.output(outer.env("RATATOSK_SOCKET", stage.path("run/agent.sock")));
    assert_eq!(code, Some(77), "{text}");
    assert!(text.contains("root lacks CAP_BPF"), "{text}");
}

#[test]
fn without_a_selector_the_demo_is_selected() {
    let look = r#"echo "$OTEL_EBPF_AUTO_TARGET_EXE" > "$OUT.tmp"; mv "$OUT.tmp" "$OUT"; exec sleep 30"#;
    let Some(stage) = Stage::new("demo", PATIENT, look) else { return };
    if !Path::new(env!("CARGO_BIN_EXE_ratatosk-loader")).with_file_name("demo-frontend").exists() {
        return eprintln!("skipped: without_a_selector_the_demo_is_selected: ratatosk-demo is not built");
    }
    let child = stage.command().env_remove("BEYLA_OPEN_PORT").spawn().unwrap();
    let mut launcher = Launcher { child, stage };
    let glob = launcher.wait_for("processor.out").trim().to_owned();
    assert!(glob.ends_with("/demo-*end"), "{glob}");
    let runs = |name: &str| {
        let exe = PathBuf::from(glob.replace("demo-*end", name));
        let mut processes = fs::read_dir("/proc").unwrap().flatten();
        processes.any(|process| fs::read_link(process.path().join("exe")).is_ok_and(|found| found == exe))
    };
    let names = ["demo-frontend", "demo-backend", "demo-visitor"];
    wait_until("the demo to start", || names.iter().all(|name| runs(name)).then_some(()));
    launcher.signal(Signal::SIGINT);
    let (code, text) = launcher.end();
    assert_eq!(code, 0);
    assert!(text.contains("BEYLA_OPEN_PORT=8080"), "{text}");
    let deleted = |name: &str| runs(&format!("{name} (deleted)"));
    wait_until("the demo to end", || (!names.iter().any(|name| runs(name) || deleted(name))).then_some(()));
}

#[test]
fn binaries_in_a_closed_directory_are_copied_and_the_copies_removed() {
    let look = r#"echo "$0" > "$OUT.tmp"; mv "$OUT.tmp" "$OUT"; exec sleep 30"#;
    let Some(stage) = Stage::new("closed", look, look) else { return };
    let closed = stage.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    for side in ["loader", "processor"] {
        fs::rename(stage.path(side), closed.join(side)).unwrap();
    }
    let child = stage.command_in(&closed).spawn().unwrap();
    let mut launcher = Launcher { child, stage };
    let copies = ["loader.out", "processor.out"].map(|name| PathBuf::from(launcher.wait_for(name).trim()));
    for copy in &copies {
        assert!(copy.to_string_lossy().contains("/ratatosk-bin/"), "{copy:?}");
        assert_eq!(fs::metadata(copy).unwrap().permissions().mode() & 0o7777, 0o755);
    }
    launcher.signal(Signal::SIGINT);
    assert_eq!(launcher.end().0, 0);
    assert!(!copies.iter().any(|copy| copy.exists()));
}
