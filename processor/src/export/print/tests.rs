use super::*;
use crate::export::samples::{client_span, server_span};

fn printed(printer: TracePrinter, is_coloured: bool, spans: &[Span]) -> String {
    let mut out = String::new();
    let mut format = Format::new(printer, is_coloured).unwrap();
    format.append(&mut out, spans.iter());
    out
}

#[test]
fn text_is_beylas_line() {
    assert_eq!(
        printed(TracePrinter::Text, false, &[server_span()]),
        "2023-11-14 22:13:20.123456 (1.234567ms[1.234567ms]) HTTP 200 GET /users/7 \
         [127.0.0.1 as 127.0.0.1:54321]->[127.0.0.1 as 127.0.0.1:8080] contentLen:0B responseLen:615B svc=[nginx] \
         traceparent=[00-01010101010101010101010101010101-0202020202020202[0000000000000000]-01]\n"
    );
}

#[test]
fn a_client_without_answer_has_status_0_and_its_own_method() {
    assert_eq!(
        printed(TracePrinter::Text, false, &[client_span()]),
        "2023-11-14 22:13:20.123456 (1.234567ms[1.234567ms]) HTTPClient 0 BREW /users/7(/users/{id}) \
         [::1 as ::1:54321]->[2001:db8::1 as 2001:db8::1:80] contentLen:0B responseLen:615B svc=[shop/worker python] \
         traceparent=[00-01010101010101010101010101010101-0202020202020202[0303030303030303]-01]\n"
    );
}

#[test]
fn an_ipv4_address_on_an_ipv6_socket_reads_as_ipv4() {
    let mut span = server_span();
    span.peer = "[::ffff:10.0.0.1]:9".parse().unwrap();
    assert!(printed(TracePrinter::Text, false, &[span]).contains("[10.0.0.1 as 10.0.0.1:9]->"));
}

#[test]
fn only_the_status_is_coloured_and_only_if_asked() {
    let with_status = |status| {
        let mut span = server_span();
        span.http.status = status;
        printed(TracePrinter::Text, true, &[span])
    };
    for (status, colour) in [(200, 32), (304, 32), (404, 33), (503, 31), (0, 31)] {
        let text = with_status(status);
        assert!(text.contains(&format!(" HTTP \u{1b}[{colour}m{status}\u{1b}[0m GET ")), "{text:?}");
        assert_eq!(text.matches('\u{1b}').count(), 2);
    }
}

#[test]
fn a_hostile_request_prints_one_harmless_line() {
    let mut span = server_span();
    span.http.path = "/\u{1b}]0;owned\u{7}\n2023 fake line".into();
    span.http.method_original = Some("G\rET".into());
    for printer in [TracePrinter::Text, TracePrinter::Json] {
        let text = printed(printer, false, &[span.clone()]);
        assert_eq!(text.chars().filter(|c| c.is_control()).collect::<String>(), "\n", "{text:?}");
    }
}

#[test]
fn json_is_one_array_of_one_object_per_line_with_beylas_keys() {
    let text = printed(TracePrinter::Json, false, &[server_span(), client_span()]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        concat!(
            r#"[{"type":"HTTP","peer":"127.0.0.1","peerPort":"54321","host":"127.0.0.1","hostPort":"8080","#,
            r#""traceID":"01010101010101010101010101010101","spanID":"0202020202020202","#,
            r#""parentSpanID":"0000000000000000","traceFlags":"1","peerName":"","hostName":"","#,
            r#""kind":"SPAN_KIND_SERVER","start":"1700000000123456","handlerStart":"1700000000123456","#,
            r#""end":"1700000000124691","duration":"1.234567ms","durationUSec":"1234","#,
            r#""handlerDuration":"1.234567ms","handlerDurationUSec":"1234","attributes":{"method":"GET","#,
            r#""status":"200","url":"/users/7","contentLen":"0","responseLen":"615","route":"","#,
            r#""clientAddr":"127.0.0.1","serverAddr":"shop.example","serverPort":"8080"}}]"#
        )
    );
    let client: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(client[0]["kind"], "SPAN_KIND_CLIENT");
    assert_eq!(client[0]["type"], "HTTPClient");
    assert_eq!(client[0]["parentSpanID"], "0303030303030303");
    assert_eq!(client[0]["attributes"]["method"], "BREW");
    assert_eq!(client[0]["attributes"]["status"], "0");
    assert_eq!(client[0]["attributes"]["route"], "/users/{id}");
    assert_eq!(lines.len(), 2);
}

#[test]
fn indented_json_says_the_same() {
    let text = printed(TracePrinter::JsonIndent, false, &[server_span()]);
    assert!(text.starts_with("[\n {\n  \"type\": \"HTTP\",\n  \"peer\": \"127.0.0.1\",\n"), "{text}");
    assert!(text.ends_with("   \"serverPort\": \"8080\"\n  }\n }\n]\n"), "{text}");
    let flat = printed(TracePrinter::Json, false, &[server_span()]);
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&text), value(&flat));
}

#[test]
fn a_query_string_is_not_printed_because_a_span_has_none() {
    assert!(!printed(TracePrinter::Json, false, &[server_span()]).contains('?'));
}

#[test]
fn the_counter_says_the_total_at_most_once_a_second_and_at_the_end() {
    let mut bytes = Vec::new();
    let format = Format::new(TracePrinter::Counter, false).unwrap();
    let mut printer = Printer::new(format, &mut bytes, Telemetry::new());
    for _ in 0..3 {
        printer.export(&[server_span(), server_span()]);
    }
    drop(printer);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("Processed 2 requests\n") && text.ends_with("Processed 6 requests\n"), "{text}");
}

#[test]
fn disabled_prints_nothing_at_all() {
    assert!(Format::new(TracePrinter::Disabled, true).is_none());
}

/// Fails each write with one kind of error.
struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn export_to(error: io::ErrorKind) -> (bool, String) {
    let telemetry = Telemetry::new();
    let mut printer = Printer::new(Format::Text { is_coloured: false }, Failing(error), telemetry.clone());
    printer.export(&[server_span()]);
    printer.export(&[server_span()]);
    let mut out = String::new();
    telemetry.render(&mut out);
    (printer.is_closed(), out)
}

#[test]
fn a_reader_that_went_away_closes_the_printer() {
    assert!(export_to(io::ErrorKind::BrokenPipe).0);
}

#[test]
fn a_full_disk_is_counted_and_does_not_end_anything() {
    let (is_closed, metrics) = export_to(io::ErrorKind::StorageFull);
    assert!(!is_closed);
    assert!(
        metrics.contains("ratatosk_spans_dropped_total{exporter=\"print\",reason=\"write_failed\"} 2\n"),
        "{metrics}"
    );
}

#[test]
fn a_span_that_is_left_out_of_traces_is_not_printed_one_that_was_not_sampled_is() {
    let (mut ignored, mut unsampled) = (server_span(), server_span());
    ignored.signals.traces = false;
    unsampled.trace_flags = 0;
    let telemetry = Telemetry::new();
    let mut printer =
        Printer::new(Format::new(TracePrinter::Text, false).unwrap(), Vec::new(), telemetry.clone());
    printer.export(&[ignored, unsampled]);
    let text = String::from_utf8(std::mem::take(&mut printer.out)).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(text.ends_with("-00]\n"), "{text}");
}
