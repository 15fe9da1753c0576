//! Servers of every language, unmodified: what the agent tells equals what went over the wire and what each logged itself.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{
    Agent, Options, guard,
    mixed::{REQUESTS, Seen},
    runtime::{COMPILED, JAVASCRIPT, Kind, PYTHON, Running, WEB},
    span::Row,
    stage, wait_until,
};
use std::{collections::BTreeMap, time::Duration};

/// Until the first request of each server is told.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let failures: Vec<_> =
        servers.iter().zip(&seen).filter_map(|(server, seen)| compare(&agent, server, seen).err()).collect();
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
        std::thread::sleep(Duration::from_millis(100));
        untold.is_empty().then_some(())
    });
}

fn warm(server: &Running) -> String {
    format!("/r/warm-{}-", server.kind.name)
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
    println!("told: {name}: {} requests, each once, with method, status and both sizes", wire.len());
    Ok(())
}

/// Server spans with `own` in the id, once there are `count`, or all after a while.
fn wait_for(agent: &Agent, own: &str, count: usize) -> Vec<Row> {
    let deadline = std::time::Instant::now() + ratatosk_integration::agent::TOLD;
    loop {
        let spans = agent.spans();
        let fits = |span: &&ratatosk_integration::Span| span.is_server && span.path.contains(own);
        let mut rows: Vec<Row> = spans.iter().filter(fits).map(ratatosk_integration::Span::row).collect();
        if rows.len() >= count || std::time::Instant::now() > deadline {
            rows.sort();
            return rows;
        }
        std::thread::sleep(Duration::from_millis(50));
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
fn web_servers_before_php_and_puma_are_told_as_they_log() {
    tell("web_servers_before_php_and_puma_are_told_as_they_log", &WEB);
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
        assert!(
            table.contains(&format!("\n| {} | ", kind.name)),
            "docs/languages.md has no line for {}",
            kind.name
        );
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
