//! Start, discovery, restart and end.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ratatosk_integration::{Agent, Options, guard, server::Server, wait_until};
use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(15);

fn kill_one(pids: &[u32]) {
    let [pid] = pids else { panic!("one process expected: {pids:?}") };
    kill(Pid::from_raw(i32::try_from(*pid).unwrap()), Signal::SIGKILL).unwrap();
}

/// The loader's main process: the child of the launcher, not one of its forks.
fn attacher(agent: &Agent) -> Vec<u32> {
    let is_child_of_launcher = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains(&format!("PPid:\t{}\n", agent.pid()))
    };
    agent.processes("ratatosk-loader").into_iter().filter(is_child_of_launcher).collect()
}

fn asks(server: &Server) -> impl FnMut(&str) {
    |path| {
        server.connect().ask("GET", path, 0).unwrap();
    }
}

#[test]
fn the_demo_is_seen_within_a_second_of_ready() {
    let Some(_machine) = guard("the_demo_is_seen_within_a_second_of_ready") else { return };
    let started = Instant::now();
    let agent = Agent::spawn(&Options::none());
    agent.wait_for_log("ready:");
    let ready = Instant::now();
    assert!(ready - started < Duration::from_secs(5), "ready after {:?}", ready - started);
    wait_until("the first span of the demo", PATIENCE, || (!agent.stdout().is_empty()).then_some(()));
    // One pause of the demo's visitor is half a second; the machine may be busy with a build.
    assert!(ready.elapsed() < Duration::from_secs(3), "first span {:?} after ready", ready.elapsed());
    wait_until("both sides of a call", PATIENCE, || {
        let spans = agent.spans();
        (spans.iter().any(|span| span.is_server) && spans.iter().any(|span| !span.is_server)).then_some(())
    });
    let ours = |path: &str| {
        ["/cart", "/checkout", "/products", "/stock", "/payments"].iter().any(|p| path.starts_with(p))
    };
    assert!(agent.spans().iter().all(|span| ours(&span.path)), "only the demo is watched");
    agent.stop();
}

#[test]
fn a_server_that_starts_later_is_seen_from_its_first_requests() {
    let Some(_machine) = guard("a_server_that_starts_later_is_seen_from_its_first_requests") else { return };
    let agent = Agent::start(&Options::default());
    let server = Server::nginx();
    agent.wait_until_observing(asks(&server));
    server.connect().ask("GET", "/r/later", 0).unwrap();
    assert_eq!(agent.server_rows("/r/later", 1), server.rows("/r/later", 1));
    agent.stop();
}

#[test]
fn what_is_not_selected_is_not_told() {
    let Some(_machine) = guard("what_is_not_selected_is_not_told") else { return };
    let (chosen, other) = (Server::nginx(), Server::python());
    let agent = Agent::start(&Options::none().with("BEYLA_OPEN_PORT", chosen.port));
    agent.wait_until_observing(asks(&chosen));
    other.connect().ask("GET", "/r/other", 0).unwrap();
    chosen.connect().ask("GET", "/r/chosen", 0).unwrap();
    assert_eq!(agent.server_rows("/r/chosen", 1).len(), 1);
    assert!(agent.spans().iter().all(|span| span.path != "/r/other"));
    agent.stop();
}

#[test]
fn port_and_executable_must_both_hold() {
    let Some(_machine) = guard("port_and_executable_must_both_hold") else { return };
    let (nginx, python) = (Server::nginx(), Server::python());
    let ports = format!("{},{}", nginx.port, python.port);
    let agent = Agent::start(
        &Options::none().with("BEYLA_OPEN_PORT", ports).with("BEYLA_AUTO_TARGET_EXE", "*/python3*"),
    );
    agent.wait_until_observing(asks(&python));
    nginx.connect().ask("GET", "/r/nginx", 0).unwrap();
    python.connect().ask("GET", "/r/python", 0).unwrap();
    assert_eq!(agent.server_rows("/r/python", 1).len(), 1);
    assert!(agent.spans().iter().all(|span| span.path != "/r/nginx"));
    agent.stop();
}

#[test]
fn a_process_is_selected_by_its_pid() {
    let Some(_machine) = guard("a_process_is_selected_by_its_pid") else { return };
    let server = Server::python();
    let agent = Agent::start(&Options::none().with("BEYLA_TARGET_PID", server.pid()));
    agent.wait_until_observing(asks(&server));
    agent.stop();
}

#[test]
fn a_processor_that_is_killed_restarts_alone_and_tells_nothing_twice() {
    let Some(_machine) = guard("a_processor_that_is_killed_restarts_alone_and_tells_nothing_twice") else {
        return;
    };
    let server = Server::nginx();
    let agent = Agent::start(&Options::default());
    agent.wait_until_observing(asks(&server));
    let (loader, processor) = (attacher(&agent), agent.processes("ratatosk"));
    kill_one(&processor);
    wait_until("another processor", PATIENCE, || {
        let now = agent.processes("ratatosk");
        (!now.is_empty() && now != processor).then_some(())
    });
    let mut connection = server.connect();
    wait_until("a span of the new processor", PATIENCE, || {
        connection.ask("GET", "/r/reborn", 0).unwrap();
        agent.spans().iter().any(|span| span.path == "/r/reborn").then_some(())
    });
    assert_eq!(attacher(&agent), loader, "the loader keeps its pid");
    let ids: Vec<_> = agent.spans().into_iter().map(|span| (span.trace_id, span.span_id)).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "a span was told twice");
    agent.stop();
}

#[test]
fn a_loader_that_is_killed_restarts_alone() {
    let Some(_machine) = guard("a_loader_that_is_killed_restarts_alone") else { return };
    let server = Server::nginx();
    let agent = Agent::start(&Options::default());
    agent.wait_until_observing(asks(&server));
    let (loader, processor) = (attacher(&agent), agent.processes("ratatosk"));
    kill_one(&loader);
    let mut connection = server.connect();
    wait_until("a span through the new loader", PATIENCE, || {
        connection.ask("GET", "/r/reloaded", 0).unwrap();
        agent.spans().iter().any(|span| span.path == "/r/reloaded").then_some(())
    });
    assert_ne!(attacher(&agent), loader);
    assert_eq!(agent.processes("ratatosk"), processor, "the processor keeps its pid");
    agent.stop();
}

#[test]
fn every_record_is_accounted_for() {
    let Some(_machine) = guard("every_record_is_accounted_for") else { return };
    let server = Server::nginx();
    let agent = Agent::start(&Options::default());
    agent.wait_until_observing(asks(&server));
    let mut connection = server.connect();
    for number in 0..500 {
        connection.ask("GET", &format!("/r/count-{number}"), 0).unwrap();
    }
    assert_eq!(agent.server_rows("/r/count-", 500).len(), 500);
    wait_until("produced = acknowledged + dropped + held", PATIENCE, || {
        let metrics = agent.scrape();
        let sum = |name: &str, labels: &[&str]| metrics.sum(name, labels);
        let produced = sum("ratatosk_records_produced_total", &[]);
        let dropped = sum("ratatosk_records_dropped_total", &["stage=\"server\""]);
        let known =
            sum("ratatosk_records_acknowledged_total", &[]) + dropped + sum("ratatosk_records_held", &[]);
        (produced >= 1000.0 && (produced - known).abs() < 0.5).then_some(())
    });
    agent.stop();
}

#[test]
fn the_agent_never_observes_itself() {
    let Some(_machine) = guard("the_agent_never_observes_itself") else { return };
    let agent = Agent::start(&Options::none().with("BEYLA_AUTO_TARGET_EXE", "*/ratatosk*"));
    // scrapes are requests to the processor, which the pattern matches
    for _ in 0..20 {
        let _ = agent.scrape();
    }
    thread::sleep(Duration::from_millis(1_500));
    let of_agent = agent.spans().into_iter().filter(|span| span.path == "/metrics" && span.is_server);
    assert_eq!(of_agent.count(), 0);
    agent.stop();
}

#[test]
fn forked_workers_are_observed_as_their_parent() {
    let Some(_machine) = guard("forked_workers_are_observed_as_their_parent") else { return };
    // once the workers exist before the agent, once they are forked while it looks
    let early = Server::prefork();
    let agent = Agent::start(&Options::default());
    let late = Server::prefork();
    for (server, prefix) in [(&early, "/early/"), (&late, "/late/")] {
        agent.wait_until_observing(asks(server));
        for number in 0..30 {
            server.connect().ask("GET", &format!("{prefix}{number}"), 0).unwrap();
        }
        assert_eq!(agent.server_rows(prefix, 30), server.rows(prefix, 30));
    }
    agent.stop();
}
