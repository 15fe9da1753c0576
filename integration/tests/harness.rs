//! The servers and clients of the harness agree with each other: without this the truth that the agent is held to is none.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{
    Span, guard,
    metrics::Metrics,
    server::{FILE_BYTES, Server},
};

#[test]
fn nginx_logs_what_its_client_saw() {
    let Some(_machine) = guard("nginx_logs_what_its_client_saw") else { return };
    let server = Server::nginx();
    let mut connection = server.connect();
    for (method, path, body, status) in [
        ("GET", "/r/1", 0, 200),
        ("POST", "/r/2", 3000, 200),
        ("HEAD", "/file/3", 0, 200),
        ("GET", "/file/4", 0, 200),
        ("GET", "/gone/5", 0, 404),
        ("GET", "/error/6", 0, 503),
        ("GET", "/empty/7", 0, 204),
        ("PUT", "/put/8", 2_000_000, 201),
        ("DELETE", "/r/9", 0, 200),
    ] {
        let response = connection.ask(method, path, body).unwrap();
        let expected =
            vec![(path.into(), method.into(), status, u64::try_from(body).unwrap(), response.wire_bytes)];
        assert_eq!(server.rows(path, 1), expected);
    }
    assert_eq!(server.rows("/file/4", 1)[0].4, u64::try_from(FILE_BYTES).unwrap());
}

#[test]
fn python_logs_what_its_client_saw() {
    let Some(_machine) = guard("python_logs_what_its_client_saw") else { return };
    let server = Server::python();
    let mut connection = server.connect();
    for (method, path, body) in
        [("GET", "/r/1", 0), ("POST", "/r/2", 3000), ("HEAD", "/r/3", 0), ("GET", "/chunked/2", 0)]
    {
        let response = connection.ask(method, path, body).unwrap();
        let expected =
            vec![(path.into(), method.into(), 200, u64::try_from(body).unwrap(), response.wire_bytes)];
        assert_eq!(server.rows(path, 1), expected);
    }
}

#[test]
fn the_raw_server_answers_all_of_one_read() {
    let Some(_machine) = guard("the_raw_server_answers_all_of_one_read") else { return };
    let server = Server::raw();
    let mut connection = server.connect();
    connection.send("GET /r/x HTTP/1.1\r\n\r\n".repeat(100).as_bytes()).unwrap();
    for _ in 0..100 {
        assert_eq!(connection.response("GET").unwrap().status, 200);
    }
    assert_eq!(server.rows("/r/x", 100).len(), 100);
}

#[test]
fn a_line_of_the_printer_is_read() {
    let line = r#"[{"type":"HTTP","peer":"127.0.0.1","peerPort":"5","host":"127.0.0.1","hostPort":"80","traceID":"a","spanID":"b","parentSpanID":"","traceFlags":"1","peerName":"","hostName":"h","kind":"SPAN_KIND_SERVER","start":"10","handlerStart":"10","end":"30","duration":"20us","durationUSec":"20","handlerDuration":"20us","handlerDurationUSec":"20","attributes":{"method":"GET","status":"200","url":"/r/1","contentLen":"0","responseLen":"5","route":"","clientAddr":"","serverAddr":"h","serverPort":"80"}}]"#;
    let spans = Span::parse_line(line);
    assert_eq!(spans[0].row(), ("/r/1".into(), "GET".into(), 200, 0, 5));
    assert!(spans[0].is_server && spans[0].end_us == 30);
}

#[test]
fn samples_of_a_scrape_are_summed_by_label() {
    let metrics = Metrics::parse("# TYPE a counter\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"2\"} 4\nb 1\n");
    assert!((metrics.sum("a_total", &[]) - 7.0).abs() < f64::EPSILON);
    assert!((metrics.sum("a_total", &["y=\"2\""]) - 3.0).abs() < f64::EPSILON);
    assert_eq!(metrics.non_zero("b"), ["b 1"]);
}
