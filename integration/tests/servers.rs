//! Servers of every language, unmodified: what the agent tells equals what went over the wire and what each logged itself.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{
    Agent, Options, Span, agent, guard,
    mixed::{REQUESTS, Seen},
    runtime::{COMPILED, JAVASCRIPT, Kind, PYTHON, Running, WEB},
    span::Row,
    stage,
    told::{self, Side, Sums},
    wait_until,
};
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Until the first request of each server is told.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between the wall clock of a client and what the agent makes of the kernel's: it compares both every ten seconds.
const CLOCK: Duration = Duration::from_millis(20);

/// One agent for all of `kinds`; what can't be had is skipped by name.
fn tell(test: &str, kinds: &[Kind]) {
    let Some(_machine) = guard(test) else { return };
    let start = |kind: &Kind| {
        kind.start().map_err(|reason| println!("skipped: {test}, {}: {reason}", kind.name)).ok()
    };
    let servers: Vec<_> = kinds.iter().filter_map(start).collect();
    if servers.is_empty() {
        return;
    }
    let agent = Agent::start(&Options::default());
    wait_until_observed(&agent, &servers);
    let seen: Vec<_> = servers.iter().map(Running::drive).collect();
    let failures: Vec<_> = servers
        .iter()
        .zip(&seen)
        .filter_map(|(server, seen)| compare_all(&agent, server, seen).err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    agent.assert_no_drops();
    agent.stop();
}

fn wait_until_observed(agent: &Agent, servers: &[Running]) {
    let mut number = 0;
    wait_until("the first span of each server", PATIENCE, || {
        number += 1;
        let spans = agent.spans();
        let is_told = |server: &&Running| spans.iter().any(|span| span.path.starts_with(&warm(server)));
        let untold: Vec<_> = servers.iter().filter(|server| !is_told(server)).collect();
        untold.iter().for_each(|server| server.ask(&format!("{}{number}", warm(server))));
        thread::sleep(Duration::from_millis(100));
        untold.is_empty().then_some(())
    });
}

fn warm(server: &Running) -> String {
    format!("/r/warm-{}-", server.kind.name)
}

fn compare_all(agent: &Agent, server: &Running, seen: &[Seen]) -> Result<(), String> {
    compare(agent, server, seen)?;
    compare_connections(agent, server, seen)?;
    compare_metrics(agent, server)?;
    let processes = compare_processes(agent, server)?;
    println!(
        "told: {}: {} requests, each once, with method, status, both sizes, port and time; {processes} {} processes",
        server.kind.name,
        seen.len(),
        server.kind.language,
    );
    Ok(())
}

/// Its own log against the client, then the spans against the wire.
fn compare(agent: &Agent, server: &Running, seen: &[Seen]) -> Result<(), String> {
    let name = server.kind.name;
    let own = format!("/{name}-");
    let ours = |mut rows: Vec<Row>| {
        rows.retain(|row| row.0.contains(&own));
        rows
    };
    let logged = server.rows(REQUESTS);
    // Where bytes came in chunks, logs differ in whether they count the framing.
    let known = |rows: &[Row]| -> Vec<Row> {
        let chunked: BTreeMap<_, _> = seen.iter().map(|seen| (&seen.wire.0, seen.is_chunked)).collect();
        let known = |row: &Row| {
            if chunked.get(&row.0) == Some(&true) {
                (row.0.clone(), row.1.clone(), row.2, 0, 0)
            } else {
                row.clone()
            }
        };
        rows.iter().map(known).collect()
    };
    let plain: Vec<_> = seen.iter().map(|seen| seen.plain.clone()).collect();
    differ(&format!("{name}: own log and client"), &known(&logged), &known(&plain))?;
    let wire: Vec<_> = seen.iter().map(|seen| seen.wire.clone()).collect();
    let told = wait_for(agent, &own, wire.len());
    differ(&format!("{name}: wire and spans"), &wire, &ours(told)).map_err(|difference| {
        format!("{difference} {:?}", agent.scrape().non_zero("ratatosk_exchanges_incomplete_total"))
    })?;
    Ok(())
}

/// Each span is of the connection that its request took, and within the time that its client measured.
fn compare_connections(agent: &Agent, server: &Running, seen: &[Seen]) -> Result<(), String> {
    let spans: BTreeMap<_, _> =
        server_spans(agent, server).into_iter().map(|of| (of.path.clone(), of)).collect();
    let micros = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    for Seen { wire, port, when, .. } in seen {
        let span = &spans[&wire.0];
        if span.peer_port != port.to_string() {
            return Err(format!("{}: its client had port {port}: {span:?}", wire.0));
        }
        let within = micros(*when.start() - CLOCK)..=micros(*when.end() + CLOCK);
        let is_within = within.contains(&u128::from(span.start_us)) && span.start_us <= span.end_us;
        if !is_within {
            return Err(format!("{}: was asked within {within:?}: {span:?}", wire.0));
        }
    }
    Ok(())
}

fn server_spans(agent: &Agent, server: &Running) -> Vec<Span> {
    let mut spans = agent.spans();
    spans.retain(|span| span.is_server && span.host_port == server.port.to_string());
    spans
}

fn label(server: &Running) -> String {
    format!("server_port=\"{}\"", server.port)
}

/// Metrics count and add up what spans tell, those of the warm-up too.
fn compare_metrics(agent: &Agent, server: &Running) -> Result<(), String> {
    let deadline = Instant::now() + agent::TOLD;
    loop {
        let counted = told::sums(&agent.scrape(), Side::Server, &label(server));
        let printed = Sums::of(&server_spans(agent, server));
        if counted == printed {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{}: metrics {counted:?}, spans {printed:?}", server.kind.name));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Who told is the server that was started, and was told of as what it is. Gives how many they are.
fn compare_processes(agent: &Agent, server: &Running) -> Result<usize, String> {
    let (metrics, name) = (agent.scrape(), server.kind.name);
    let (tellers, languages) =
        (told::tellers(&metrics, Side::Server, &label(server)), told::languages(&metrics));
    for pid in &tellers {
        if !server.owns(*pid) {
            return Err(format!("{name}: told of process {pid}, which is not its own"));
        }
        let language: Vec<_> = languages.get(pid).into_iter().flatten().collect();
        if language != [server.kind.language] {
            return Err(format!(
                "{name}: process {pid} was told as {language:?}, not {}",
                server.kind.language
            ));
        }
    }
    if tellers.is_empty() { Err(format!("{name}: nobody told")) } else { Ok(tellers.len()) }
}

/// Server spans with `own` in the id, once there are `count`, or all after a while.
fn wait_for(agent: &Agent, own: &str, count: usize) -> Vec<Row> {
    let deadline = Instant::now() + agent::TOLD;
    loop {
        let spans = agent.spans();
        let fits = |span: &&Span| span.is_server && span.path.contains(own);
        let mut rows: Vec<Row> = spans.iter().filter(fits).map(Span::row).collect();
        if rows.len() >= count || Instant::now() > deadline {
            rows.sort();
            return rows;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn differ(what: &str, one: &[Row], other: &[Row]) -> Result<(), String> {
    if one == other {
        return Ok(());
    }
    let only = |rows: &[Row], others: &[Row]| -> Vec<String> {
        let only = rows.iter().filter(|row| !others.contains(row)).take(12);
        only.map(|row| format!("{row:?}")).collect()
    };
    let (first, second) = (only(one, other), only(other, one));
    Err(format!(
        "{what}: {} and {} rows; only in the first: {first:#?}; only in the second: {second:#?}",
        one.len(),
        other.len()
    ))
}

#[test]
fn web_servers_before_php_ruby_and_mono_are_told_as_they_log() {
    tell("web_servers_before_php_ruby_and_mono_are_told_as_they_log", &WEB);
}

#[test]
fn ten_frameworks_of_python_are_told_as_they_log() {
    tell("ten_frameworks_of_python_are_told_as_they_log", &PYTHON);
}

#[test]
fn node_express_deno_and_bun_are_told_as_they_log() {
    tell("node_express_deno_and_bun_are_told_as_they_log", &JAVASCRIPT);
}

#[test]
fn go_rust_and_java_are_told_as_they_log() {
    tell("go_rust_and_java_are_told_as_they_log", &COMPILED);
}

#[test]
fn the_table_in_the_documentation_names_every_server_and_version_under_test() {
    let read = |path: &str| std::fs::read_to_string(stage::workload(path)).unwrap();
    let table = read("../../docs/languages.md");
    for kind in [&WEB[..], &PYTHON, &JAVASCRIPT, &COMPILED].concat() {
        let row = table.lines().find(|line| line.starts_with(&format!("| {} | ", kind.name)));
        let row = row.unwrap_or_else(|| panic!("docs/languages.md has no line for {}", kind.name));
        assert!(row.ends_with(&format!(" | {} | all |", kind.language)), "{row}: is {}", kind.language);
    }
    let locks = [
        "python/requirements.txt",
        "python/requirements-hug.txt",
        "node/package.json",
        "java/pom.xml",
        "rust/Cargo.lock",
        "../components/caddy/go.mod",
    ];
    let locks: String = locks.map(|lock| read(&format!("servers/{lock}"))).concat();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let words = rows.flat_map(|line| line.split(|letter: char| !letter.is_ascii_digit() && letter != '.'));
    // Three numbers are a version of a lock file; fewer are the distribution's.
    let versions = words.map(|word| word.trim_matches('.')).filter(|word| word.split('.').count() == 3);
    for version in versions {
        assert!(locks.contains(version), "docs/languages.md says {version}, which is in no lock file");
    }
}
