use super::*;
use crate::config::Config;

fn loaded(set: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn otlp(set: &[(&str, &str)]) -> Otlp {
    loaded(set).unwrap().otlp
}

fn traces(set: &[(&str, &str)]) -> Settings {
    otlp(set).traces.unwrap().settings
}

#[test]
fn without_an_endpoint_nothing_is_sent() {
    assert_eq!(otlp(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), Otlp::default());
}

#[test]
fn a_path_is_appended_to_the_general_endpoint_only() {
    for (endpoint, path) in [
        ("http://c:4318", "/v1/traces"),
        ("http://c:4318/", "/v1/traces"),
        ("https://c/otlp/", "/otlp/v1/traces"),
    ] {
        assert_eq!(traces(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).endpoint.path, path);
    }
    let own = traces(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d:4318/x"),
    ]);
    assert_eq!((own.endpoint.address.as_str(), own.endpoint.path.as_str()), ("d:4318", "/x"));
}

#[test]
fn the_protocol_follows_the_port_unless_it_is_said() {
    for (endpoint, protocol) in [
        ("http://c:4317", Protocol::Grpc),
        ("http://c:14317", Protocol::Grpc),
        ("http://c:4318", Protocol::HttpProtobuf),
        ("https://c", Protocol::HttpProtobuf),
        ("unix:///run/c.sock", Protocol::Grpc),
    ] {
        assert_eq!(traces(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).protocol, protocol, "{endpoint}");
    }
    let said = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
    ];
    assert_eq!(traces(&said).protocol, Protocol::HttpProtobuf);
    assert_eq!(otlp(&said).metrics.unwrap().settings.protocol, Protocol::Grpc);
}

#[test]
fn what_is_said_of_one_signal_counts_before_the_general() {
    let found = otlp(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, b=%20x%2Cy"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "c=3"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "3000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"),
    ]);
    let (traces, metrics) = (found.traces.unwrap().settings, found.metrics.unwrap().settings);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(traces.headers.0, [pair("a", "1"), pair("b", " x,y")]);
    assert_eq!(metrics.headers.0, [pair("c", "3")]);
    assert_eq!((traces.timeout, metrics.timeout), (Duration::from_secs(3), Duration::from_secs(2)));
    assert_eq!((traces.gzip, metrics.gzip), (true, false));
}

#[test]
fn a_value_of_a_header_is_not_printed() {
    let settings = traces(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret"),
    ]);
    let shown = format!("{settings:?}");
    assert!(shown.contains("authorization") && !shown.contains("secret"), "{shown}");
}

#[test]
fn a_wrong_value_is_an_error_that_says_what_is_allowed() {
    for (variable, value, problem) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "it needs http:// or https:// before it"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c", "ftp:// is not understood"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "unix://c", "a socket needs an absolute path"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:p@c", "a user name does not belong here: set a header"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "thrift", "no such protocol"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a", "a pair without ="),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "it is 0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "no such compression"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "gamma", "no such temporality"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "some", "no such filter"),
        ("OTEL_TRACES_EXPORTER", "jaeger", "no such exporter"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999", "more than 1048576"),
        ("BEYLA_METRICS_INTERVAL", "5", "a number without unit"),
        ("BEYLA_METRICS_INTERVAL", "5x", "\"x\" is no unit of time"),
        ("BEYLA_METRICS_EXPONENTIAL_HISTOGRAM_MAX_SCALE", "21", "out of range"),
    ] {
        let error = loaded(&[(variable, value)]).unwrap_err();
        assert_eq!((error.variable.as_str(), error.problem.as_str()), (variable, problem));
    }
}

#[test]
fn beylas_form_of_a_setting_counts_before_the_standard_one() {
    let found = otlp(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "30000"),
        ("BEYLA_METRICS_INTERVAL", "1m1.5s"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "7"),
    ]);
    assert_eq!(found.metrics.unwrap().interval, Duration::from_millis(61_500));
    assert_eq!(found.traces.unwrap().batch_spans, 7);
}

#[test]
fn none_switches_a_signal_off() {
    let found = otlp(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_METRICS_EXPORTER", "none")]);
    assert!(found.traces.is_some() && found.metrics.is_none());
}

#[test]
fn insecure_skip_verify_and_shutdown_timeout_are_beylas() {
    let set = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c"),
        ("BEYLA_INSECURE_SKIP_VERIFY", "true"),
        ("OTEL_EBPF_SHUTDOWN_TIMEOUT", "3s"),
    ];
    assert!(traces(&set).tls.insecure_skip_verify);
    assert_eq!(loaded(&set).unwrap().shutdown_timeout, Duration::from_secs(3));
}

/// What is said about ports and protocols.
fn odd(set: &[(&str, &str)]) -> Vec<String> {
    let said = loaded(set).unwrap().warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    said.into_iter().filter(|warning| warning.contains("has port")).collect()
}

#[test]
fn a_port_that_does_not_fit_the_protocol_is_warned_about_once() {
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
    for (endpoint, protocol, said) in [
        ("http://c:4318", "grpc", Some("has port 4318, where collectors speak http/protobuf")),
        ("http://c:14317", "http/protobuf", Some("has port 14317, where collectors speak grpc")),
        ("https://c:443", "", None),
        ("https://c:443", "grpc", Some("has port 443")),
        ("https://c", "grpc", None),
        ("http://c:5555", "", Some("has port 5555, which tells no protocol: http/protobuf is spoken")),
        ("http://[::1]:5555", "", Some("has port 5555, which tells no protocol")),
        ("http://c:5555", "grpc", None),
        ("http://c:4317", "", None),
        ("http://c:4318", "", None),
        ("http://c:4317", "grpc", None),
        ("unix:///run/c:1", "", None),
    ] {
        let odd = odd(&[(ENDPOINT, endpoint), (PROTOCOL, protocol)]);
        assert_eq!(odd.len(), usize::from(said.is_some()), "{endpoint} {protocol}: {odd:?}");
        let starts = said.is_none_or(|said| odd[0].starts_with(&format!("{ENDPOINT} {said}")));
        assert!(starts, "{endpoint} {protocol}: {odd:?}");
    }
}

#[test]
fn each_signal_with_an_endpoint_of_its_own_is_warned_about_by_its_name() {
    let own = odd(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://d:4318"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
    ]);
    assert_eq!(own.len(), 1, "{own:?}");
    assert!(own[0].starts_with("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT has port 4318"), "{own:?}");
    let off = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:5555"), ("OTEL_TRACES_EXPORTER", "none")];
    assert_eq!(odd(&off), [""; 0]);
}

#[test]
fn a_secret_that_is_no_pair_is_not_shown() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=%zz,hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@c:4318"),
    ] {
        let said = loaded(&[(name, value)]).unwrap_err().to_string();
        assert!(said.contains(name) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn half_a_client_certificate_is_refused() {
    const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
    let key = |name| ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", name);
    for set in [&[(CERTIFICATE, "/c.pem")][..], &[key("/k.pem")]] {
        let said = loaded(set).unwrap_err().to_string();
        assert!(said.contains("CLIENT_KEY") && said.contains("CLIENT_CERTIFICATE"), "{said}");
    }
    let whole = [(CERTIFICATE, "/c.pem"), ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem"), key("/own.pem")];
    assert!(loaded(&whole).is_ok());
}
