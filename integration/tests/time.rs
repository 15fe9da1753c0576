//! When an exchange began and ended, judged by what surely was before and after: peers note the clock around their calls.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use nix::time::{ClockId, clock_gettime};
use ratatosk::{
    discover::Matcher,
    export::Exporter,
    model::{Span, SpanKind},
    pipeline::Pipeline,
    recording::Player,
    telemetry::Telemetry,
};
use ratatosk_integration::{Agent, Options, agent::TOLD, guard, server::Server, stage, wait_until};
use ratatosk_proto::v1::{ClockPair, LoaderMessage, loader_message::Kind};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 8;
const BURSTS: usize = 25;
/// Requests of one burst of the client.
const PER_BURST: usize = 7;
const REQUESTS: usize = CONNECTIONS * BURSTS * PER_BURST;
/// What the printer leaves of a nanosecond count.
const PRINTED_NS: u64 = 1_000;

#[derive(Clone, Debug, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Exporter for Collector {
    fn name(&self) -> &'static str {
        "collector"
    }

    fn export(&mut self, spans: &[Span]) {
        self.0.lock().unwrap().extend_from_slice(spans);
    }
}

/// Moments between which something was, both included.
type Bracket = (u64, u64);

/// What the peers noted of one exchange, by its side: when it began, when it ended.
type Truth = HashMap<(SpanKind, String), (Bracket, Bracket)>;

/// Lines of both peers: see the head of `workloads/time/peer.c`.
fn truth(logs: &[PathBuf]) -> Truth {
    let text: String = logs.iter().map(|log| fs::read_to_string(log).unwrap()).collect();
    let lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let by_side: HashMap<(&str, String), Vec<u64>> = lines
        .map(|words| {
            let moments = words[2..].iter().map(|word| word.parse().unwrap()).collect();
            ((if words[0] == "server" { "server" } else { "client" }, words[1].to_owned()), moments)
        })
        .collect();
    let mut truth = Truth::new();
    for ((side, id), client) in &by_side {
        let (&[sent_before, sent_after, read_before, read_after], true) = (&client[..], *side == "client")
        else {
            continue;
        };
        let &[read, wrote_before, wrote_after] = &by_side[&("server", id.clone())][..] else {
            panic!("{id}")
        };
        let of_server = ((sent_before, read), (wrote_before, wrote_after));
        let of_client = ((sent_before, sent_after), (read_before, read_after));
        truth.insert((SpanKind::Server, id.clone()), of_server);
        truth.insert((SpanKind::Client, id.clone()), of_client);
    }
    truth
}

fn messages(recording: &Path) -> (ratatosk::recording::Header, Vec<LoaderMessage>) {
    let mut player = Player::open(recording).unwrap();
    let header = player.header.clone();
    (header, std::iter::from_fn(|| player.next_message().unwrap()).collect())
}

fn clocks(message: &mut LoaderMessage) -> Option<&mut ClockPair> {
    match message.kind.as_mut()? {
        Kind::Hello(hello) => hello.clock.as_mut(),
        Kind::Tick(tick) => tick.clock.as_mut(),
        Kind::Batch(_) | Kind::Status(_) | Kind::Denied(_) => None,
    }
}

/// The spans of a recording, by a wall clock that is the boot clock: their times are the raw ones.
fn replay_raw(recording: &Path) -> Vec<Span> {
    let (header, messages) = messages(recording);
    let spans = Collector::default();
    let matcher = Matcher::new(header.selection).unwrap();
    let mut pipeline = Pipeline::new(matcher, header.key, vec![Box::new(spans.clone())], Telemetry::new());
    for mut message in messages {
        if let Some(clock) = clocks(&mut message) {
            *clock = ClockPair::default();
        }
        pipeline.message(&message).unwrap();
        while pipeline.next_request().is_some() {}
    }
    pipeline.finish();
    std::mem::take(&mut *spans.0.lock().unwrap())
}

/// What the loader said of the error of its clock pairs, at most.
fn announced_error_ns(recording: &Path) -> u64 {
    let (_, mut messages) = messages(recording);
    messages.iter_mut().filter_map(clocks).map(|clock| clock.error_ns).max().unwrap()
}

fn read_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).unwrap();
    u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_nsec()).unwrap()
}

/// Wall clock minus boot clock, and how wrong that may be: the best of many readings.
fn measure_offset() -> (u64, u64) {
    let readings = (0..1_000).map(|_| {
        let before = read_ns(ClockId::CLOCK_BOOTTIME);
        let wall = read_ns(ClockId::CLOCK_REALTIME);
        let error = (read_ns(ClockId::CLOCK_BOOTTIME) - before).div_ceil(2);
        (wall - before - error, error)
    });
    readings.min_by_key(|(_, error)| *error).unwrap()
}

/// An agent that records, both peers observed by their executable, and all that was asked told.
struct Run {
    agent: Agent,
    server: Server,
    directory: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        let directory = stage::directory();
        let peer = stage::compile("time/peer.c", directory.path());
        let server = Server::program(Command::new(&peer), &["server"]);
        let recording = stage::recording(directory.path());
        let options = Options {
            processor_command: Some(format!("record {}", recording.display())),
            ..Options::none().with("BEYLA_AUTO_TARGET_EXE", peer.display())
        };
        let agent = Agent::start(&options);
        agent.wait_until_observed(&server);
        let run = Self { agent, server, directory };
        run.ask(&peer);
        run
    }

    fn client_log(&self) -> PathBuf {
        self.directory.path().join("client.log")
    }

    fn recording(&self) -> PathBuf {
        self.directory.path().join("recording/stream")
    }

    fn ask(&self, peer: &Path) {
        let mut client = Command::new(peer);
        client.arg(self.server.port.to_string()).arg(self.client_log()).arg("client");
        client.args([CONNECTIONS.to_string(), BURSTS.to_string()]);
        let mut client = stage::Program::start(&mut client);
        let child = &mut client.child;
        let status = wait_until("the client to end", PATIENCE, || child.try_wait().unwrap());
        assert!(status.success(), "{status}");
        let deadline = std::time::Instant::now() + TOLD;
        while self.told() < 2 * REQUESTS {
            let metrics = self.agent.scrape();
            let lost = ["ratatosk_exchanges_incomplete_total", "ratatosk_records_dropped_total"];
            let lost: Vec<_> = lost.iter().flat_map(|name| metrics.non_zero(name)).collect();
            assert!(std::time::Instant::now() < deadline, "{} spans; {lost:#?}", self.told());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn told(&self) -> usize {
        self.agent.spans().iter().filter(|span| span.path.starts_with("/time-")).count()
    }
}

fn assert_within(name: &str, bracket: Bracket, moment: u64) {
    assert!((bracket.0..=bracket.1).contains(&moment), "{name}: {moment} is not within {bracket:?}");
}

/// Printed, not asserted: a client's write may end after the server has read, so its span may begin a little late.
fn client_starts_after_server(raw: &[Span]) -> usize {
    let of =
        |kind| raw.iter().filter(move |span| span.kind == kind).map(|span| (&*span.http.path, span.start));
    let servers: HashMap<&str, _> = of(SpanKind::Server).collect();
    of(SpanKind::Client)
        .filter(|(path, start)| servers.get(path).is_some_and(|server| start > server))
        .count()
}

#[test]
fn every_span_begins_and_ends_between_what_its_peers_noted() {
    let Some(_machine) = guard("every_span_begins_and_ends_between_what_its_peers_noted") else { return };
    let offset_before = measure_offset();
    let run = Run::new();
    let offset_after = measure_offset();
    let printed = run.agent.spans();
    let truth = truth(&[run.server.log(), run.client_log()]);
    assert_eq!(truth.len(), 2 * REQUESTS);
    let recording = run.recording();
    run.agent.stop();
    let mut raw = replay_raw(&recording);
    raw.retain(|span| span.http.path.starts_with("/time-"));
    assert_eq!(raw.len(), truth.len(), "each once");
    for span in &raw {
        let id = (span.kind, span.http.path[1..].to_owned());
        let (start, end) = truth[&id];
        assert_within(&format!("start of {id:?}"), start, span.start.0);
        assert_within(&format!("end of {id:?}"), end, span.end.0);
    }
    println!(
        "{} of {REQUESTS} writes ended after their first byte was read",
        client_starts_after_server(&raw)
    );
    let error = announced_error_ns(&recording) + offset_before.1 + offset_after.1;
    if offset_before.0.abs_diff(offset_after.0) > error + PRINTED_NS {
        return println!("skipped: unix times: somebody set the wall clock meanwhile");
    }
    let raw: HashMap<String, &Span> = raw.iter().map(|span| (span.span_id.to_string(), span)).collect();
    for printed in printed.iter().filter(|span| span.path.starts_with("/time-")) {
        for (printed_us, ktime) in
            [(printed.start_us, raw[&printed.span_id].start.0), (printed.end_us, raw[&printed.span_id].end.0)]
        {
            let wall = ktime + offset_before.0;
            let wrong = (printed_us * 1_000).abs_diff(wall);
            assert!(wrong <= PRINTED_NS + error, "{printed:?} is {wrong} ns off, {error} ns are allowed");
        }
    }
    println!("{} spans within their brackets; wall clock within {error} ns", raw.len());
}
