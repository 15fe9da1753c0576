//! What the operator's policy bounds, end to end; and what the loader finds in a process that it may look into.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{
    Agent, Options,
    agent::TOLD,
    client::Connection,
    guard,
    server::Server,
    stage::{self, Program},
    wait_until,
};
use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

const NOBODY: u32 = 65_534;
/// Python of the system: a user's own may lie where nobody else can read.
const PYTHON: &str = "/usr/bin/python3";
/// Asks until the agent has surely decided: it needs some hundred milliseconds.
const ASKS: usize = 20;

/// A policy file of root, and the agent's option that names it.
struct Policy {
    _directory: TempDir,
    path: PathBuf,
}

impl Policy {
    fn new(text: &str) -> Self {
        let directory = stage::directory();
        let path = directory.path().join("policy.toml");
        fs::write(&path, text).unwrap();
        Self { _directory: directory, path }
    }

    fn options(&self) -> Options {
        Options::default().with("RATATOSK_POLICY", self.path.display())
    }
}

/// Python's plain file server as a user of our choice.
struct Plain {
    port: u16,
    program: Program,
    _directory: TempDir,
}

impl Plain {
    fn start(name: &str, uid: u32, environment: &[(&str, &str)]) -> Option<Self> {
        if !Path::new(PYTHON).exists() {
            println!("skipped: {name}: {PYTHON} is missing");
            return None;
        }
        let (directory, port) = (stage::directory(), stage::free_port());
        fs::write(directory.path().join("file"), "hello").unwrap();
        let mut command = Command::new(PYTHON);
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()]);
        command.current_dir(directory.path()).envs(environment.iter().copied()).uid(uid).gid(uid);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let program = Program::start(&mut command);
        wait_until("Python's server", Duration::from_secs(20), || Connection::open(port).ok());
        Some(Self { port, program, _directory: directory })
    }

    fn ask(&self, path: &str) {
        Connection::open(self.port).unwrap().ask("GET", path, 0).unwrap();
    }

    fn ask_often(&self, path: &str) {
        for _ in 0..ASKS {
            self.ask(path);
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn pid(&self) -> u32 {
        self.program.child.id()
    }
}

fn has_server_span(agent: &Agent, prefix: &str) -> bool {
    agent.spans().iter().any(|span| span.is_server && span.path.starts_with(prefix))
}

/// Asks `server` until it is observed: whatever else could have been by then was, too.
fn wait_until_told(agent: &Agent, server: &Plain, path: &str) {
    wait_until("a span of who may be observed", TOLD, || {
        server.ask(path);
        has_server_span(agent, path).then_some(())
    });
}

#[test]
fn a_process_of_another_uid_is_not_observed_and_its_user_is_told_why() {
    let name = "a_process_of_another_uid_is_not_observed_and_its_user_is_told_why";
    let Some(_machine) = guard(name) else { return };
    let policy = Policy::new(&format!("uids = [{NOBODY}]\n"));
    let Some(ours) = Plain::start(name, NOBODY, &[]) else { return };
    let Some(other) = Plain::start(name, 0, &[]) else { return };
    let agent = Agent::start(&policy.options());
    wait_until_told(&agent, &ours, "/file");
    other.ask_often("/secret");
    wait_until_told(&agent, &ours, "/later");
    assert!(!has_server_span(&agent, "/secret"), "root is not permitted");
    let metrics = agent.scrape();
    let denied = metrics.sum("ratatosk_records_dropped_total", &["reason=\"policy_denied\""]);
    assert!(denied > 0.0, "the kernel counts what it held back");
    let line = agent.log_line(&format!("pid={}", other.pid()));
    assert!(line.contains("does not permit") || line.contains("denied_by_policy"), "{line}");
    let warning = agent.log_line("The loader's policy does not permit to observe this process");
    assert!(warning.contains(&format!("uids = [{NOBODY}]")), "{warning}");
    agent.stop();
}

#[test]
fn an_executable_beside_the_policy_is_not_observed() {
    let name = "an_executable_beside_the_policy_is_not_observed";
    let Some(_machine) = guard(name) else { return };
    let Some(python) = Plain::start(name, 0, &[]) else { return };
    let exe = fs::read_link(format!("/proc/{}/exe", python.pid())).unwrap();
    let policy = Policy::new(&format!("executables = [{exe:?}]\n"));
    let nginx = Server::nginx();
    let agent = Agent::start(&policy.options());
    wait_until_told(&agent, &python, "/file");
    for _ in 0..ASKS {
        nginx.connect().ask("GET", "/r/secret", 0).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    wait_until_told(&agent, &python, "/later");
    assert!(!has_server_span(&agent, "/r/secret"));
    let warning = agent.log_line("The loader's policy does not permit to observe this process");
    assert!(warning.contains("nginx") && warning.contains("executables = "), "{warning}");
    agent.stop();
}

#[test]
fn a_port_beside_the_policy_is_not_observed() {
    let name = "a_port_beside_the_policy_is_not_observed";
    let Some(_machine) = guard(name) else { return };
    let (Some(ours), Some(other)) = (Plain::start(name, 0, &[]), Plain::start(name, 0, &[])) else { return };
    let policy = Policy::new(&format!("ports = [{}]\n", ours.port));
    let agent = Agent::start(&policy.options());
    wait_until_told(&agent, &ours, "/file");
    other.ask_often("/secret");
    wait_until_told(&agent, &ours, "/later");
    assert!(!has_server_span(&agent, "/secret"));
    let warning = agent.log_line("The loader's policy does not permit all that was asked for");
    assert!(warning.contains("ports = "), "{warning}");
    agent.stop();
}

#[test]
fn no_call_is_captured_wider_than_the_policy_says() {
    const WIDTH: u32 = 64;
    let name = "no_call_is_captured_wider_than_the_policy_says";
    let Some(_machine) = guard(name) else { return };
    let policy = Policy::new(&format!("turn_bytes = {WIDTH}\ncall_bytes = {WIDTH}\n"));
    let Some(server) = Plain::start(name, 0, &[]) else { return };
    let agent = Agent::start(&policy.options().with("RATATOSK_TURN_BYTES", 4096));
    agent.wait_for_log("Policy permits less than was asked for");
    let path = format!("/{}", "x".repeat(500));
    // the self-test's calls are shorter than any bound
    let metrics = wait_until("a call that was cut", TOLD, || {
        server.ask(&path);
        let metrics = agent.scrape();
        let sum = |name: &str| metrics.sum(name, &[]);
        let is_cut = sum("ratatosk_original_bytes_total") > sum("ratatosk_captured_bytes_total") + 1000.0;
        is_cut.then(|| metrics.clone())
    });
    let calls = metrics.sum("ratatosk_records_produced_total", &["kind=\"chunk\""]);
    let captured = metrics.sum("ratatosk_captured_bytes_total", &[]);
    // the kernel's counter may be ahead of what was taken from its ring by the calls of a moment
    assert!(captured <= (calls + 16.0) * f64::from(WIDTH), "{captured} bytes of {calls} calls");
    agent.stop();
}

#[test]
fn a_policy_that_others_can_write_or_that_means_nothing_ends_the_agent() {
    let name = "a_policy_that_others_can_write_or_that_means_nothing_ends_the_agent";
    let Some(_machine) = guard(name) else { return };
    for (text, mode, code, says) in [
        ("uids = [0]\n", 0o666, 77, "chmod go-w"),
        ("uid = [0]\n", 0o644, 64, "unknown field `uid`"),
        ("families = [\"inet\"]\n", 0o644, 64, "not permitted by the policy"),
    ] {
        let policy = Policy::new(text);
        fs::set_permissions(&policy.path, Permissions::from_mode(mode)).unwrap();
        let mut agent = Agent::spawn(&policy.options().with("RATATOSK_TIER", "socket"));
        assert_eq!(agent.exit_code(), Some(code), "{}", agent.stderr().join("\n"));
        assert!(agent.stderr().iter().any(|line| line.contains(says)), "{}", agent.stderr().join("\n"));
    }
    let missing = Options::default().with("RATATOSK_POLICY", "/none/policy.toml");
    assert_eq!(Agent::spawn(&missing).exit_code(), Some(64));
}

#[test]
fn the_policy_is_shown_as_it_is_in_force() {
    let Some(_machine) = guard("the_policy_is_shown_as_it_is_in_force") else { return };
    let policy = Policy::new("uids = [33]\ncgroups = [\"/none-such\"]\n");
    let output = Command::new(stage::binary("ratatosk-loader")).arg("policy").arg(&policy.path).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for line in ["uids = [33]", "executables: no bound", "cgroup /none-such does not exist now"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_service_is_named_by_its_environment_and_shown_with_its_language() {
    let name = "a_service_is_named_by_its_environment_and_shown_with_its_language";
    let Some(_machine) = guard(name) else { return };
    let environment = [("OTEL_SERVICE_NAME", "till"), ("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=eu")];
    let (Some(named), Some(plain)) = (Plain::start(name, NOBODY, &environment), Plain::start(name, 0, &[]))
    else {
        return;
    };
    let nginx = Server::nginx();
    let agent = Agent::start(&Options::default().with("OTEL_EBPF_TRACE_PRINTER", "text"));
    let told = |what: &str, ask: &dyn Fn()| {
        wait_until(what, TOLD, || {
            ask();
            agent.stdout().iter().any(|line| line.contains(what)).then_some(())
        });
    };
    told("svc=[eu/till python]", &|| named.ask("/named"));
    let python = fs::read_link(format!("/proc/{}/exe", plain.pid())).unwrap();
    told(&format!("svc=[{} python]", python.file_name().unwrap().to_string_lossy()), &|| plain.ask("/file"));
    told("svc=[nginx generic]", &|| drop(nginx.connect().ask("GET", "/r/x", 0).unwrap()));
    let other = agent
        .stdout()
        .into_iter()
        .find(|line| line.contains("/named") && !line.contains("svc=[eu/till python]"));
    assert_eq!(other, None, "no span was told before its name was known");
    agent.stop();
}

#[test]
fn nothing_is_looked_into_where_the_policy_says_so() {
    let name = "nothing_is_looked_into_where_the_policy_says_so";
    let Some(_machine) = guard(name) else { return };
    let policy = Policy::new("examine = false\n");
    let Some(server) = Plain::start(name, 0, &[("OTEL_SERVICE_NAME", "till")]) else { return };
    let agent = Agent::start(&policy.options().with("OTEL_EBPF_TRACE_PRINTER", "text"));
    wait_until("spans", TOLD, || {
        server.ask("/file");
        (agent.stdout().len() > ASKS).then_some(())
    });
    let found =
        agent.stdout().into_iter().find(|line| line.contains("svc=[till") || line.contains(" python]"));
    assert_eq!(found, None, "named by its executable, and no language");
    agent.stop();
}
