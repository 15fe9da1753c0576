//! What clients and servers do to each other: told once where an exchange is whole, and never more than the wire said.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use nix::sys::socket::{setsockopt, sockopt};
use ratatosk_integration::{Agent, Options, client, guard, server::Server, span::Row, wait_until};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    thread,
    time::Duration,
};

const SCRIPT: &str = "ugly/server.py";
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than a connection's end, or the silence that ends a message of unknown framing, is waited for.
const AFTERMATH: Duration = Duration::from_millis(1_500);

fn open(server: &Server) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until `needle` came; gives all that was read.
fn read_until(stream: &mut TcpStream, needle: &str) -> Vec<u8> {
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&seen).contains(needle) {
        let got = stream.read(&mut piece).unwrap();
        assert!(got > 0, "the connection ended before {needle:?}: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..got]);
    }
    seen
}

/// The next close sends RST, and what was not read is thrown away.
fn reset(stream: TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, sockopt::Linger, &linger).unwrap();
}

/// The spans under `prefix` are those of the server's log: each once, and nothing else.
fn assert_told(agent: &Agent, server: &Server, prefix: &str, count: usize) {
    let log = server.rows(prefix, count);
    assert_eq!(log.len(), count, "{log:?}");
    let _ = agent.server_rows(prefix, count);
    thread::sleep(AFTERMATH);
    assert_eq!(agent.server_rows(prefix, count), log);
}

/// Broken exchanges: at most one span each, which says what the log says, and then one more of `reason` is counted.
fn assert_broken(agent: &Agent, server: &Server, prefix: &str, ask: impl FnOnce()) {
    let before = agent.incomplete("no_response");
    ask();
    assert_told(agent, server, prefix, 1);
    let has_answer = server.rows(prefix, 1)[0].2 != 0;
    let counted = agent.incomplete("no_response") - before;
    assert!((counted - f64::from(u8::from(!has_answer))).abs() < 0.5, "{counted} without a response");
}

#[test]
fn server_sent_events_open_for_five_seconds_are_one_span() {
    let Some(_machine) = guard("server_sent_events_open_for_five_seconds_are_one_span") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    thread::scope(|scope| {
        for path in ["/sse/chunked", "/sse/until-close"] {
            let server = &server;
            scope.spawn(move || server.connect().ask("GET", path, 0).unwrap());
        }
    });
    assert_told(&agent, &server, "/sse/", 2);
    let spans = agent.spans();
    let streams = spans.iter().filter(|span| span.path.starts_with("/sse/"));
    for span in streams {
        assert!(span.end_us - span.start_us >= 5_000_000, "{} ends early", span.path);
    }
    agent.stop();
}

#[test]
fn a_reset_in_mid_body_is_told_without_a_status() {
    let Some(_machine) = guard("a_reset_in_mid_body_is_told_without_a_status") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    assert_broken(&agent, &server, "/upload/reset", || {
        let mut stream = open(&server);
        let head = "PUT /upload/reset HTTP/1.1\r\nHost: t\r\nContent-Length: 50000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&[b'u'; 20_000]).unwrap();
        thread::sleep(Duration::from_millis(200)); // some of it is read
        reset(stream);
    });
    agent.stop();
}

#[test]
fn a_half_closed_connection_is_told_whole() {
    let Some(_machine) = guard("a_half_closed_connection_is_told_whole") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    for request in [client::get("/slow/half-get"), client::request("PUT", "/r/half-put", 5_000)] {
        let mut stream = open(&server);
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        assert!(response.starts_with(b"HTTP/1.1 200"));
    }
    assert_told(&agent, &server, "/slow/half", 1);
    assert_told(&agent, &server, "/r/half", 1);
    agent.stop();
}

#[test]
fn a_half_close_in_mid_body_is_told_without_a_status() {
    let Some(_machine) = guard("a_half_close_in_mid_body_is_told_without_a_status") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    assert_broken(&agent, &server, "/upload/half", || {
        let mut stream = open(&server);
        let head = "PUT /upload/half HTTP/1.1\r\nHost: t\r\nContent-Length: 50000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&[b'u'; 20_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    });
    agent.stop();
}

#[test]
fn a_client_that_hangs_up_in_mid_response_leaves_what_was_written() {
    let Some(_machine) = guard("a_client_that_hangs_up_in_mid_response_leaves_what_was_written") else {
        return;
    };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let mut stream = open(&server);
    stream.write_all(client::get("/endless/hang-up").as_bytes()).unwrap();
    stream.read_exact(&mut [0; 20_000]).unwrap();
    drop(stream);
    assert_told(&agent, &server, "/endless/hang-up", 1);
    agent.stop();
}

#[test]
fn a_server_that_resets_in_mid_response_leaves_what_was_written() {
    let Some(_machine) = guard("a_server_that_resets_in_mid_response_leaves_what_was_written") else {
        return;
    };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let mut stream = open(&server);
    stream.write_all(client::get("/reset/now").as_bytes()).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert_told(&agent, &server, "/reset/now", 1);
    agent.stop();
}

#[test]
fn a_server_that_dies_in_mid_response_leaves_what_was_written() {
    let Some(_machine) = guard("a_server_that_dies_in_mid_response_leaves_what_was_written") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let mut stream = open(&server);
    stream.write_all(client::get("/die/now").as_bytes()).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert_told(&agent, &server, "/die/now", 1);
    agent.stop();
}

#[test]
fn a_slow_server_is_told_once_with_its_duration() {
    let Some(_machine) = guard("a_slow_server_is_told_once_with_its_duration") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let mut connection = server.connect();
    connection.ask("GET", "/slow/one", 0).unwrap();
    connection.ask("GET", "/r/after-slow", 0).unwrap();
    assert_told(&agent, &server, "/slow/", 1);
    assert_told(&agent, &server, "/r/after-slow", 1);
    let spans = agent.spans();
    let span = spans.iter().find(|span| span.path == "/slow/one").unwrap();
    assert!(span.end_us - span.start_us >= 3_900_000, "{span:?}");
    agent.stop();
}

#[test]
fn a_refused_continue_is_told_and_what_follows_too() {
    let Some(_machine) = guard("a_refused_continue_is_told_and_what_follows_too") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let mut connection = server.connect();
    for (path, status) in [("/refuse/417", 417), ("/refuse/401-a", 401), ("/refuse/401-b", 401)] {
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n"
        );
        connection.send(head.as_bytes()).unwrap();
        assert_eq!(connection.response("PUT").unwrap().status, status);
    }
    connection.ask("POST", "/r/after-refusal", 3).unwrap();
    drop(connection);
    assert_told(&agent, &server, "/refuse/", 3);
    assert_told(&agent, &server, "/r/after-refusal", 1);
    agent.stop();
}

#[test]
fn trailers_belong_to_their_message() {
    let Some(_machine) = guard("trailers_belong_to_their_message") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let mut connection = server.connect();
    for number in 0..3 {
        let body = "3\r\nabc\r\n0\r\nX-Sum: 6\r\nX-Like: HTTP/1.1 200 OK\r\n\r\n";
        let head =
            format!("POST /trailers/{number} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
        connection.send(format!("{head}{body}").as_bytes()).unwrap();
        // the reader of the tests knows no trailers: it takes the first of them for the empty line
        connection.response("POST").unwrap();
        connection = server.connect();
    }
    connection.ask("GET", "/r/after-trailers", 0).unwrap();
    assert_told(&agent, &server, "/trailers/", 3);
    assert_told(&agent, &server, "/r/after-trailers", 1);
    agent.stop();
}

#[test]
fn folded_fields_are_one_line() {
    let Some(_machine) = guard("folded_fields_are_one_line") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let mut stream = open(&server);
    for number in 0..2 {
        let head = format!(
            "POST /fold/{number} HTTP/1.1\r\nHost: t\r\nX-Long: a,\r\n b\r\nContent-Length:\r\n 5\r\n\r\n"
        );
        stream.write_all(format!("{head}hello").as_bytes()).unwrap();
        read_until(&mut stream, "folded!");
    }
    assert_told(&agent, &server, "/fold/", 2);
    agent.stop();
}

/// What is told of a path: 2048 bytes of it, and no query.
fn told_path(target: &str) -> &str {
    let path = target.split('?').next().unwrap();
    &path[..path.len().min(2048)]
}

/// The one span under `prefix` says what the log says, as far as a path is told; the path may be cut where the capture was.
fn assert_long(agent: &Agent, server: &Server, prefix: &str, least_path_bytes: usize) {
    let log = server.rows(prefix, 1);
    let _ = agent.server_rows(prefix, 1);
    thread::sleep(AFTERMATH);
    let told = agent.server_rows(prefix, 1);
    let ([told], [log]) = (&told[..], &log[..]) else { panic!("{told:?}, in the log {log:?}") };
    let (path, wanted) = (told.0.as_str(), told_path(&log.0));
    assert!(wanted.starts_with(path) && path.len() >= least_path_bytes.min(wanted.len()), "{path}");
    let rest = |row: &Row| (row.1.clone(), row.2, row.3, row.4);
    assert_eq!(rest(told), rest(log));
}

#[test]
fn a_request_line_of_eight_kilobytes_is_told_once() {
    let Some(_machine) = guard("a_request_line_of_eight_kilobytes_is_told_once") else { return };
    let (nginx, python) = (Server::nginx(), Server::script(SCRIPT));
    let agent = Agent::observing(&nginx, &Options::default());
    agent.wait_until_observed(&python);
    for server in [&nginx, &python] {
        let name = if server.port == nginx.port { "nginx" } else { "python" };
        let mut connection = server.connect();
        connection.ask("GET", &format!("/r/{name}-query?q={}", "q".repeat(8_000)), 0).unwrap();
        connection.ask("GET", &format!("/r/{name}-path/{}", "p".repeat(8_000)), 0).unwrap();
        connection.ask("GET", &format!("/r/{name}-after"), 0).unwrap();
        assert_long(&agent, server, &format!("/r/{name}-query"), 2_048);
        assert_long(&agent, server, &format!("/r/{name}-path"), 1_000);
        assert_told(&agent, server, &format!("/r/{name}-after"), 1);
    }
    agent.stop();
}

#[test]
fn nothing_behind_a_websocket_upgrade_is_parsed() {
    let Some(_machine) = guard("nothing_behind_a_websocket_upgrade_is_parsed") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    let invalid = agent.incomplete("invalid");
    let mut stream = open(&server);
    let fields =
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    stream.write_all(format!("GET /ws/chat HTTP/1.1\r\nHost: t\r\n{fields}\r\n").as_bytes()).unwrap();
    read_until(&mut stream, "\u{5}hello");
    for number in 0..20 {
        // the server echoes it: a request and a response, if it were HTTP
        let words =
            format!("GET /ws/inside-{number} HTTP/1.1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(words.as_bytes()).unwrap();
        read_until(&mut stream, &words);
    }
    drop(stream);
    assert_told(&agent, &server, "/ws/", 1);
    assert!((agent.incomplete("invalid") - invalid).abs() < 0.5, "frames were taken for broken messages");
    agent.stop();
}

#[test]
fn requests_that_began_before_their_process_was_found_are_counted() {
    let Some(_machine) = guard("requests_that_began_before_their_process_was_found_are_counted") else {
        return;
    };
    let server = Server::script(SCRIPT);
    let (mut in_head, mut in_body, mut between) = (open(&server), open(&server), open(&server));
    between.write_all(client::get("/r/earlier").as_bytes()).unwrap();
    read_until(&mut between, "fine");
    in_head.write_all(b"GET /early/head HT").unwrap();
    in_body.write_all(b"PUT /early/body HTTP/1.1\r\nContent-Length: 20\r\n\r\n0123456789").unwrap();
    let agent = Agent::observing(&server, &Options::default());
    // ten digits alone could be the beginning of a method, too
    let count = || agent.incomplete("no_request") + agent.incomplete("invalid");
    let missed = count();
    in_head.write_all(b"TP/1.1\r\nHost: t\r\n\r\n").unwrap();
    in_body.write_all(b"0123456789").unwrap();
    for stream in [&mut in_head, &mut in_body] {
        read_until(stream, "fine");
    }
    for (number, stream) in [&mut in_head, &mut in_body, &mut between].into_iter().enumerate() {
        for round in 0..2 {
            stream
                .write_all(client::request("POST", &format!("/r/late-{number}-{round}"), 9).as_bytes())
                .unwrap();
            read_until(stream, "fine");
        }
    }
    assert_eq!(server.rows("/early/", 2).len(), 2);
    drop((in_head, in_body, between));
    // a read that waits when tier `inet` is attached is not seen by it: one request of the idle connection as well
    let sees_waiting_reads = agent.log_line("ready:").contains("tier=socket");
    let early: f64 = if sees_waiting_reads { 2.0 } else { 3.0 };
    wait_until("what began early to be counted", PATIENCE, || (count() - missed > early - 0.5).then_some(()));
    let log = server.rows("/r/late-", 6);
    let _ = agent.server_rows("/r/late-", if sees_waiting_reads { 6 } else { 5 });
    thread::sleep(AFTERMATH);
    let told = agent.server_rows("/r/late-", 1);
    let untold: Vec<_> = log.iter().filter(|row| !told.contains(row)).map(|row| row.0.as_str()).collect();
    assert_eq!(untold, if sees_waiting_reads { vec![] } else { vec!["/r/late-2-0"] });
    assert_eq!(told.len() + untold.len(), 6, "each once: {told:?}");
    assert!((count() - missed - early).abs() < 0.5, "{} responses without a request", count() - missed);
    assert!(agent.spans().iter().all(|span| !span.path.starts_with("/early")), "nobody saw its line");
    agent.stop();
}

/// Asks over `connections` connections, `each` times over each.
fn ask_all(server: &Server, prefix: &str, connections: usize, each: usize) {
    for number in 0..connections {
        let mut connection = server.connect();
        for round in 0..each {
            let path = format!("{prefix}{number}-{round}");
            assert_eq!(connection.ask("GET", &path, 0).unwrap().status, 200);
        }
    }
}

#[test]
fn a_descriptor_passed_to_another_process_is_told_once() {
    let Some(_machine) = guard("a_descriptor_passed_to_another_process_is_told_once") else { return };
    let server = Server::script("ugly/passing_server.py");
    let agent = Agent::observing(&server, &Options::default());
    ask_all(&server, "/whole/", 5, 3);
    ask_all(&server, "/half/", 5, 3);
    assert_told(&agent, &server, "/whole/", 15);
    assert_told(&agent, &server, "/half/", 15);
    agent.stop();
}

#[test]
fn accepting_reading_and_writing_in_three_threads_is_told_once() {
    let Some(_machine) = guard("accepting_reading_and_writing_in_three_threads_is_told_once") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    ask_all(&server, "/thread/", 5, 4);
    assert_told(&agent, &server, "/thread/", 20);
    agent.stop();
}

#[test]
fn duplicated_descriptors_are_one_connection() {
    let Some(_machine) = guard("duplicated_descriptors_are_one_connection") else { return };
    let server = Server::script(SCRIPT);
    let agent = Agent::observing(&server, &Options::default());
    ask_all(&server, "/dup/", 5, 4);
    assert_told(&agent, &server, "/dup/", 20);
    agent.stop();
}

#[test]
fn a_socket_inherited_by_vfork_and_exec_is_told_once() {
    let Some(_machine) = guard("a_socket_inherited_by_vfork_and_exec_is_told_once") else { return };
    let server = Server::compiled("ugly/spawning_server.c", &["connection"]);
    let agent = Agent::observing(&server, &Options::default());
    ask_all(&server, "/spawn/", 8, 3);
    assert_told(&agent, &server, "/spawn/", 24);
    agent.stop();
}

#[test]
fn a_listener_inherited_by_exec_is_told_once() {
    let Some(_machine) = guard("a_listener_inherited_by_exec_is_told_once") else { return };
    let agent = Agent::start(&Options::default());
    let server = Server::compiled("ugly/spawning_server.c", &["listener"]);
    agent.wait_until_observed(&server);
    ask_all(&server, "/exec/", 4, 5);
    assert_told(&agent, &server, "/exec/", 20);
    agent.stop();
}
