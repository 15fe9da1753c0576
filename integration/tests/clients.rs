//! HTTP clients of every language, unmodified: their client spans equal what they did and what the server logged.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{
    Agent, Options,
    agent::TOLD,
    component, guard,
    server::Server,
    span::Row,
    stage,
    told::{self, Side, Sums},
    wait_until,
};
use std::{
    fmt::Write as _,
    io::Write as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Requests of each client.
const COUNT: usize = 100;
/// What they do in turn: method, folder and bytes of the body.
const KINDS: [(&str, &str, usize); 5] =
    [("GET", "r", 0), ("POST", "r", 3000), ("PUT", "put", 40_000), ("GET", "gone", 0), ("HEAD", "r", 0)];

/// A client that waits for a line on its stdin; its process is there already, so that it can be selected by its pid.
struct Client {
    name: &'static str,
    /// `telemetry.sdk.language` of its process.
    language: &'static str,
    child: Child,
}

/// What one did.
struct Done {
    name: &'static str,
    language: &'static str,
    pid: u32,
    /// Its own report.
    said: String,
}

impl Client {
    /// The command replaces the shell that waits, so the pid stays.
    fn waiting(name: &'static str, language: &'static str, command: &[&str]) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "read _ && exec \"$@\" </dev/null", name]).args(command);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { name, language, child: shell.spawn().unwrap() }
    }

    /// Lets it go, and waits for its end.
    fn run(mut self) -> Done {
        let pid = self.child.id();
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let Output { status, stdout, stderr } = self.child.wait_with_output().unwrap();
        assert!(status.success(), "{}: {status}: {}", self.name, String::from_utf8_lossy(&stderr));
        let said = String::from_utf8(stdout).unwrap();
        Done { name: self.name, language: self.language, pid, said }
    }
}

/// Those of components that are there; the others are skipped by name.
fn waiting_clients(test: &str, port: u16, folder: &Path) -> Vec<Client> {
    let (port, count) = (port.to_string(), COUNT.to_string());
    let curl_config = folder.join("curl.conf");
    std::fs::write(&curl_config, curl(&port)).unwrap();
    let mut clients =
        vec![Client::waiting("curl", "generic", &["curl", "-q", "-K", &curl_config.to_string_lossy()])];
    let python = stage::workload("servers/python/clients.py").to_string_lossy().into_owned();
    let mut add = |(name, language): (&'static str, &'static str),
                   component: &str,
                   command: &dyn Fn(&str) -> Vec<String>| match component::find(component) {
        Err(reason) => println!("skipped: {test}, {name}: {reason}"),
        Ok(place) => {
            let mut words = command(&place.to_string_lossy());
            words.extend([port.clone(), name.to_owned(), count.clone()]);
            clients.push(Client::waiting(
                name,
                language,
                &words.iter().map(String::as_str).collect::<Vec<_>>(),
            ));
        }
    };
    let library =
        |place: &str, name: &str| [&format!("{place}/bin/python"), &python, name].map(str::to_owned).to_vec();
    add(("requests", "python"), "python", &|place| library(place, "requests"));
    add(("aiohttp", "python"), "python", &|place| library(place, "aiohttp"));
    add(("fetch", "nodejs"), "node", &|place| {
        ["node", &format!("{place}/fetch.mjs")].map(str::to_owned).to_vec()
    });
    add(("go", "go"), "go", &|place| vec![format!("{place}/client")]);
    add(("java", "java"), "java", &|place| {
        ["java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp", &format!("{place}/classes"), "truth.JdkClient"]
            .map(str::to_owned)
            .to_vec()
    });
    clients
}

/// Configuration of one curl that makes every request, and says of each what it did.
fn curl(port: &str) -> String {
    let mut config = String::new();
    for number in 0..COUNT {
        let (method, folder, bytes) = KINDS[number % KINDS.len()];
        let path = format!("/{folder}/curl-{number}");
        if number > 0 {
            writeln!(config, "next").unwrap();
        }
        writeln!(config, "url = \"http://127.0.0.1:{port}{path}\"\noutput = /dev/null\nsilent").unwrap();
        match (method, bytes) {
            ("HEAD", _) => writeln!(config, "head").unwrap(),
            (_, 0) => {}
            _ => writeln!(config, "request = {method}\ndata = {}", "b".repeat(bytes)).unwrap(),
        }
        let write_out = format!("{path} {method} %{{http_code}} {bytes} %{{size_download}}\\n");
        writeln!(config, "write-out = \"{write_out}\"").unwrap();
    }
    config
}

/// An agent that observes these processes and nothing else.
fn observe(clients: &[Client]) -> Agent {
    let pids: Vec<_> = clients.iter().map(|client| client.child.id().to_string()).collect();
    let options =
        Options { settings: vec![("OTEL_EBPF_TARGET_PID".into(), pids.join(","))], ..Options::none() };
    let agent = Agent::start(&options);
    let all = f64::from(u32::try_from(clients.len()).unwrap());
    wait_until("every client to be observed", TOLD, || {
        let observed = agent.metrics()?.sum("ratatosk_processes_observed", &[]);
        (observed >= all).then_some(())
    });
    agent
}

/// Client spans with `name` in the id, sorted, once there are `count`, or what there is after a while.
fn client_rows(agent: &Agent, name: &str, count: usize) -> Vec<Row> {
    let deadline = Instant::now() + TOLD;
    loop {
        let own = format!("/{name}-");
        let spans = agent.spans();
        let fits = |span: &&ratatosk_integration::Span| !span.is_server && span.path.contains(&own);
        let mut rows: Vec<Row> = spans.iter().filter(fits).map(ratatosk_integration::Span::row).collect();
        if rows.len() >= count || Instant::now() > deadline {
            rows.sort();
            return rows;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Its metrics are those of its process, add up to its spans, and say what it is written in.
fn compare_process(agent: &Agent, done: &Done, port: u16) -> Result<(), String> {
    let Done { name, language, pid, .. } = done;
    let (of_process, port) = (format!(":{pid}\""), port.to_string());
    let deadline = Instant::now() + TOLD;
    let (metrics, counted, spans) = loop {
        let mut spans = agent.spans();
        spans.retain(|span| span.path.contains(&format!("/{name}-")));
        let metrics = agent.scrape();
        let counted = told::sums(&metrics, Side::Client, &of_process);
        if counted == Sums::of(&spans) || Instant::now() > deadline {
            break (metrics, counted, spans);
        }
        thread::sleep(Duration::from_millis(50));
    };
    let languages: Vec<_> = told::languages(&metrics).remove(pid).into_iter().flatten().collect();
    let elsewhere = spans.iter().find(|span| span.host_port != port);
    let printed = Sums::of(&spans);
    if counted == printed && languages == [*language] && elsewhere.is_none() {
        return Ok(());
    }
    Err(format!(
        "{name}: metrics {counted:?}, spans {printed:?}, told as {languages:?}, not {language}; {elsewhere:?}"
    ))
}

/// What a client says of itself.
fn own_rows(said: &str) -> Vec<Row> {
    let row = |line: &str| -> Row {
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| words[at].parse().unwrap();
        (words[0].to_owned(), words[1].to_owned(), words[2].parse().unwrap(), number(3), number(4))
    };
    let mut rows: Vec<Row> = said.lines().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn client_spans_equal_what_each_client_did() {
    let test = "client_spans_equal_what_each_client_did";
    let Some(_machine) = guard(test) else { return };
    let (server, folder) = (Server::python(), stage::directory());
    let clients = waiting_clients(test, server.port, folder.path());
    let agent = observe(&clients);
    let mut failures = Vec::new();
    for done in clients.into_iter().map(Client::run) {
        let name = done.name;
        let own = own_rows(&done.said);
        // the server logs after it answered
        let logged = wait_until("its requests in the server's log", TOLD, || {
            let mut rows = server.rows_now("/");
            rows.retain(|row| row.0.contains(&format!("/{name}-")));
            (rows.len() >= COUNT).then_some(rows)
        });
        let told = client_rows(&agent, name, COUNT);
        assert_eq!(own.len(), COUNT, "{name} makes all its requests");
        if own != logged || own != told {
            let lost: Vec<_> = own.iter().filter(|row| !told.contains(row)).take(8).collect();
            let other: Vec<_> = told.iter().filter(|row| !own.contains(row)).take(8).collect();
            let incomplete = agent.scrape().non_zero("ratatosk_exchanges_incomplete_total");
            let counts = (own.len(), logged.len(), told.len());
            failures.push(format!(
                "{name}: own, logged, told {counts:?}; lost {lost:#?}; otherwise {other:#?}; {incomplete:?}"
            ));
        } else {
            failures.extend(compare_process(&agent, &done, server.port).err());
            println!(
                "told: {name}: {COUNT} requests of a {} process, with method, status, sizes",
                done.language
            );
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(agent.spans().iter().all(|span| !span.is_server), "the server was not selected");
    agent.assert_no_drops();
    agent.stop();
}

#[test]
fn client_spans_of_wrk_equal_its_count_and_the_log() {
    let Some(_machine) = guard("client_spans_of_wrk_equal_its_count_and_the_log") else { return };
    // With a millisecond between requests, at most 8 000 a second: no agent on a busy machine is late then.
    const CONNECTIONS: usize = 8;
    let server = Server::nginx();
    let (script, url) = (stage::workload("wrk/unique.lua"), format!("http://127.0.0.1:{}/", server.port));
    let connections = CONNECTIONS.to_string();
    let script = script.to_string_lossy();
    let wrk = ["wrk", "-t", "2", "-c", &connections, "-d", "2s", "-s", &script, &url, "--", "1"];
    let client = Client::waiting("wrk", "generic", &wrk);
    let agent = observe(std::slice::from_ref(&client));
    let done = client.run();
    let counted = done.said.lines().find_map(|line| line.trim().split_once(" requests in")).unwrap();
    let counted: usize = counted.0.parse().unwrap();
    let mut told = client_rows(&agent, "wrk", counted);
    compare_process(&agent, &done, server.port).unwrap();
    told.retain(|row| row.2 == 200);
    let log = server.rows("/r/wrk-", counted);
    let otherwise: Vec<_> = told.iter().filter(|row| log.binary_search(row).is_err()).take(5).collect();
    assert!(otherwise.is_empty(), "told otherwise than logged: {otherwise:#?}");
    // wrk stops in the midst of what is in flight
    assert!(
        (counted..=counted + CONNECTIONS).contains(&told.len()),
        "wrk counts {counted}, told {}, lost {:?}",
        told.len(),
        agent.scrape().non_zero("ratatosk_records_dropped_total")
    );
    println!("told: wrk: {} requests, each once; wrk counted {counted}", told.len());
    agent.assert_no_drops();
    agent.stop();
}
