use super::*;

fn load(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn loaded(env: &[(&str, &str)]) -> Config {
    load(env).unwrap_or_else(|error| panic!("{env:?}: {error}"))
}

#[test]
fn nothing_set_is_a_config_that_says_it_does_nothing() {
    let config = loaded(&[]);
    assert_eq!(config.socket, PathBuf::from(DEFAULT_SOCKET));
    assert!(config.selection.is_empty());
    assert_eq!(config.trace_printer, TracePrinter::Disabled);
    assert_eq!(config.prometheus, None);
    assert_eq!(config.log_level, LogLevel::Info);
    assert_eq!(config.warnings, [Warning::NothingSelected, Warning::NothingExported]);
}

#[test]
fn both_prefixes_work_for_every_variable() {
    for prefix in ["BEYLA_", "OTEL_EBPF_"] {
        let names: Vec<(String, String)> = [
            ("OPEN_PORT", "80, 443,8000-8999"),
            ("AUTO_TARGET_EXE", "{*/nginx,*/gunicorn*}"),
            ("EXECUTABLE_PATH", "python3"),
            ("TARGET_PID", "1,4194304"),
            ("TRACE_PRINTER", "json_indent"),
            ("PROMETHEUS_PORT", "9400"),
            ("PROMETHEUS_PATH", "/m"),
            ("LOG_LEVEL", "DEBUG"),
        ]
        .iter()
        .map(|(name, value)| (format!("{prefix}{name}"), (*value).to_owned()))
        .collect();
        let config = Config::load(names.into_iter()).unwrap();
        let range = |first, last| PortRange { first, last };
        assert_eq!(config.selection.open_ports, [range(80, 80), range(443, 443), range(8000, 8999)]);
        assert_eq!(config.selection.executables, ["{*/nginx,*/gunicorn*}", "*python3*"]);
        assert_eq!(config.selection.pids, [1, 4_194_304]);
        assert_eq!(config.trace_printer, TracePrinter::JsonIndent);
        let prometheus = config.prometheus.unwrap();
        assert_eq!((prometheus.port, prometheus.path.as_str()), (9400, "/m"));
        assert_eq!(prometheus.port_variable, format!("{prefix}PROMETHEUS_PORT"));
        assert_eq!(config.log_level, LogLevel::Debug);
        assert_eq!(config.warnings, []);
    }
}

#[test]
fn the_socket_has_a_variable_of_its_own() {
    assert_eq!(loaded(&[("RATATOSK_SOCKET", "/tmp/a.sock")]).socket, PathBuf::from("/tmp/a.sock"));
    assert_eq!(load(&[("RATATOSK_SOCKET", "a.sock")]).unwrap_err().problem, "not an absolute path");
}

#[test]
fn each_printer_has_its_word_and_print_traces_is_text() {
    for (value, expected) in [
        ("disabled", TracePrinter::Disabled),
        ("text", TracePrinter::Text),
        ("json", TracePrinter::Json),
        ("counter", TracePrinter::Counter),
    ] {
        assert_eq!(loaded(&[("BEYLA_TRACE_PRINTER", value)]).trace_printer, expected);
    }
    assert_eq!(loaded(&[("BEYLA_PRINT_TRACES", "true")]).trace_printer, TracePrinter::Text);
    assert_eq!(loaded(&[("BEYLA_PRINT_TRACES", "0")]).trace_printer, TracePrinter::Disabled);
    let both = [("BEYLA_PRINT_TRACES", "true"), ("BEYLA_TRACE_PRINTER", "json")];
    assert_eq!(loaded(&both).trace_printer, TracePrinter::Json);
}

#[test]
fn a_wrong_value_names_variable_value_and_what_is_allowed() {
    for (variable, value, problem, allowed) in [
        ("BEYLA_OPEN_PORT", "80,http", "\"http\" is not a port", parse::PORTS),
        ("BEYLA_OPEN_PORT", "0", "\"0\" is not a port", parse::PORTS),
        ("BEYLA_OPEN_PORT", "+80", "\"+80\" is not a port", parse::PORTS),
        ("BEYLA_OPEN_PORT", "65536", "\"65536\" is not a port", parse::PORTS),
        ("BEYLA_OPEN_PORT", "9-8", "\"9-8\" ends before it begins", parse::PORTS),
        ("BEYLA_OPEN_PORT", "80,", "\"\" is not a port", parse::PORTS),
        ("OTEL_EBPF_TARGET_PID", "0", "\"0\" is not a process id", parse::PIDS),
        ("BEYLA_AUTO_TARGET_EXE", "*/[a", "not a glob", parse::GLOB),
        ("BEYLA_EXECUTABLE_PATH", ".*nginx", "it looks like a regular expression", parse::GLOB),
        ("BEYLA_TRACE_PRINTER", "xml", "no such printer", parse::TRACE_PRINTERS),
        ("BEYLA_PRINT_TRACES", "yes", "neither true nor false", parse::BOOLEANS),
        ("BEYLA_PROMETHEUS_PORT", "-1", "not a port", parse::PORT_OR_OFF),
        ("BEYLA_PROMETHEUS_PATH", "metrics", "not a path", parse::HTTP_PATH),
        ("BEYLA_LOG_LEVEL", "loud", "no such level", parse::LOG_LEVELS),
    ] {
        let error = load(&[(variable, value)]).unwrap_err();
        assert_eq!(
            (error.variable.as_str(), error.value.as_str(), error.allowed),
            (variable, value, allowed)
        );
        assert!(error.problem.starts_with(problem), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert_eq!(error.exit(), Exit::Usage);
    }
}

#[test]
fn an_error_stays_one_short_line_whatever_the_value() {
    let value = "\u{1b}[31m\n".repeat(10_000);
    let message = load(&[("BEYLA_OPEN_PORT", &value)]).unwrap_err().to_string();
    assert!(message.len() < 4_000 && !message.contains(['\n', '\u{1b}']), "{message}");
}

#[test]
fn a_list_is_bounded() {
    let ports = vec!["80"; 257].join(",");
    assert_eq!(load(&[("BEYLA_OPEN_PORT", &ports)]).unwrap_err().problem, "257 entries");
}

#[test]
fn otel_ebpf_wins_over_beyla_with_a_warning_only_if_they_differ() {
    let both =
        |a, b| loaded(&[("BEYLA_OPEN_PORT", a), ("OTEL_EBPF_OPEN_PORT", b), ("BEYLA_TRACE_PRINTER", "text")]);
    assert_eq!(both("80", "80").warnings, []);
    let differ = both("80", "81");
    assert_eq!(differ.selection.open_ports, [PortRange { first: 81, last: 81 }]);
    let (used, ignored) = ("OTEL_EBPF_OPEN_PORT".to_owned(), "BEYLA_OPEN_PORT".to_owned());
    assert_eq!(differ.warnings, [Warning::Overridden { used, ignored }]);
}

#[test]
fn an_empty_value_is_no_value() {
    let config = loaded(&[("BEYLA_OPEN_PORT", " "), ("BEYLA_LOG_LEVEL", "")]);
    assert!(config.selection.is_empty());
}

#[test]
fn port_zero_turns_the_endpoint_off() {
    assert_eq!(loaded(&[("BEYLA_PROMETHEUS_PORT", "0"), ("BEYLA_TRACE_PRINTER", "text")]).prometheus, None);
}

#[test]
fn variables_without_meaning_are_named_once_each() {
    let config = loaded(&[
        ("BEYLA_OPEN_PORT", "80"),
        ("BEYLA_TRACE_PRINTER", "text"),
        ("BEYLA_KUBE_METADATA_ENABLE", "true"),
        ("OTEL_EBPF_CONFIG_PATH", "/x"),
        ("BEYLA_OPEN_PORTS", "80"),
        ("HOME", "/root"),
    ]);
    let said: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("BEYLA_KUBE_METADATA_ENABLE is a setting of Beyla"), "{said:?}");
    assert_eq!(said[1], "BEYLA_OPEN_PORTS is not a setting: it has no effect");
    assert!(said[2].starts_with("OTEL_EBPF_CONFIG_PATH is a setting of Beyla"), "{said:?}");
}

#[test]
fn an_executable_path_matches_anywhere_and_a_glob_the_whole_path() {
    let matches = |variable, value, path| {
        let config = loaded(&[(variable, value)]);
        globset::Glob::new(&config.selection.executables[0]).unwrap().compile_matcher().is_match(path)
    };
    assert!(matches("BEYLA_EXECUTABLE_PATH", "nginx", "/usr/sbin/nginx"));
    assert!(matches("BEYLA_EXECUTABLE_PATH", "/usr/*/nginx", "/usr/sbin/nginx"));
    assert!(matches("BEYLA_AUTO_TARGET_EXE", "*/nginx", "/usr/sbin/nginx"));
    assert!(!matches("BEYLA_AUTO_TARGET_EXE", "nginx", "/usr/sbin/nginx"));
}

#[test]
fn a_port_range_holds_its_ends() {
    let range = PortRange { first: 10, last: 12 };
    assert_eq!([9, 10, 12, 13].map(|port| range.contains(port)), [false, true, true, false]);
}

#[test]
fn health_checks_and_the_log_format_have_beylas_names() {
    let config = loaded(&[
        ("BEYLA_HEALTH_CHECK_PORT", "8998"),
        ("OTEL_EBPF_HEALTH_CHECK_LISTEN_ADDRESS", "::1"),
        ("BEYLA_HEALTH_CHECK_UNIX_SOCKET_PATH", "/run/x/health.sock"),
        ("BEYLA_LOG_FORMAT", "json"),
        ("RATATOSK_EXPLAIN_SOCKET", "/run/x/explain.sock"),
    ]);
    assert_eq!(config.health.port, Some(8998));
    assert_eq!(config.health.listen_address.to_string(), "::1");
    assert_eq!(config.health.unix_socket_path, Some("/run/x/health.sock".into()));
    assert_eq!(config.health.port_variable, "BEYLA_HEALTH_CHECK_PORT");
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.explain_socket, Some("/run/x/explain.sock".into()));
    let default = loaded(&[]);
    assert_eq!((default.health.port, default.health.unix_socket_path), (None, None));
    assert_eq!(default.health.listen_address.to_string(), "127.0.0.1");
    for (name, value) in [
        ("BEYLA_LOG_FORMAT", "xml"),
        ("BEYLA_HEALTH_CHECK_PORT", "http"),
        ("BEYLA_HEALTH_CHECK_LISTEN_ADDRESS", "localhost"),
        ("BEYLA_HEALTH_CHECK_UNIX_SOCKET_PATH", "relative"),
    ] {
        let set = [(name.to_owned(), value.to_owned())];
        assert_eq!(Config::load(set.into_iter()).unwrap_err().variable, name);
    }
}
