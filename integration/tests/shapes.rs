//! Every shape that HTTP/1 takes on the wire.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{
    Agent, Options,
    agent::TOLD,
    client::{self, Connection},
    guard,
    server::Server,
    wait_until,
};
use std::{
    thread,
    time::{Duration, Instant},
};

#[test]
fn the_last_response_of_an_idle_connection_is_told_within_two_seconds() {
    let Some(_machine) = guard("the_last_response_of_an_idle_connection_is_told_within_two_seconds") else {
        return;
    };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let mut connection = server.connect();
    connection.ask("GET", "/r/idle-1", 0).unwrap();
    let since = Instant::now();
    connection.ask("GET", "/file/idle-2", 0).unwrap();
    let is_told = |path: &str| agent.spans().iter().any(|span| span.path == path);
    wait_until("the last response", TOLD, || (is_told("/r/idle-1") && is_told("/file/idle-2")).then_some(()));
    assert!(since.elapsed() < Duration::from_secs(2), "told after {:?}", since.elapsed());
    drop(connection);
    agent.stop();
}

#[test]
fn a_hundred_pipelined_gets_to_nginx_are_exact() {
    let Some(_machine) = guard("a_hundred_pipelined_gets_to_nginx_are_exact") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    pipeline(&mut server.connect(), "/r/pipe-", 100);
    let log = server.rows("/r/pipe-", 100);
    assert_eq!(agent.server_rows("/r/pipe-", 100), log);
    agent.assert_no_drops();
    agent.stop();
}

/// nginx reads into a buffer of 1 KiB and takes one of 8 KiB when a head is not whole in it. Sixteen of these fill the
/// first exactly, so that each read has the width that is captured by default.
fn request_of_64_bytes(path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nX: \r\n\r\n");
    request.replace("X: ", &format!("X: {}", "x".repeat(64 - request.len())))
}

/// All requests in one write, then all responses.
fn pipeline(connection: &mut Connection, prefix: &str, count: usize) {
    let requests: String =
        (0..count).map(|number| request_of_64_bytes(&format!("{prefix}{number:03}"))).collect();
    connection.send(requests.as_bytes()).unwrap();
    for _ in 0..count {
        assert_eq!(connection.response("GET").unwrap().status, 200);
    }
}

#[test]
fn what_the_width_cuts_off_is_counted() {
    let Some(_machine) = guard("what_the_width_cuts_off_is_counted") else { return };
    let server = Server::raw();
    let agent = Agent::observing(&server, &Options::default());
    let cut_before = agent.incomplete("capture_cut");
    pipeline(&mut server.connect(), "/r/one-read-", 100);
    let log = server.rows("/r/one-read-", 100);
    let told = wait_until("spans and cut exchanges to be 100", TOLD, || {
        let rows = agent.server_rows("/r/one-read-", 1);
        let cut = agent.incomplete("capture_cut") - cut_before;
        let told = f64::from(u32::try_from(rows.len()).unwrap());
        ((told + cut - 100.0).abs() < 0.5).then_some(rows)
    });
    assert!(!told.is_empty() && told.len() < 100, "{} spans: the width should cut", told.len());
    assert!(told.iter().all(|row| log.contains(row)), "a cut exchange must not be invented: {told:?}");
    agent.stop();
}

#[test]
fn a_wide_turn_shows_all_of_one_read() {
    let Some(_machine) = guard("a_wide_turn_shows_all_of_one_read") else { return };
    let server = Server::raw();
    let agent = Agent::observing(&server, &Options::default().with("RATATOSK_TURN_BYTES", 16_384));
    pipeline(&mut server.connect(), "/r/one-read-", 100);
    let log = server.rows("/r/one-read-", 100);
    assert_eq!(agent.server_rows("/r/one-read-", 100), log);
    agent.stop();
}

#[test]
fn a_head_split_at_every_byte_is_told_once() {
    let Some(_machine) = guard("a_head_split_at_every_byte_is_told_once") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let mut connection = server.connect();
    let splits = client::get("/r/split-000").len();
    for at in 1..splits {
        let request = client::get(&format!("/r/split-{at:03}"));
        let (first, second) = request.as_bytes().split_at(at);
        connection.send(first).unwrap();
        // Long enough for the server to read the first part alone.
        thread::sleep(Duration::from_millis(3));
        connection.send(second).unwrap();
        connection.response("GET").unwrap();
    }
    let log = server.rows("/r/split-", splits - 1);
    assert_eq!(agent.server_rows("/r/split-", splits - 1), log);
    agent.assert_no_drops();
    agent.stop();
}

#[test]
fn a_head_of_single_bytes_is_told_once() {
    let Some(_machine) = guard("a_head_of_single_bytes_is_told_once") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let mut connection = server.connect();
    for byte in client::get("/r/bytes").as_bytes() {
        connection.send(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    connection.response("GET").unwrap();
    assert_eq!(agent.server_rows("/r/bytes", 1), server.rows("/r/bytes", 1));
    agent.stop();
}

#[test]
fn a_chunked_download_of_100_mb_has_its_size_on_the_wire() {
    let Some(_machine) = guard("a_chunked_download_of_100_mb_has_its_size_on_the_wire") else { return };
    let server = Server::python();
    let agent = Agent::observing(&server, &Options::default());
    let mut connection = server.connect();
    let big = connection.ask("GET", "/chunked/100", 0).unwrap();
    connection.ask("GET", "/r/after-big", 0).unwrap();
    let log = server.rows("/chunked/100", 1);
    assert_eq!(log[0].4, big.wire_bytes, "server and client agree");
    assert_eq!(agent.server_rows("/chunked/100", 1), log);
    assert_eq!(agent.server_rows("/r/after-big", 1), server.rows("/r/after-big", 1));
    agent.stop();
}

#[test]
fn uploads_have_their_size() {
    let Some(_machine) = guard("uploads_have_their_size") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let mut connection = server.connect();
    for (number, bytes) in [1, 1000, 70_000, 20_000_000].into_iter().enumerate() {
        let status = connection.ask("PUT", &format!("/put/upload-{number}"), bytes).unwrap().status;
        assert_eq!(status, 201);
    }
    connection.ask("GET", "/r/after-upload", 0).unwrap();
    assert_eq!(agent.server_rows("/put/", 4), server.rows("/put/", 4));
    assert_eq!(agent.server_rows("/r/after-upload", 1), server.rows("/r/after-upload", 1));
    agent.stop();
}

#[test]
fn an_expected_continue_is_no_response() {
    let Some(_machine) = guard("an_expected_continue_is_no_response") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let mut connection = server.connect();
    let head = "PUT /put/continue HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(50));
    connection.send(b"hello").unwrap();
    assert_eq!(connection.response("PUT").unwrap().status, 201);
    // nginx counts the 25 bytes of its "100 Continue" as body bytes; on the wire no body follows the final head
    assert_eq!(server.rows("/put/continue", 1), [("/put/continue".to_owned(), "PUT".to_owned(), 201, 5, 25)]);
    assert_eq!(
        agent.server_rows("/put/continue", 1),
        [("/put/continue".to_owned(), "PUT".to_owned(), 201, 5, 0)]
    );
    agent.stop();
}

#[test]
fn closed_connections_and_http_1_0_are_told() {
    let Some(_machine) = guard("closed_connections_and_http_1_0_are_told") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    for (path, version, header) in [
        ("/r/close-11", "1.1", "Connection: close\r\n"),
        ("/r/close-10", "1.0", ""),
        ("/file/close-10", "1.0", ""),
        ("/r/keep-10", "1.0", "Connection: keep-alive\r\n"),
    ] {
        let mut connection = server.connect();
        connection.send(format!("GET {path} HTTP/{version}\r\nHost: t\r\n{header}\r\n").as_bytes()).unwrap();
        assert_eq!(connection.response("GET").unwrap().status, 200);
    }
    for prefix in ["/r/close-", "/file/close-", "/r/keep-"] {
        let log = server.rows(prefix, 1);
        assert_eq!(agent.server_rows(prefix, log.len()), log);
    }
    agent.stop();
}

#[test]
fn a_connection_from_before_the_agent_is_told() {
    let Some(_machine) = guard("a_connection_from_before_the_agent_is_told") else { return };
    let server = Server::nginx();
    let mut connection = server.connect();
    connection.ask("GET", "/r/before", 0).unwrap();
    let agent = Agent::observing(&server, &Options::default());
    for number in 0..10 {
        connection.ask("GET", &format!("/r/old-{number}"), 0).unwrap();
    }
    assert_eq!(agent.server_rows("/r/old-", 10), server.rows("/r/old-", 10));
    assert!(agent.spans().iter().all(|span| span.path != "/r/before"));
    agent.stop();
}

#[test]
fn an_unknown_method_keeps_its_token_in_the_printer() {
    let Some(_machine) = guard("an_unknown_method_keeps_its_token_in_the_printer") else { return };
    let server = Server::python();
    let agent = Agent::observing(&server, &Options::default());
    server.connect().ask("BREW", "/r/coffee", 0).unwrap();
    assert_eq!(agent.server_rows("/r/coffee", 1), server.rows("/r/coffee", 1));
    let name = "http_server_request_duration_seconds_count";
    assert!(agent.scrape().sum(name, &["http_request_method=\"_OTHER\""]) >= 1.0);
    agent.stop();
}

#[test]
fn a_query_string_leaves_the_agent_nowhere() {
    let Some(_machine) = guard("a_query_string_leaves_the_agent_nowhere") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    server.connect().ask("GET", "/r/query?token=HUSH", 0).unwrap();
    assert_eq!(agent.server_rows("/r/query", 1).len(), 1);
    assert!(agent.stdout().iter().chain(&agent.stderr()).all(|line| !line.contains("HUSH")));
    let mut connection = Connection::open(agent.prometheus_port()).unwrap();
    let metrics = connection.ask("GET", "/metrics", 0).unwrap();
    assert!(!String::from_utf8_lossy(&metrics.body).contains("HUSH"));
    agent.stop();
}

#[test]
fn a_traceparent_is_the_parent() {
    let Some(_machine) = guard("a_traceparent_is_the_parent") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    for (path, value) in
        [("/r/parent-good", format!("00-{trace}-{parent}-01")), ("/r/parent-bad", "00-0-0-01".into())]
    {
        let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\ntraceparent: {value}\r\n\r\n");
        let mut connection = server.connect();
        connection.send(request.as_bytes()).unwrap();
        connection.response("GET").unwrap();
    }
    assert_eq!(agent.server_rows("/r/parent-", 2).len(), 2);
    let spans = agent.spans();
    let span = |path: &str| spans.iter().find(|span| span.path == path).unwrap();
    let good = span("/r/parent-good");
    assert_eq!((good.trace_id.as_str(), good.parent_id.as_str()), (trace, parent));
    let bad = span("/r/parent-bad");
    assert!(bad.trace_id != trace && bad.trace_id.len() == 32 && bad.parent_id != parent);
    agent.stop();
}
