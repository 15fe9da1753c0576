//! Start, discovery, restart and end.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use nix::sys::signal::Signal;
use ratatosk_integration::{
    Agent, Options,
    accounts::Accounts,
    guard,
    process::{only, signal},
    server::Server,
    wait_until,
};
use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(15);

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
    agent.wait_until_observed(&server);
    server.connect().ask("GET", "/r/later", 0).unwrap();
    assert_eq!(agent.server_rows("/r/later", 1), server.rows("/r/later", 1));
    agent.stop();
}

#[test]
fn what_is_not_selected_is_not_told() {
    let Some(_machine) = guard("what_is_not_selected_is_not_told") else { return };
    let (chosen, other) = (Server::nginx(), Server::python());
    let agent = Agent::observing(&chosen, &Options::none().with("BEYLA_OPEN_PORT", chosen.port));
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
    let agent = Agent::observing(
        &python,
        &Options::none().with("BEYLA_OPEN_PORT", ports).with("BEYLA_AUTO_TARGET_EXE", "*/python3*"),
    );
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
    let agent = Agent::observing(&server, &Options::none().with("BEYLA_TARGET_PID", server.pid()));
    agent.stop();
}

#[test]
fn a_processor_that_is_killed_restarts_alone_and_tells_nothing_twice() {
    let Some(_machine) = guard("a_processor_that_is_killed_restarts_alone_and_tells_nothing_twice") else {
        return;
    };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let (loader, processor) = (agent.attacher(), agent.processes("ratatosk"));
    signal(only(&processor), Signal::SIGKILL);
    wait_until("another processor", PATIENCE, || {
        let now = agent.processes("ratatosk");
        (!now.is_empty() && now != processor).then_some(())
    });
    let mut connection = server.connect();
    wait_until("a span of the new processor", PATIENCE, || {
        connection.ask("GET", "/r/reborn", 0).unwrap();
        agent.spans().iter().any(|span| span.path == "/r/reborn").then_some(())
    });
    assert_eq!(agent.attacher(), loader, "the loader keeps its pid");
    let ids: Vec<_> = agent.spans().into_iter().map(|span| (span.trace_id, span.span_id)).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "a span was told twice");
    agent.stop();
}

#[test]
fn a_loader_that_is_killed_restarts_alone() {
    let Some(_machine) = guard("a_loader_that_is_killed_restarts_alone") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let (loader, processor) = (agent.attacher(), agent.processes("ratatosk"));
    signal(only(&loader), Signal::SIGKILL);
    let mut connection = server.connect();
    wait_until("a span through the new loader", PATIENCE, || {
        connection.ask("GET", "/r/reloaded", 0).unwrap();
        agent.spans().iter().any(|span| span.path == "/r/reloaded").then_some(())
    });
    assert_ne!(agent.attacher(), loader);
    assert_eq!(agent.processes("ratatosk"), processor, "the processor keeps its pid");
    agent.stop();
}

#[test]
fn every_record_is_accounted_for() {
    let Some(_machine) = guard("every_record_is_accounted_for") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let mut connection = server.connect();
    for number in 0..500 {
        connection.ask("GET", &format!("/r/count-{number}"), 0).unwrap();
    }
    assert_eq!(agent.server_rows("/r/count-", 500).len(), 500);
    let accounts = Accounts::of_settled(&agent);
    assert!(accounts.produced >= 1000.0, "both records of every request: {accounts:?}");
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
        agent.wait_until_observed(server);
        for number in 0..30 {
            server.connect().ask("GET", &format!("{prefix}{number}"), 0).unwrap();
        }
        assert_eq!(agent.server_rows(prefix, 30), server.rows(prefix, 30));
    }
    agent.stop();
}
