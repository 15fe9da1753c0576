//! Configuration files of Beyla, as a user has them: each loads, and what has no effect is said once.

use ratatosk::{
    config::{
        Config, Environment, Naming, NativeHistograms, Pattern, PortRange, TracePrinter, Warning, show,
    },
    discover::{Facts, Matcher},
    select::{RESOURCE, TRACES},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config").join(name)
}

fn env(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
    let owned: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    owned.into_iter()
}

fn loaded(name: &str, pairs: &[(&str, &str)]) -> Config {
    Config::load_with(Some(&example(name)), env(pairs)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A file of its own for each test, removed at the end.
struct Written(PathBuf);

impl Written {
    fn new(test: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ratatosk-{test}-{}.yml", std::process::id()));
        fs::write(&path, text).expect("written");
        Self(path)
    }

    fn load(&self, pairs: &[(&str, &str)]) -> Result<Config, String> {
        let name = self.0.display().to_string();
        Config::load_with(Some(&self.0), env(pairs)).map_err(|error| error.to_string().replace(&name, "FILE"))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // a file that is left in the temporary directory hurts nobody
        let _ = fs::remove_file(&self.0);
    }
}

/// The keys that have no effect yet, without file and line.
fn without_effect(config: &Config) -> Vec<String> {
    let key = |warning: &Warning| match warning {
        Warning::NotSupported { setting, .. } => setting.rsplit(": ").next().map(str::to_owned),
        _ => None,
    };
    config.warnings.iter().filter_map(key).collect()
}

const EXAMPLES: [&str; 8] = [
    "ports.yml",
    "collector.yml",
    "discovery.yml",
    "services.yml",
    "routes.yml",
    "kubernetes.yml",
    "network.yml",
    "everything.yml",
];

#[test]
fn every_example_starts_and_names_a_key_once_at_most() {
    for name in EXAMPLES {
        let config = loaded(name, &[]);
        Matcher::new(config.selection.clone()).expect(name);
        let mut keys = without_effect(&config);
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all, "{name}: {keys:?}");
        assert!(config.warnings.iter().all(|warning| !warning.to_string().contains('\n')), "{name}");
    }
}

#[test]
fn ports_and_names_of_a_file_count_and_its_variables_have_defaults() {
    let config = loaded("ports.yml", &[]);
    assert_eq!(config.selection.open_ports, [PortRange { first: 8080, last: 8080 }]);
    let naming = Naming { name: Some("shop".to_owned()), namespace: Some("retail".to_owned()) };
    assert_eq!(config.selection.rules.naming, naming);
    assert_eq!(config.trace_printer, TracePrinter::Text);
    assert_eq!(config.prometheus.as_ref().map(|prometheus| prometheus.port), Some(9400));
    assert_eq!(config.warnings, []);
    let other = loaded("ports.yml", &[("SERVICE_PORT", "81"), ("BEYLA_TRACE_PRINTER", "counter")]);
    assert_eq!(other.selection.open_ports, [PortRange { first: 81, last: 81 }]);
    assert_eq!(other.trace_printer, TracePrinter::Counter, "a variable counts before the file");
}

#[test]
fn discovery_has_entries_with_names_and_exclusions() {
    let rules = loaded("discovery.yml", &[]).selection.rules;
    let names: Vec<_> = rules.instrument.iter().map(|entry| entry.naming.name.as_deref()).collect();
    assert_eq!(names, [Some("gateway"), Some("worker"), None, None, None]);
    assert_eq!(rules.instrument[0].open_ports.len(), 3);
    assert_eq!(rules.instrument[1].cmd_args, Some(Pattern::Glob("*celery*".to_owned())));
    assert_eq!(rules.instrument[3].pids, [4242, 4243]);
    assert!(rules.instrument[4].containers_only);
    assert_eq!(rules.exclude.len(), 2);
    assert_eq!(rules.default_exclude.len(), 2, "the agents, and the one folder of the file");
}

#[test]
fn the_older_form_of_discovery_is_made_of_regular_expressions() {
    let config = loaded("services.yml", &[]);
    let exe: Vec<_> = config.selection.rules.instrument.iter().map(|entry| entry.exe.clone()).collect();
    let regex = |text: &str| Some(Pattern::Regex(text.to_owned()));
    assert_eq!(exe, [regex("^/opt/api/bin/.+$"), regex("python|ruby"), regex("(shop|till)")]);
    assert_eq!(config.trace_printer, TracePrinter::Text);
}

#[test]
fn what_only_kubernetes_knows_is_named_and_selects_nobody() {
    let config = loaded("kubernetes.yml", &[]);
    let unknowable: Vec<bool> =
        config.selection.rules.instrument.iter().map(|entry| entry.is_unknowable).collect();
    assert_eq!(unknowable, [true, true, false]);
    let keys = without_effect(&config);
    for key in [
        "discovery.instrument[0].k8s_namespace",
        "discovery.exclude_instrument[0].k8s_namespace",
        "attributes.kubernetes.enable",
    ] {
        assert!(keys.iter().any(|known| known == key), "{key} not in {keys:?}");
    }
}

#[test]
fn a_warning_tells_file_line_key_and_effect() {
    let file = Written::new("warning", "open_port: 80\ntrace_printer: text\nebpf:\n  wakeup_len: 10\n");
    let config = file.load(&[]).expect("valid");
    let said: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains(".yml:4: ebpf.wakeup_len is a setting of Beyla"), "{said:?}");
    assert!(said[0].contains("wakes the reader"), "{said:?}");
}

#[test]
fn families_of_metrics_that_are_not_there_yet_are_named() {
    let text = "open_port: 80\ntrace_printer: text\nmetrics:\n  features: [application, network, ebpf]\n";
    let said = |env: &[(&str, &str)]| -> Vec<String> {
        let config = Written::new("features", text).load(env).expect("valid");
        config.warnings.iter().map(ToString::to_string).collect()
    };
    let of_file = said(&[]);
    assert_eq!(of_file.len(), 1, "{of_file:?}");
    assert!(
        of_file[0].contains(".yml:4: metrics.features: network, ebpf is a setting of Beyla"),
        "{of_file:?}"
    );
    let of_variable = said(&[("BEYLA_METRICS_FEATURES", "application, stats")]);
    assert!(
        of_variable.iter().any(|said| said.starts_with("BEYLA_METRICS_FEATURES: stats ")),
        "{of_variable:?}"
    );
}

#[test]
fn the_default_exclusion_names_agents_and_collectors_and_nothing_beside() {
    let config = Written::new("agents", "auto_target_exe: \"*\"\n").load(&[]).expect("valid");
    let matcher = Matcher::new(config.selection).expect("valid");
    for (exe, is_observed) in [
        ("/usr/bin/beyla", false),
        ("/opt/otelcol", false),
        ("/otelcol-contrib", false),
        ("/opt/acme-otelcol-contrib_linux", false),
        ("/opt/otelcol/bin/shop", true),
        ("/usr/bin/jacobi", true),
    ] {
        let facts = Facts { exe: Some(exe), ..Facts::default() };
        assert_eq!(matcher.selects(&facts), is_observed, "{exe}");
    }
}

#[test]
fn attributes_that_are_selected_reach_the_exporters() {
    let config = loaded("routes.yml", &[]);
    let is_on = |section, attribute| config.attributes.is_on(section, attribute);
    assert!(!is_on("http.server.request.duration", "server.address"));
    assert!(is_on("http.server.request.duration", "server.port"));
    assert!(is_on("http.server.request.body.size", "server.address"));
    assert!(is_on(TRACES, "url.query"));
    assert!(!without_effect(&config).iter().any(|key| key.contains("attributes.select")));
    let text = "attributes:\n  select:\n    http.*:\n      include: ['*']\n      exclude: ['server*']\n    \
                resource: {exclude: [host_id]}\n";
    let globs = Written::new("select", text).load(&[]).expect("valid").attributes;
    let on = ["url.path", "server.port", "http.route"]
        .map(|name| globs.is_on("http.client.request.duration", name));
    assert_eq!(on, [true, false, true]);
    assert!(!globs.is_on(RESOURCE, "host.id") && globs.is_on(RESOURCE, "host.name"));
}

#[test]
fn what_is_selected_and_told_by_nobody_is_warned_about() {
    for (name, expected) in [
        ("routes.yml", &["sql_client_*", "http.request.header.*"][..]),
        ("network.yml", &["beyla_network_flow_bytes"]),
        ("ports.yml", &[]),
    ] {
        let config = loaded(name, &[]);
        let warned = config.warnings.iter().filter_map(|warning| match warning {
            Warning::NoSuchAttribute { name } => Some(name.as_str()),
            _ => None,
        });
        assert_eq!(warned.collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn native_histograms_have_the_bounds_of_beyla_unless_somebody_says_others() {
    let native = |pairs: &[(&str, &str)]| loaded("ports.yml", pairs).prometheus.expect("a port").native;
    assert_eq!(native(&[]), NativeHistograms { max_schema: 3, max_buckets: 100 });
    let finer = [
        ("BEYLA_PROMETHEUS_NATIVE_HISTOGRAM_BUCKET_FACTOR", "1.01"),
        ("OTEL_EBPF_PROMETHEUS_NATIVE_HISTOGRAM_MAX_BUCKET_NUMBER", "300"),
    ];
    assert_eq!(native(&finer), NativeHistograms { max_schema: 7, max_buckets: 300 });
    let text =
        "prometheus_export:\n  port: 9400\n  native_histogram: {bucket_factor: 2, max_bucket_number: 20}\n";
    let config = Written::new("native", text).load(&[]).expect("valid");
    let native = config.prometheus.expect("a port").native;
    assert_eq!(native, NativeHistograms { max_schema: 0, max_buckets: 20 });
}

#[test]
fn mistakes_name_file_line_key_and_what_is_allowed() {
    for (text, expected) in [
        ("open_ports: 80\n", "FILE:1: \"open_ports\" is no key; did you mean open_port?"),
        ("a:\n  b: 1\n", "FILE:1: \"a\" is no key; docs/configuration.md has every key"),
        (
            "discovery:\n  instruments: []\n",
            "FILE:2: \"discovery.instruments\" is no key; did you mean discovery.instrument?",
        ),
        (
            "discovery:\n  instrument:\n    - open_port: 80\n",
            "FILE:3: \"discovery.instrument[0].open_port\" is no key; did you mean open_ports?",
        ),
        (
            "open_port: http\n",
            "FILE:1: open_port: \"http\" is not valid: \"http\" is not a port; allowed: ports from 1",
        ),
        ("routes: [a]\n", "FILE:1: routes must be a section, and is a list"),
        ("\n\nopen_port: {a: 1}\n", "FILE:3: open_port is a section; allowed: ports from 1"),
        (
            "ebpf:\n  wakeup_len: many\n",
            "FILE:2: ebpf.wakeup_len: \"many\" is not valid: not a whole number; allowed: a whole number from 0",
        ),
        (
            "ebpf:\n  buffer_sizes: {mysql: 65537}\n",
            "FILE:2: ebpf.buffer_sizes.mysql: \"65537\" is not valid: out of range",
        ),
        ("shutdown_timeout: soon\n", "FILE:1: shutdown_timeout: \"soon\" is not valid"),
        (
            "routes: {unmatched: guess}\n",
            "FILE:1: routes.unmatched: \"guess\" is not valid: no such word; allowed: unset, path",
        ),
        (
            "discovery:\n  instrument:\n    - name: a\n",
            "FILE:3: discovery.instrument[0]: this entry has no criterion",
        ),
        (
            "discovery:\n  instrument:\n    - open_ports: 80\n      sampler: {name: sometimes}\n",
            "FILE:4: discovery.instrument[0].sampler.name: \"sometimes\" is not valid",
        ),
        (
            "discovery:\n  instrument:\n    - open_ports: 80\n      sampler: {name: traceidratio, arg: 2}\n",
            "FILE:3: discovery.instrument[0]: sampler.arg: \"2\" is not understood",
        ),
        (
            "discovery:\n  instrument:\n    - open_ports: 80\n      routes: {incoming: [\"\"]}\n",
            "FILE:3: discovery.instrument[0]: routes.incoming[0]",
        ),
        (
            "discovery:\n  instrument:\n    - open_ports: 80\n      exports: [pictures]\n",
            "FILE:4: discovery.instrument[0].exports: \"pictures\" is not valid",
        ),
        (
            "discovery:\n  services:\n    - exe_path: (a\n",
            "FILE:3: discovery.services[0]: exe_path: \"(a\": not a regular expression",
        ),
        ("- a\n", "FILE:1: the file must be a section, and is a list"),
        ("open_port: [80\n", "FILE:2: not YAML"),
        (
            "metrics:\n  features: [application_span, application_span_otel]\n",
            "FILE:2: metrics.features has both application_span and application_span_otel",
        ),
        (
            "prometheus_export: {port: 9}\nhealth_check:\n  port: 9\n",
            "FILE:3: health_check.port and prometheus_export.port are both 9",
        ),
        (
            "otel_traces_export: {sampler: {name: traceidratio, arg: 2}}\n",
            "FILE:1: otel_traces_export.sampler.arg is \"2\"; allowed: a share from 0 to 1",
        ),
        (
            "attributes:\n  select:\n    traces: {include: ['[a']}\n",
            "FILE:2: attributes.select.traces.include: \"[a\" is not understood",
        ),
        (
            "prometheus_export:\n  native_histogram: {bucket_factor: 1}\n",
            "FILE:2: prometheus_export.native_histogram.bucket_factor: \"1\" is not valid: not above 1",
        ),
        (
            "otel_traces_export: {batch_max_size: 10, queue_size: 5}\n",
            "FILE:1: otel_traces_export.batch_max_size is 10, more than",
        ),
    ] {
        let said = Written::new("mistakes", text).load(&[]).expect_err(text);
        assert!(said.starts_with(expected), "{text:?}: {said}");
        assert!(!said.contains('\n'), "{said}");
    }
}

#[test]
fn the_file_may_be_named_by_a_variable_of_either_prefix() {
    let path = example("ports.yml").display().to_string();
    for variable in ["BEYLA_CONFIG_PATH", "OTEL_EBPF_CONFIG_PATH"] {
        let config = Config::load(env(&[(variable, &path)])).expect("valid");
        assert_eq!(config.selection.open_ports, [PortRange { first: 8080, last: 8080 }]);
    }
}

#[test]
fn sections_can_be_read_as_types_of_their_own() {
    #[derive(Debug, Default, serde::Deserialize, PartialEq)]
    struct Routes {
        patterns: Vec<String>,
        unmatched: String,
        max_path_segment_cardinality: usize,
    }
    #[derive(Debug, Default, serde::Deserialize, PartialEq)]
    struct Criterion {
        greater_equals: Option<i64>,
        not_match: Option<String>,
    }
    type Filter = std::collections::BTreeMap<String, Criterion>;
    let environment = Environment::new(Some(&example("routes.yml")), env(&[])).expect("valid");
    let routes: Routes = environment.section("routes").expect("routes");
    assert_eq!((routes.patterns.len(), routes.max_path_segment_cardinality), (2, 20));
    assert_eq!(routes.unmatched, "low-cardinality");
    let filter: Filter = environment.section("filter.application").expect("filter");
    assert_eq!(filter["http_response_status_code"].greater_equals, Some(500));
    assert_eq!(filter["url_path"].not_match.as_deref(), Some("/internal/*"));
}

#[test]
fn every_value_is_shown_with_its_origin_and_secrets_are_not() {
    let pairs = [
        ("OTEL_EBPF_OPEN_PORT", "81"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer abcdef"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:pass@collector:4317"),
    ];
    let file = example("everything.yml");
    let shown = show(&Environment::new(Some(&file), env(&pairs)).expect("valid"));
    for line in ["open_port = [\"81\"]  # OTEL_EBPF_OPEN_PORT", "log_level = info  # default"] {
        assert!(shown.lines().any(|known| known == line), "{line} not in\n{shown}");
    }
    assert!(shown.contains("everything.yml:7"), "{shown}");
    for secret in ["abcdef", "very-secret", "user:pass"] {
        assert!(!shown.contains(secret), "{secret} in\n{shown}");
    }
}
