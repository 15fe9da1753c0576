//! What `elf` says of live processes: programs of every language as they are installed or compiled, each examined once
//! it is at work. Prints a table; what a machine has not is skipped by name (`scripts/setup --test` installs all).

mod build;
mod programs;

use programs::{PROGRAMS, Program, Ready, Start};
use ratatosk_abi::Language;
use ratatosk_loader::{
    policy::Policy,
    process::{elf::Examiners, ipc::Request},
};
use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A JVM on a busy machine takes most of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program at work; its process group ends with it.
struct Live(Child);

impl Drop for Live {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        _ = self.0.wait();
    }
}

impl Live {
    fn start(start: &mut Start) -> Result<Self, String> {
        let Start { command, ready } = start;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let mut live = Self(child);
        match ready {
            Ready::Line => live.wait_for_line()?,
            Ready::File(path) => live.wait_for_file(path)?,
            Ready::Started => {}
        }
        Ok(live)
    }

    /// Each program says a line when its runtime is at work, and then waits on its stdin.
    fn wait_for_line(&mut self) -> Result<(), String> {
        let mut line = String::new();
        let stdout = self.0.stdout.take().expect("piped");
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut line).map_err(|error| error.to_string())?;
        self.0.stdout = Some(stdout.into_inner());
        if line.trim() == "ready" { Ok(()) } else { Err(format!("said {line:?} instead of ready")) }
    }

    fn wait_for_file(&mut self, path: &Path) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !path.exists() {
            if let Some(status) = self.0.try_wait().expect("own child") {
                return Err(format!("ended with {status}"));
            }
            if Instant::now() > deadline {
                return Err(format!("made no {} in {PATIENCE:?}", path.display()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn executable(&self) -> String {
        let path = fs::read_link(format!("/proc/{}/exe", self.0.id())).unwrap_or_default();
        path.display().to_string()
    }
}

/// What a fork of this process finds, and how long it took.
fn examine(pid: u32) -> (&'static str, Duration) {
    let (mut examiners, since) = (Examiners::default(), Instant::now());
    let request = Request::examine(pid, start_ns(pid), 1);
    examiners.start(request, &Policy::default()).expect("forked");
    loop {
        if let Some(reply) = examiners.reap().pop() {
            return (Language::from_raw(reply.language).name(), since.elapsed());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn start_ns(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields = stat.rsplit_once(')').expect("a name").1;
    fields.split_whitespace().nth(19).expect("start").parse::<u64>().expect("ticks") * 10_000_000
}

/// The line of one program, and whether it is as it should be.
fn row(program: &Program, directory: &Path) -> Result<(String, bool), String> {
    let live = Live::start(&mut (program.start)(directory)?)?;
    let (told, took) = examine(live.0.id());
    let size = fs::metadata(live.executable()).map(|of| of.len() >> 10).unwrap_or_default();
    let mut line = format!("| {} | {told} | {} ms | {size} KiB |", program.name, took.as_millis());
    let is_right = told == program.is;
    if !is_right {
        write!(line, " should be {}: {}", program.is, live.executable()).expect("write to a String");
    }
    Ok((line, is_right))
}

#[test]
fn programs_of_every_language_are_known_by_facts() {
    let directory = std::env::temp_dir().join(format!("ratatosk-languages-{}", std::process::id()));
    fs::create_dir(&directory).expect("directory");
    let mut wrong = Vec::new();
    println!("| program | told | took | executable |");
    for (number, program) in PROGRAMS.iter().enumerate() {
        let place = directory.join(number.to_string());
        fs::create_dir(&place).expect("directory");
        match row(program, &place) {
            Ok((line, is_right)) => {
                println!("{line}");
                wrong.extend((!is_right).then_some(line));
            }
            Err(reason) => {
                println!(
                    "skipped: programs_of_every_language_are_known_by_facts, {}: {reason}",
                    program.name
                );
            }
        }
    }
    _ = fs::remove_dir_all(&directory);
    assert!(wrong.is_empty(), "told wrongly:\n{}", wrong.join("\n"));
}
