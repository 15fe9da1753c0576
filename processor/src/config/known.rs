//! Which variables mean something, to us or to Beyla.

use super::Warning;

/// Prefixes of Beyla's variables; the first that is set counts.
pub(super) const PREFIXES: [&str; 2] = ["OTEL_EBPF_", "BEYLA_"];

/// A variable that works.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Without prefix, if it is one of Beyla's.
    pub name: &'static str,
    /// It is read with the prefixes `BEYLA_` and `OTEL_EBPF_`.
    pub has_prefix: bool,
    /// One line for people.
    pub help: &'static str,
}

const fn beyla(name: &'static str, help: &'static str) -> Variable {
    Variable { name, has_prefix: true, help }
}

const fn standard(name: &'static str, help: &'static str) -> Variable {
    Variable { name, has_prefix: false, help }
}

/// Every variable that works, in the order of the help.
pub const VARIABLES: &[Variable] = &[
    beyla("OPEN_PORT", "observe processes that listen on these ports: 80,443,8000-8999"),
    beyla("AUTO_TARGET_EXE", "observe processes whose executable's path matches this glob: */nginx"),
    beyla("EXECUTABLE_PATH", "the same; the glob may match any part of the path: nginx"),
    beyla("TARGET_PID", "observe these processes: 123,456"),
    beyla("TRACE_PRINTER", "print spans on stdout: disabled (default), text, json, json_indent, counter"),
    beyla("PRINT_TRACES", "true is TRACE_PRINTER=text"),
    beyla("PROMETHEUS_PORT", "serve metrics on this port; 0 (default) is off"),
    beyla("PROMETHEUS_PATH", "where the metrics are, default /metrics"),
    beyla("LOG_LEVEL", "log on stderr: debug, info (default), warn, error"),
    beyla("METRICS_INTERVAL", "time between two OTLP exports of metrics, default 60s"),
    beyla("METRICS_EXPONENTIAL_HISTOGRAM_MAX_SIZE", "buckets of an exponential histogram, default 160"),
    beyla("METRICS_EXPONENTIAL_HISTOGRAM_MAX_SCALE", "finest scale of an exponential histogram, default 20"),
    beyla("OTLP_TRACES_BATCH_MAX_SIZE", "spans of one OTLP request, default 512"),
    beyla("OTLP_TRACES_QUEUE_SIZE", "spans that wait for the collector, default 16384"),
    beyla("OTLP_TRACES_BATCH_TIMEOUT", "longest wait for a batch to fill, default 5s"),
    beyla("BACKOFF_INITIAL_INTERVAL", "wait before the second attempt of an OTLP request, default 500ms"),
    beyla("BACKOFF_MAX_INTERVAL", "longest wait between two attempts, default 5s"),
    beyla("BACKOFF_MAX_ELAPSED_TIME", "an OTLP request is given up after so long, default 5m"),
    beyla("INSECURE_SKIP_VERIFY", "true trusts every collector's certificate"),
    beyla("SHUTDOWN_TIMEOUT", "time to deliver what is queued at the end, default 10s"),
    standard("OTEL_EXPORTER_OTLP_ENDPOINT", "collector: http://host:4317, https://host, unix:///socket"),
    standard("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc or http/protobuf; default by the port, ...4317 is grpc"),
    standard("OTEL_EXPORTER_OTLP_HEADERS", "sent with every request: key=value,key=value"),
    standard("OTEL_EXPORTER_OTLP_TIMEOUT", "milliseconds of one request, default 10000"),
    standard("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip or none (default)"),
    standard("OTEL_EXPORTER_OTLP_CERTIFICATE", "PEM file of authorities, default the system's"),
    standard("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "PEM file of our certificate"),
    standard("OTEL_EXPORTER_OTLP_CLIENT_KEY", "PEM file of our key"),
    standard("OTEL_EXPORTER_OTLP_TRACES_...", "each of these for traces alone; ..._METRICS_... for metrics"),
    standard("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative (default), delta, lowmemory"),
    standard(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "explicit_bucket_histogram (default), base2_exponential_bucket_histogram",
    ),
    standard("OTEL_METRICS_EXEMPLAR_FILTER", "trace_based (default), always_on, always_off"),
    standard("OTEL_METRIC_EXPORT_INTERVAL", "METRICS_INTERVAL in milliseconds"),
    standard("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTLP_TRACES_BATCH_MAX_SIZE"),
    standard("OTEL_BSP_MAX_QUEUE_SIZE", "OTLP_TRACES_QUEUE_SIZE"),
    standard("OTEL_BSP_SCHEDULE_DELAY", "OTLP_TRACES_BATCH_TIMEOUT in milliseconds"),
    standard("OTEL_TRACES_EXPORTER", "none: no traces by OTLP"),
    standard("OTEL_METRICS_EXPORTER", "none: no metrics by OTLP"),
    standard("OTEL_RESOURCE_ATTRIBUTES", "said about every process: key=value,key=value"),
    Variable {
        name: "RATATOSK_SOCKET",
        has_prefix: false,
        help: "socket of the loader, default /run/ratatosk/agent.sock",
    },
    Variable { name: "NO_COLOR", has_prefix: false, help: "no colours, even on a terminal" },
];

/// What Beyla reads and we do not yet: whole names, or the beginnings of families (they end in `_`).
const ONLY_BEYLA: &[&str] = &[
    "ALLOW_SERVICE_GRAPH_SELF_REFERENCES",
    "AUTO_TARGET_LANGUAGE",
    "BACKOFF_",
    "BPF_",
    "CHANNEL_",
    "CONFIG_PATH",
    "COUCHBASE_DB_CACHE_SIZE",
    "DEFAULT_OTLP_GRPC_PORT",
    "DISCOVERY_POLL_INTERVAL",
    "DOTNET_",
    "ENFORCE_SYS_CAPS",
    "EXCLUDE_OTEL_INSTRUMENTED_SERVICES",
    "EXCLUDE_OTEL_INSTRUMENTED_SERVICES_SPAN_METRICS",
    "EXTRA_SPAN_RESOURCE_ATTRIBUTES",
    "FORCE_BPF_MAP_READER",
    "GEOIP_",
    "HEALTH_CHECK_",
    "HEURISTIC_SQL_DETECT",
    "HOST_ID",
    "HOSTNAME",
    "HOSTNAME_DNS_RESOLUTION",
    "HTTP_",
    "INSECURE_SKIP_VERIFY",
    "INSTRUMENT_CUDA",
    "INTERNAL_METRICS_",
    "JAVA_ROUTE_HARVEST_DELAY",
    "JAVAAGENT_",
    "KUBE_",
    "LOG_CONFIG",
    "LOG_FORMAT",
    "METADATA_RETRY_",
    "METRIC_SPAN_NAMES_LIMIT",
    "METRICS_",
    "MIN_PROCESS_AGE",
    "NAME_RESOLVER_",
    "NETWORK_",
    "NODEJS_",
    "OTLP_",
    "OVERRIDE_BPF_LOOP_ENABLED",
    "OVERRIDE_BPFLOOP_ENABLED",
    "PROCESS_CONTEXT_POLL_INTERVAL",
    "PROFILE_PORT",
    "PROMETHEUS_",
    "PROTOCOL_DEBUG_PRINT",
    "RENAME_UNRESOLVED_HOSTS",
    "RENAME_UNRESOLVED_HOSTS_",
    "REVERSE_DNS_",
    "ROUTE_HARVESTER_TIMEOUT",
    "SDK_LOG_LEVEL",
    "SENSITIVE_QUERY_PARAMS_",
    "SERVICE_NAME",
    "SERVICE_NAME_TEMPLATE",
    "SERVICE_NAMESPACE",
    "SHUTDOWN_TIMEOUT",
    "SKIP_GO_SPECIFIC_TRACERS",
    "STATS_",
    "TRACES_",
];

/// What to say about a variable that is set, `None` if it works or is not ours to judge.
pub(super) fn judge(variable: &str) -> Option<Warning> {
    let name = PREFIXES.iter().find_map(|prefix| variable.strip_prefix(prefix))?;
    let variable = variable.to_owned();
    if VARIABLES.iter().any(|known| known.has_prefix && known.name == name) {
        None
    } else if ONLY_BEYLA.iter().any(|known| is_family_or_name(known, name)) {
        Some(Warning::NotSupported { variable })
    } else {
        Some(Warning::Unknown { variable })
    }
}

fn is_family_or_name(known: &str, name: &str) -> bool {
    name == known || (known.ends_with('_') && name.starts_with(known))
}
