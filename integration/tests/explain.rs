//! `ratatosk explain` and health checks of the whole agent.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use nix::sys::signal::Signal;
use ratatosk_integration::{
    Agent, Options,
    client::{self, Connection},
    guard,
    process::{only, signal},
    server::Server,
    stage::{self, Program},
    wait_until,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        net::UnixDatagram,
        process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// `nobody`: neither root nor the processor's user.
const STRANGER: u32 = 65_534;
/// Users of the two sides where no launcher makes them.
const LOADER: u32 = 64_100;
const PROCESSOR: u32 = 64_101;

/// The socket that the agent's processor answers on.
fn socket(agent: &Agent) -> PathBuf {
    let loaders = agent.socket().parent().unwrap().to_owned();
    loaders.with_file_name("run-processor").join("explain.sock")
}

/// `ratatosk explain`, found as a user's is: by the variable that the agent was started with.
fn explain(agent: &Agent, arguments: &[&str]) -> Command {
    let mut command = Command::new(stage::binary("ratatosk"));
    command.arg("explain").args(arguments).env_clear().env("RATATOSK_SOCKET", agent.socket());
    command
}

fn output(mut command: Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn json(agent: &Agent, arguments: &[&str]) -> Value {
    let output = output(explain(agent, &[&["--json"], arguments].concat()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The row of a process, once the loader announced it.
fn row(agent: &Agent, pid: u32) -> Value {
    wait_until("the process to be explained", PATIENCE, || {
        let report = json(agent, &[]);
        let rows = report["processes"].as_array().unwrap();
        rows.iter().find(|row| row["pid"] == pid && row["state"] != "undecided").cloned()
    })
}

/// Status and text of a health check.
fn check(port: u16, path: &str) -> Option<(u16, String)> {
    let mut connection = Connection::open(port).ok()?;
    connection.send(client::get(path).as_bytes()).ok()?;
    let response = connection.response("GET").ok()?;
    Some((response.status, String::from_utf8_lossy(&response.body).into_owned()))
}

/// The attacher and its server.
fn loaders(agent: &Agent) -> [u32; 2] {
    [only(&agent.attacher()), agent.serving()]
}

#[test]
fn every_process_is_explained_with_the_setting_that_decided() {
    let Some(_machine) = guard("every_process_is_explained_with_the_setting_that_decided") else { return };
    let (nginx, python) = (Server::nginx(), Server::python());
    let agent = Agent::observing(&nginx, &Options::none().with("OTEL_EBPF_OPEN_PORT", nginx.port));

    let setting = format!("OTEL_EBPF_OPEN_PORT={}", nginx.port);
    let master = row(&agent, nginx.pid());
    assert_eq!(
        (&master["detail"], &master["service"]),
        (&setting.clone().into(), &"nginx".into()),
        "{master}"
    );
    assert_eq!(master["ports"][0], nginx.port);

    let report = json(&agent, &[]);
    let rows = report["processes"].as_array().unwrap();
    assert_eq!(report["total"], rows.len());
    let worker = rows.iter().find(|row| row["state"] == "observed").expect("a worker answered");
    assert_eq!(worker["service"], "nginx", "observed ones come first: {worker}");
    assert!(worker["exchanges"].as_u64().unwrap() > 0, "{worker}");
    assert_eq!(worker["pid"], rows[0]["pid"]);
    assert_eq!(report["selectors"][0]["value"], nginx.port.to_string());
    assert_eq!(
        (&report["loader"]["is_ready"], &report["tiers"][0]["name"]),
        (&true.into(), &"socket".into())
    );
    let at_work = report["tiers"].as_array().unwrap().iter().filter(|tier| tier["state"] == "at_work");
    assert_eq!(at_work.count(), 1, "{}", report["tiers"]);

    let other = row(&agent, python.pid());
    assert_eq!((&other["state"], &other["reason"]), (&"not_selected".into(), &"port".into()), "{other}");
    assert_eq!(other["detail"], format!("listens on none of {setting}"));

    // Readers come and go: those that live are looked for in an answer of the same moment.
    wait_until("all of the agent to be its own", PATIENCE, || {
        let report = json(&agent, &[]);
        let rows = report["processes"].as_array().unwrap();
        let own: Vec<_> =
            rows.iter().filter(|row| row["state"] == "own").map(|row| row["pid"].as_u64()).collect();
        let mut all = agent.processes("ratatosk").into_iter().chain(loaders(&agent));
        all.all(|pid| own.contains(&Some(pid.into()))).then_some(())
    });
    agent.stop();
}

#[test]
fn the_metric_counts_what_explain_lists() {
    let Some(_machine) = guard("the_metric_counts_what_explain_lists") else { return };
    let python = Server::python();
    let agent = Agent::observing(&python, &Options::none().with("BEYLA_TARGET_PID", python.pid()));
    wait_until("one process by its pid", PATIENCE, || {
        let metrics = agent.scrape();
        let observed = metrics.sum("ratatosk_processes", &["state=\"observed\"", "reason=\"selector\""]);
        let missed = metrics.sum("ratatosk_processes", &["state=\"not_selected\"", "reason=\"pid\""]);
        ((observed - 1.0).abs() < 0.5 && missed > 0.5).then_some(())
    });
    let row = row(&agent, python.pid());
    assert_eq!(row["detail"], format!("BEYLA_TARGET_PID={}", python.pid()));
    agent.stop();
}

#[test]
fn one_process_is_explained_in_sentences() {
    let Some(_machine) = guard("one_process_is_explained_in_sentences") else { return };
    let (nginx, python) = (Server::nginx(), Server::python());
    let agent = Agent::start(&Options::none().with("BEYLA_OPEN_PORT", nginx.port));
    let _known = row(&agent, python.pid());
    let output = output(explain(&agent, &[&python.pid().to_string()]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("It is not selected"), "{text}");
    let port = python.port;
    assert!(text.contains(&format!("To observe it, add {port} to BEYLA_OPEN_PORT")), "{text}");
    // pid 2 is the kernel's own
    let output = self::output(explain(&agent, &["2"]));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(69) && text.contains("kernel thread"), "{text}");
    agent.stop();
}

#[test]
fn another_user_may_not_ask() {
    let Some(_machine) = guard("another_user_may_not_ask") else { return };
    let agent = Agent::start(&Options::default());
    let socket = socket(&agent);
    let metadata = fs::metadata(&socket).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    let directory = stage::directory();
    let program = directory.path().join("ratatosk");
    fs::copy(stage::binary("ratatosk"), &program).unwrap();
    let ask_as = |uid: u32, gid: u32| {
        let mut command = Command::new(&program);
        command.args(["explain", "--socket"]).arg(&socket).env_clear().current_dir("/").uid(uid).gid(gid);
        output(command)
    };
    let refused = ask_as(STRANGER, STRANGER);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(77), "{text}");
    assert!(text.contains("no permission") && text.contains("sudo"), "{text}");
    assert!(refused.stdout.is_empty());
    let own = ask_as(metadata.uid(), metadata.gid());
    assert!(own.status.success(), "{}", String::from_utf8_lossy(&own.stderr));
    agent.stop();
}

#[test]
fn without_a_processor_it_says_so() {
    let name = "without_a_processor_it_says_so";
    let Some(_machine) = guard(name) else { return };
    let agent = Agent::start(&Options::default());
    let (socket, loaders) = (socket(&agent), agent.socket());
    let ask = |socket: &PathBuf| {
        let mut command = Command::new(stage::binary("ratatosk"));
        command.args(["explain", "--socket"]).arg(socket).env_clear();
        let output = output(command);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = ask(&loaders);
    assert!(code == Some(69) || code == Some(77), "{code:?} {text}");
    assert!(text.contains("loader's socket") || text.contains("no permission"), "{text}");
    agent.stop();
    let (code, text) = ask(&socket);
    assert!(code == Some(69) && text.contains("no processor runs"), "{code:?} {text}");
}

#[test]
fn it_is_ready_while_it_is_connected_and_alive_throughout() {
    let Some(_machine) = guard("it_is_ready_while_it_is_connected_and_alive_throughout") else { return };
    let port = stage::free_port();
    let agent = Agent::start(&Options::default().with("OTEL_EBPF_HEALTH_CHECK_PORT", port));
    let is_ready = |wanted: u16| {
        wait_until(&format!("readiness {wanted}"), PATIENCE, || {
            check(port, "/readyz").filter(|(status, _)| *status == wanted)
        })
    };
    assert!(is_ready(200).1.starts_with("ready, tier "));
    // A stopped server of the loader: connected, but silent.
    let [attacher, server] = loaders(&agent);
    signal(server, Signal::SIGSTOP);
    let (_, why) = is_ready(503);
    signal(server, Signal::SIGCONT);
    assert!(why.contains("silent") && why.trim_end().lines().count() == 1, "{why}");
    is_ready(200);
    // And one that is killed: the line breaks, another server comes.
    let processor = agent.processes("ratatosk");
    signal(attacher, Signal::SIGKILL);
    let (_, why) = is_ready(503);
    assert!(why.starts_with("not connected to the loader") || why.starts_with("the loader"), "{why}");
    let status = json(&agent, &[])["loader"]["status"].clone();
    assert!(status.is_string(), "it explains meanwhile");
    assert_eq!(check(port, "/healthz"), Some((200, "alive\n".to_owned())));
    is_ready(200);
    assert_eq!(agent.processes("ratatosk"), processor, "the processor lived on");
    agent.stop();
}

#[test]
fn both_sides_can_log_json() {
    let Some(_machine) = guard("both_sides_can_log_json") else { return };
    let options = Options::default().with("OTEL_EBPF_LOG_FORMAT", "json").with("RATATOSK_LOG_FORMAT", "json");
    let agent = Agent::spawn(&options);
    let line = agent.log_line("Connected to the loader");
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&event["level"], &event["message"]),
        (&"INFO".into(), &"Connected to the loader".into()),
        "{event}"
    );
    let line = agent.log_line("\"ready\"");
    let event: Value = serde_json::from_str(&line).unwrap();
    assert!(event["tier"].is_string(), "{event}");
    for line in agent.stderr() {
        assert!(line.starts_with('{') || line.starts_with("ratatosk-loader: "), "{line}");
    }
    agent.stop();
}

/// Binds a socket as systemd's, which both sides may write to.
fn notify_socket(directory: &std::path::Path, name: &str) -> (UnixDatagram, PathBuf) {
    let path = directory.join(name);
    let socket = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (socket, path)
}

/// Reads until a message has a line that begins with `wanted`, and gives all lines up to there.
fn told(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut buffer = [0; 4096];
    while !lines.iter().any(|line| line.starts_with(wanted)) {
        let bytes =
            socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error} after {lines:?}"));
        lines.extend(String::from_utf8_lossy(&buffer[..bytes]).lines().map(str::to_owned));
    }
    lines
}

#[test]
fn systemd_is_told_when_each_side_is_ready() {
    let Some(_machine) = guard("systemd_is_told_when_each_side_is_ready") else { return };
    let directory = stage::directory();
    let path = directory.path();
    let binary = |name: &str| {
        fs::copy(stage::binary(name), path.join(name)).unwrap();
        path.join(name)
    };
    let (loader, processor) = (binary("ratatosk-loader"), binary("ratatosk"));
    let ((to_loader, loader_path), (to_processor, processor_path)) =
        (notify_socket(path, "loader.notify"), notify_socket(path, "processor.notify"));
    let home = |name: &str, uid: u32| {
        fs::create_dir(path.join(name)).unwrap();
        chown(path.join(name), Some(uid), Some(PROCESSOR)).unwrap();
        path.join(name)
    };
    let (agent, explain) = (home("agent", LOADER), home("own", PROCESSOR));
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o750)).unwrap();
    let port = stage::free_port();

    let mut command = Command::new(&processor);
    command.env_clear().uid(PROCESSOR).gid(PROCESSOR).current_dir("/").stderr(Stdio::null());
    command.env("RATATOSK_SOCKET", agent.join("agent.sock"));
    command.env("RATATOSK_EXPLAIN_SOCKET", explain.join("explain.sock"));
    command.env("BEYLA_OPEN_PORT", port.to_string()).env("BEYLA_TRACE_PRINTER", "disabled");
    command.env("NOTIFY_SOCKET", &processor_path).env("WATCHDOG_USEC", "3000000");
    let _processor = Program::start(&mut command);
    let before = told(&to_processor, "WATCHDOG=1");
    assert!(before.iter().any(|line| line.starts_with("STATUS=not connected to the loader")), "{before:?}");
    assert!(!before.contains(&"READY=1".to_owned()), "there is no loader yet: {before:?}");

    let mut command = Command::new(&loader);
    command.arg("become").arg(format!("--uid={LOADER}")).arg(format!("--gid={PROCESSOR}"));
    command.arg("--powers=loader").arg(format!("--parent={}", std::process::id()));
    command.arg("--").arg(&loader).arg("run").arg("--socket").arg(agent.join("agent.sock"));
    command.arg(format!("--processor-uid={PROCESSOR}")).env_clear().stderr(Stdio::null());
    command.envs(std::env::var_os("RATATOSK_TIER").map(|tier| ("RATATOSK_TIER", tier)));
    command.env("NOTIFY_SOCKET", &loader_path).env("WATCHDOG_USEC", "3000000");
    let _loader = Program::start(&mut command);
    let said = told(&to_loader, "READY=1");
    assert!(!said.iter().any(|line| line == "WATCHDOG=1"), "alive only once it serves: {said:?}");
    told(&to_loader, "WATCHDOG=1");
    let said = told(&to_processor, "READY=1");
    let status = said
        .iter()
        .chain(&told(&to_processor, "WATCHDOG=1"))
        .any(|line| line.starts_with("STATUS=ready, tier "));
    assert!(status, "{said:?}");
}
