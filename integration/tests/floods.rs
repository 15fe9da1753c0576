//! Too many connections, endless heads, and bytes that are no HTTP: bounded memory, counted, and no span.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ratatosk_integration::{
    Agent, Options, agent::TOLD, client, guard, process::anonymous_bytes, server::Server, stage, wait_until,
};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const SCRIPT: &str = "ugly/flood_server.py";
const PATIENCE: Duration = Duration::from_secs(30);
/// Descriptors that the test and the server need beside their connections.
const OTHER_FILES: u64 = 200;
const MIB: u64 = 1 << 20;
/// What the loader may take beside its rings, whatever comes: its queue holds 8 MiB, its allocator a few more.
const LOADER_BYTES: u64 = 16 * MIB;
/// What the processor may take for 16 Ki connections with 16 MiB of heads that are not whole.
const PROCESSOR_BYTES: u64 = 64 * MIB;

/// Anonymous memory of both sides, in bytes.
#[derive(Clone, Copy, Debug)]
struct Memory {
    loader: u64,
    processor: u64,
}

impl Memory {
    fn of(agent: &Agent) -> Self {
        let sum = |name: &str| agent.processes(name).into_iter().filter_map(anonymous_bytes).sum();
        Self { loader: sum("ratatosk-loader"), processor: sum("ratatosk") }
    }

    /// Nothing grew by more than it may since `before`.
    fn assert_bounded(self, before: Self, what: &str) {
        println!("{what}: {before:?}, then {self:?}");
        let grown =
            (self.loader.saturating_sub(before.loader), self.processor.saturating_sub(before.processor));
        assert!(grown.0 <= LOADER_BYTES && grown.1 <= PROCESSOR_BYTES, "{what}: {before:?}, then {self:?}");
    }
}

/// Connections spread over addresses, so that no port of a client is used up.
fn connect(server: &Server, number: usize) -> TcpStream {
    let address = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number % 8).unwrap());
    let stream = TcpStream::connect((address, server.port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, path: &str) {
    stream.write_all(client::get(path).as_bytes()).unwrap();
    let mut answer = [0; 256];
    let got = stream.read(&mut answer).unwrap();
    assert!(answer[..got].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..got]));
}

/// A request after the flood is told: what came before it was gone over, and nothing is stuck.
fn assert_alive(agent: &Agent, server: &Server) {
    agent.wait_until_observed(server);
}

/// No span under the paths of the flood.
fn assert_no_span(agent: &Agent) {
    thread::sleep(Duration::from_millis(1_500)); // an end, or a silence, is told by then
    let spans: Vec<_> = agent.spans().into_iter().filter(|span| !span.path.starts_with("/r/warm-")).collect();
    assert!(spans.is_empty(), "{spans:?}");
}

fn unrecognized(agent: &Agent) -> f64 {
    agent.scrape().sum("ratatosk_connections_unrecognized_total", &[])
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

/// As many connections as the limit of this machine lets two processes have, at most `wanted`.
fn possible_connections(name: &str, wanted: usize) -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let possible = usize::try_from(hard.saturating_sub(OTHER_FILES)).unwrap_or(wanted).min(wanted);
    if possible < wanted {
        println!("skipped: {name}: {wanted} connections, as the limit of open files is {hard}: {possible}");
    }
    possible
}

#[test]
fn ten_thousand_open_connections_stay_bounded_and_right() {
    let name = "ten_thousand_open_connections_stay_bounded_and_right";
    let Some(_machine) = guard(name) else { return };
    let connections = possible_connections(name, 10_000);
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let (before, invalid) = (Memory::of(&agent), agent.incomplete("invalid"));
    // every other one has a request answered and stays; the rest never end their heads
    let half = format!("GET /half/head HTTP/1.1\r\nHost: t\r\nX: {}", "x".repeat(800));
    let mut open: Vec<TcpStream> = Vec::new();
    for number in 0..connections {
        let mut stream = connect(&server, number);
        match number % 2 {
            0 => ask(&mut stream, &format!("/flood/{number}")),
            _ => stream.write_all(half.as_bytes()).unwrap(),
        }
        open.push(stream);
    }
    let whole = connections.div_ceil(2);
    let log = server.rows("/flood/", whole);
    assert_eq!(agent.server_rows("/flood/", whole), log);
    Memory::of(&agent).assert_bounded(before, "open");
    drop(open);
    let halves = count(connections - whole);
    wait_until("half heads to be counted", PATIENCE, || {
        (agent.incomplete("invalid") - invalid >= halves - 0.5).then_some(())
    });
    assert!((agent.incomplete("invalid") - invalid - halves).abs() < 0.5, "each once");
    assert!(agent.spans().iter().all(|span| span.path != "/half/head"), "half a head is no request");
    Memory::of(&agent).assert_bounded(before, "closed");
    agent.assert_no_drops();
    agent.stop();
}

#[test]
fn heads_that_fill_up_and_never_end_stay_bounded() {
    let name = "heads_that_fill_up_and_never_end_stay_bounded";
    let Some(_machine) = guard(name) else { return };
    let connections = possible_connections(name, 3_000);
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let before = Memory::of(&agent);
    let mut open: Vec<TcpStream> = (0..connections).map(|number| connect(&server, number)).collect();
    // 15 KiB of each are captured: 45 MiB, were they all kept
    for round in 0..30 {
        let line = if round == 0 { "GET /half/full HTTP/1.1\r\n" } else { "X" };
        let piece = format!("{line}{}", "x".repeat(512 - line.len()));
        open.iter_mut().for_each(|stream| stream.write_all(piece.as_bytes()).unwrap());
    }
    assert_alive(&agent, &server);
    Memory::of(&agent).assert_bounded(before, "half heads");
    drop(open);
    // where the capture was narrower than a read, nobody knows that the head did not end: then it is one that nobody answered
    let told = || agent.spans().iter().filter(|span| span.path == "/half/full" && span.status == 0).count();
    let counted =
        || ["no_response", "invalid", "evicted"].iter().map(|reason| agent.incomplete(reason)).sum::<f64>();
    wait_until("the heads to be counted", PATIENCE, || (counted() >= count(connections) - 0.5).then_some(()));
    assert!(told() <= connections, "{} spans", told());
    assert!(agent.spans().iter().all(|span| span.path != "/half/full" || span.status == 0));
    agent.stop();
}

#[test]
fn a_thousand_new_connections_per_second_are_all_told() {
    let Some(_machine) = guard("a_thousand_new_connections_per_second_are_all_told") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let (before, since) = (Memory::of(&agent), Instant::now());
    for number in 0..4_000_usize {
        ask(&mut connect(&server, number), &format!("/flood/{number}"));
        let due = since + Duration::from_millis(u64::try_from(number).unwrap());
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    println!("4000 connections in {:?}", since.elapsed());
    let log = server.rows("/flood/", 4_000);
    assert_eq!(agent.server_rows("/flood/", 4_000), log);
    Memory::of(&agent).assert_bounded(before, "new connections");
    agent.assert_no_drops();
    agent.stop();
}

#[test]
fn a_header_of_one_gibibyte_is_counted_and_never_told() {
    let Some(_machine) = guard("a_header_of_one_gibibyte_is_counted_and_never_told") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let before = Memory::of(&agent);
    let mut stream = connect(&server, 0);
    stream.write_all(b"GET /flood/endless HTTP/1.1\r\nX: ").unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..1024 {
        stream.write_all(&piece).unwrap();
    }
    Memory::of(&agent).assert_bounded(before, "1 GiB of header");
    drop(stream);
    assert_alive(&agent, &server);
    assert_no_span(&agent);
    wait_until("the head to be counted", TOLD, || (agent.incomplete("invalid") >= 0.5).then_some(()));
    Memory::of(&agent).assert_bounded(before, "1 GiB of header");
    agent.stop();
}

/// Bytes that look like nothing, the same in every run.
fn noise(seed: usize, len: usize) -> Vec<u8> {
    let mut word = u64::try_from(seed).unwrap().wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = move || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()[3]
    };
    // no server of ours takes it for a request
    std::iter::once(0).chain(std::iter::repeat_with(next)).take(len).collect()
}

#[test]
fn binary_noise_is_counted_and_never_told() {
    let Some(_machine) = guard("binary_noise_is_counted_and_never_told") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let (before, seen) = (Memory::of(&agent), unrecognized(&agent));
    for number in 0..200 {
        let mut stream = connect(&server, number);
        for round in 0..5 {
            stream.write_all(&noise(number * 5 + round, 1 + number * 37 % 5_000)).unwrap();
            assert!(stream.read(&mut [0; 65_536]).unwrap() > 0);
        }
    }
    assert_no_span(&agent);
    wait_until("200 connections to be counted", TOLD, || {
        (unrecognized(&agent) - seen >= 199.5).then_some(())
    });
    Memory::of(&agent).assert_bounded(before, "noise");
    assert_alive(&agent, &server);
    agent.stop();
}

#[test]
fn another_protocol_is_counted_and_never_told() {
    let Some(_machine) = guard("another_protocol_is_counted_and_never_told") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let seen = unrecognized(&agent);
    let value = "GET /flood/in-a-value HTTP/1.1\r\nHost: t\r\n\r\n";
    for number in 0..50 {
        let mut stream = connect(&server, number);
        for _ in 0..20 {
            let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\n", value.len());
            for command in [set.as_str(), "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "*1\r\n$4\r\nPING\r\n"] {
                stream.write_all(command.as_bytes()).unwrap();
                assert!(stream.read(&mut [0; 4_096]).unwrap() > 0);
            }
        }
    }
    assert_no_span(&agent);
    wait_until("50 connections to be counted", TOLD, || (unrecognized(&agent) - seen >= 49.5).then_some(()));
    assert_alive(&agent, &server);
    agent.stop();
}

/// A certificate that nobody trusts; none where there is no openssl.
fn certificate(directory: &std::path::Path) -> Option<(String, String)> {
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let (certificate, key) = (path("certificate"), path("key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-subj", "/CN=localhost", "-out", &certificate, "-keyout", &key]);
    let status = openssl.stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    status.success().then_some((certificate, key))
}

/// Asks by TLS; gives whether there was an answer.
fn curl_tls(port: u16, path: &str) -> bool {
    let url = format!("https://127.0.0.1:{port}{path}");
    let mut curl = Command::new("curl");
    curl.args(["-q", "-k", "--silent", "--http1.1", "--max-time", "10", "-o", "/dev/null", &url]);
    curl.status().unwrap().success()
}

#[test]
fn tls_on_a_plain_port_is_counted_and_never_told() {
    let name = "tls_on_a_plain_port_is_counted_and_never_told";
    let Some(_machine) = guard(name) else { return };
    let directory = stage::directory();
    let Some((certificate, key)) = certificate(directory.path()) else {
        return println!("skipped: {name}: no openssl for a certificate");
    };
    let mut python = Command::new("/usr/bin/python3");
    python.arg(stage::workload("ugly/tls_server.py"));
    let (tls, plain) = (Server::program(python, &[&certificate, &key]), Server::nginx());
    let agent = Agent::observing(&plain, &Options::default());
    let (seen, surplus) = (unrecognized(&agent), agent.incomplete("no_request"));
    for number in 0..10 {
        assert!(curl_tls(tls.port, &format!("/flood/{number}")), "TLS that is spoken on both sides");
        assert!(!curl_tls(plain.port, "/flood/none"), "TLS to a server that speaks none");
    }
    assert_eq!(tls.rows("/flood/", 10).len(), 10);
    assert_no_span(&agent);
    wait_until("the connections to be counted", TOLD, || {
        // nginx answers the hello of TLS with 400, in plain HTTP: a response to no request
        let answered = agent.incomplete("no_request") - surplus;
        (unrecognized(&agent) - seen >= 9.5 && answered >= 9.5).then_some(())
    });
    assert_alive(&agent, &plain);
    agent.stop();
}
