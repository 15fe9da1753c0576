//! Whatever dies or stalls: nothing is told twice, nothing is lost uncounted, and the observed server never notices.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use nix::sys::signal::Signal;
use ratatosk_integration::{
    Agent, Options, Span,
    accounts::Accounts,
    guard,
    load::{Load, Sent},
    process::{anonymous_bytes, only, signal},
    server::Server,
    wait_until,
};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(15);
/// A side that died is back by then.
const BACK: Duration = Duration::from_secs(3);
const RATE: u32 = 2_000;

/// A process that died may have left half a line, with another one's first line behind it.
fn told(agent: &Agent, prefix: &str) -> Vec<String> {
    let lines = agent.stdout();
    let whole = lines.iter().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    let spans = whole.flat_map(|line| Span::parse_line(line));
    spans.filter(|span| span.is_server && span.path.starts_with(prefix)).map(|span| span.path).collect()
}

fn assert_told_once(told: &[String]) {
    let distinct: BTreeSet<&String> = told.iter().collect();
    assert_eq!(distinct.len(), told.len(), "a request was told twice");
}

/// Requests that were sent and not told. Waits for those that may still come.
fn untold(agent: &Agent, prefix: &str, sent: &[Sent]) -> Vec<Sent> {
    let mut missing = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let told: BTreeSet<String> = told(agent, prefix).into_iter().collect();
        missing.clear();
        missing.extend(sent.iter().filter(|sent| !told.contains(&sent.path)).cloned());
        if missing.is_empty() || Instant::now() > deadline {
            return missing;
        }
        thread::sleep(Duration::from_millis(300));
    }
}

fn connections(agent: &Agent) -> usize {
    agent.stderr().iter().filter(|line| line.contains("Connected to the loader")).count()
}

#[test]
fn a_processor_killed_under_load_comes_back_and_tells_nothing_twice() {
    let Some(_machine) = guard("a_processor_killed_under_load_comes_back_and_tells_nothing_twice") else {
        return;
    };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let loader = agent.attacher();
    let load = Load::start(server.port, "kill", RATE);
    let mut returns = Vec::new();
    for round in 1..=2 {
        thread::sleep(Duration::from_secs(1));
        let died = Instant::now();
        signal(only(&agent.processes("ratatosk")), Signal::SIGKILL);
        wait_until("the processor to be back", PATIENCE, || (connections(&agent) > round).then_some(()));
        assert!(died.elapsed() < BACK, "back after {:?}", died.elapsed());
        returns.push((died, Instant::now()));
    }
    thread::sleep(Duration::from_secs(1));
    let sent = load.stop();
    assert!(sent.iter().all(|sent| sent.is_answered), "a request of the observed server failed");
    let missing = untold(&agent, "/r/kill-", &sent);
    assert_told_once(&told(&agent, "/r/kill-"));
    // what a dead processor knew is lost; its successor tells all that was sent after it came
    let while_away =
        |sent: &Sent| returns.iter().any(|(died, back)| sent.at < *back && sent.at + BACK > *died);
    println!("{} of {} not told after two kills", missing.len(), sent.len());
    assert!(missing.iter().all(while_away), "not told: {:?}", missing.iter().find(|sent| !while_away(sent)));
    assert_eq!(agent.attacher(), loader, "the loader keeps its pid");
    let metrics = agent.scrape();
    assert_eq!(format!("{}", metrics.sum("ratatosk_streams_total", &[])), "3", "returns are counted");
    Accounts::of_settled(&agent).assert_balanced();
    agent.stop();
}

/// Ids of the programs that a process holds, of /proc/<pid>/fdinfo.
fn programs(pid: u32) -> BTreeSet<String> {
    let fds = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().flatten();
    let infos = fds.filter_map(|fd| fs::read_to_string(fd.path()).ok());
    infos
        .flat_map(|info| {
            info.lines().filter(|line| line.starts_with("prog_id")).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_server_killed_under_load_is_forked_again_over_the_same_probes() {
    let Some(_machine) = guard("a_server_killed_under_load_is_forked_again_over_the_same_probes") else {
        return;
    };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let (loader, before) = (only(&agent.attacher()), Accounts::of_settled(&agent));
    let probes = programs(loader);
    let load = Load::start(server.port, "fork", RATE);
    thread::sleep(Duration::from_secs(1));
    let (victim, died) = (agent.serving(), Instant::now());
    signal(victim, Signal::SIGKILL);
    wait_until("the processor to be connected again", PATIENCE, || (connections(&agent) > 1).then_some(()));
    let back = Instant::now();
    assert!(back - died < BACK, "back after {:?}", back - died);
    thread::sleep(Duration::from_secs(1));
    let sent = load.stop();
    assert!(sent.iter().all(|sent| sent.is_answered), "a request of the observed server failed");
    let missing = untold(&agent, "/r/fork-", &sent);
    assert_told_once(&told(&agent, "/r/fork-"));
    println!("{} of {} not told", missing.len(), sent.len());
    let late: Vec<_> = missing.iter().filter(|sent| sent.at > back).collect();
    assert!(late.is_empty(), "sent after the return and not told: {late:?}");
    assert_eq!((only(&agent.attacher()), programs(loader)), (loader, probes), "nothing was loaded again");
    let after = Accounts::of_settled(&agent);
    assert!(after.submitted > before.submitted, "the counters go on");
    assert_eq!(format!("{}", agent.scrape().sum("ratatosk_server_restarts_total", &[])), "1");
    agent.stop();
}

#[test]
fn an_attacher_killed_under_load_is_back_and_says_that_its_counters_begin_again() {
    let Some(_machine) =
        guard("an_attacher_killed_under_load_is_back_and_says_that_its_counters_begin_again")
    else {
        return;
    };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let processor = agent.processes("ratatosk");
    let load = Load::start(server.port, "attach", RATE);
    thread::sleep(Duration::from_secs(1));
    let died = Instant::now();
    signal(only(&agent.attacher()), Signal::SIGKILL);
    wait_until("the processor to be connected again", PATIENCE, || (connections(&agent) > 1).then_some(()));
    assert!(died.elapsed() < BACK, "back after {:?}", died.elapsed());
    // whom to observe is decided anew
    let told_before = told(&agent, "/r/attach-").len();
    wait_until("spans of the new loader", PATIENCE, || {
        (told(&agent, "/r/attach-").len() > told_before).then_some(())
    });
    let back = Instant::now();
    thread::sleep(Duration::from_secs(1));
    let sent = load.stop();
    assert!(sent.iter().all(|sent| sent.is_answered), "a request of the observed server failed");
    let missing = untold(&agent, "/r/attach-", &sent);
    assert_told_once(&told(&agent, "/r/attach-"));
    let late: Vec<_> = missing.iter().filter(|sent| sent.at > back).collect();
    assert!(late.is_empty(), "sent after the return and not told: {late:?}");
    agent.wait_for_log("its counters and those of the probes begin again");
    assert_eq!(agent.processes("ratatosk"), processor, "the processor keeps its pid");
    Accounts::of_settled(&agent).assert_balanced();
    agent.stop();
}

/// A queue of 8 MiB, twice for buffers that grow by doubling, and the records of the processes of the machine.
const STALLED_KB: u64 = 32 * 1024;
const STALL: Duration = Duration::from_secs(60);

#[test]
fn a_processor_stopped_for_a_minute_costs_only_what_is_counted() {
    let Some(_machine) = guard("a_processor_stopped_for_a_minute_costs_only_what_is_counted") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let processor = only(&agent.processes("ratatosk"));
    let before = Accounts::of_settled(&agent);
    let early = Load::start(server.port, "early", RATE);
    thread::sleep(Duration::from_secs(3));
    let early = early.stop();
    let between = Accounts::of_settled(&agent);
    signal(processor, Signal::SIGSTOP);
    let load = Load::start(server.port, "stall", RATE);
    let most_kb = watch_memory(&agent, STALL);
    let newcomer = Server::python();
    let sent = load.stop();
    signal(processor, Signal::SIGCONT);
    assert!(sent.iter().all(|sent| sent.is_answered), "a request of the observed server failed");
    assert!(most_kb < STALLED_KB, "the loader's server took {most_kb} kB");
    agent.wait_until_observed(&newcomer);
    let after = Accounts::of_settled(&agent);
    assert!(after.lost_records() > 0, "a minute fits into no queue");
    assert_told_once(&told(&agent, "/r/stall-"));
    let per_request = |accounts: &Accounts, since: &Accounts, requests: usize| {
        (accounts.submitted - since.submitted) / f64::from(u32::try_from(requests).unwrap())
    };
    let (calm, stalled) =
        (per_request(&between, &before, early.len()), per_request(&after, &between, sent.len()));
    println!(
        "records per request: {calm:.2} before, {stalled:.2} while stopped; {most_kb} kB; lost {:?}",
        after.lost
    );
    assert!(
        (calm - stalled).abs() < 0.2,
        "records per request: {calm:.2} before, {stalled:.2} while stopped"
    );
    let again = Load::start(server.port, "again", 200);
    thread::sleep(Duration::from_secs(1));
    let again = again.stop();
    assert!(untold(&agent, "/r/again-", &again).is_empty(), "all is told again");
    agent.stop();
}

fn watch_memory(agent: &Agent, span: Duration) -> u64 {
    let (pid, end) = (agent.serving(), Instant::now() + span);
    let mut most = 0;
    while Instant::now() < end {
        assert!(Path::new(&format!("/proc/{pid}")).exists(), "the loader's server died");
        most = most.max(anonymous_bytes(pid).expect("its memory") / 1024);
        thread::sleep(Duration::from_millis(500));
    }
    most
}

#[test]
fn a_flood_overruns_the_ring_of_data_and_not_that_of_control() {
    let Some(_machine) = guard("a_flood_overruns_the_ring_of_data_and_not_that_of_control") else { return };
    let server = Server::nginx();
    // room for some dozens of requests between two drains
    let agent = Agent::observing(&server, &Options::default().with("RATATOSK_RING_BYTES", 16 << 10));
    let mut open_before = server.connect();
    open_before.ask("GET", "/r/open", 0).unwrap();
    flood(&server);
    thread::sleep(Duration::from_millis(1_500));
    let lost = |reason: &str| {
        agent.scrape().sum("ratatosk_records_dropped_total", &[&format!("reason=\"{reason}\"")])
    };
    wait_until("the overrun to be counted", PATIENCE, || (lost("ring_full") > 100.0).then_some(()));
    assert_eq!(format!("{}", lost("control_ring_full")), "0");
    // resynchronised: on a connection of before and on new ones
    for number in 0..100 {
        open_before.ask("GET", &format!("/r/after-old-{number}"), 0).unwrap();
        server.connect().ask("GET", &format!("/r/after-new-{number}"), 0).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(agent.server_rows("/r/after-", 200), server.rows("/r/after-", 200));
    let flooded: Vec<String> = told(&agent, "/r/flood-");
    assert_told_once(&flooded);
    Accounts::of_settled(&agent).assert_balanced();
    agent.stop();
}

/// Four connections as fast as they go, for a second.
fn flood(server: &Server) {
    let end = Instant::now() + Duration::from_secs(1);
    thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || {
                let mut connection = server.connect();
                for number in 0.. {
                    connection.ask("POST", &format!("/r/flood-{client}-{number}"), 900).unwrap();
                    if Instant::now() > end {
                        return;
                    }
                }
            });
        }
    });
}
