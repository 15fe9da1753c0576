//! What of the table has an effect in this version. To announce a setting as done, write its place here.

use super::Key;

/// Whether a setting does something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// It does what it says.
    Supported,
    /// Beyla or OBI know it; here it has no effect yet, and a warning says so.
    NotYet,
}

/// Places ([`Key::place`]) of the settings that work: keys, `variable.X` for what only a variable sets.
pub(super) const SUPPORTED: &[&str] = &[
    // what to observe
    "open_port",
    "auto_target_exe",
    "executable_name",
    "executable_path",
    "target_pids",
    "service_name",
    "service_namespace",
    "discovery.instrument",
    "discovery.exclude_instrument",
    "discovery.default_exclude_instrument",
    "discovery.services",
    "discovery.exclude_services",
    "discovery.default_exclude_services",
    "discovery.excluded_linux_system_paths",
    "auto_target_language",
    "discovery.exclude_otel_instrumented_services",
    "discovery.exclude_otel_instrumented_services_span_metrics",
    // what is told
    "routes.unmatched",
    "routes.patterns",
    "routes.ignored_patterns",
    "routes.ignore_mode",
    "routes.wildcard_char",
    "routes.max_path_segment_cardinality",
    "filter.application",
    "attributes.select",
    "attributes.sensitive_query_params.add",
    "attributes.sensitive_query_params.remove",
    "otel_traces_export.sampler.name",
    "otel_traces_export.sampler.arg",
    "trace_printer",
    "print_traces",
    "prometheus_export.port",
    "prometheus_export.path",
    "metrics.features",
    "prometheus_export.native_histogram.bucket_factor",
    "prometheus_export.native_histogram.max_bucket_number",
    // how it leaves by OTLP
    "variable.OTEL_EXPORTER_OTLP_ENDPOINT",
    "variable.OTEL_EXPORTER_OTLP_PROTOCOL",
    "variable.OTEL_EXPORTER_OTLP_HEADERS",
    "variable.OTEL_EXPORTER_OTLP_TIMEOUT",
    "variable.OTEL_EXPORTER_OTLP_COMPRESSION",
    "variable.OTEL_EXPORTER_OTLP_CERTIFICATE",
    "variable.OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "variable.OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "variable.OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "variable.OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "variable.OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "variable.OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "variable.OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "variable.OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "variable.OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "variable.OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    "variable.OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
    "variable.OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
    "variable.OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
    "variable.OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
    "variable.OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    "variable.OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
    "variable.OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    "variable.OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
    "variable.OTEL_EXPORTER_OTLP_LOGS_COMPRESSION",
    "variable.OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE",
    "variable.OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE",
    "variable.OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY",
    "variable.OTEL_RESOURCE_ATTRIBUTES",
    "variable.OTEL_TRACES_EXPORTER",
    "variable.OTEL_METRICS_EXPORTER",
    "otel_traces_export.endpoint",
    "otel_traces_export.protocol",
    "otel_traces_export.batch_max_size",
    "otel_traces_export.queue_size",
    "otel_traces_export.batch_timeout",
    "variable.OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "variable.OTEL_BSP_MAX_QUEUE_SIZE",
    "variable.OTEL_BSP_SCHEDULE_DELAY",
    "otel_traces_export.backoff_initial_interval",
    "otel_traces_export.backoff_max_interval",
    "otel_traces_export.backoff_max_elapsed_time",
    "otel_traces_export.insecure_skip_verify",
    "otel_metrics_export.endpoint",
    "otel_metrics_export.protocol",
    "variable.OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "variable.OTEL_METRICS_EXEMPLAR_FILTER",
    "shutdown_timeout",
    "otel_metrics_export.interval",
    "variable.OTEL_METRIC_EXPORT_INTERVAL",
    "otel_metrics_export.histogram_aggregation",
    "otel_metrics_export.exponential_histogram.max_size",
    "otel_metrics_export.exponential_histogram.max_scale",
    // the agent itself
    "log_level",
    "log_format",
    "health_check.port",
    "health_check.listen_address",
    "health_check.unix_socket_path",
    "internal_metrics.exporter",
    "ratatosk.internal_logs.exporter",
    "ratatosk.internal_traces.exporter",
    "ratatosk.explain_socket",
    "ratatosk.socket",
    "variable.CONFIG_PATH",
    "variable.NO_COLOR",
];

/// Beginnings of the keys of an entry of `discovery` that have no effect yet. An entry that asks for `k8s_*`,
/// `container_name` or an unknown language matches nothing.
pub(super) const CRITERIA_NOT_YET: &[&str] = &["container_name", "k8s_"];

/// Words of `metrics.features` that have an effect.
const FEATURES: &[&str] = &["application", "all", "*"];

/// Those words of a value that are known and have no effect yet, joined; `None`: there are none.
pub(super) fn words_not_yet<'a>(key: &Key, words: impl Iterator<Item = &'a str>) -> Option<String> {
    let words: Vec<&str> = words.map(str::trim).filter(|word| !FEATURES.contains(word)).collect();
    (key.path == "metrics.features" && !words.is_empty()).then(|| words.join(", "))
}

pub(super) fn of(key: &Key) -> Status {
    if SUPPORTED.contains(&key.place().as_str()) { Status::Supported } else { Status::NotYet }
}
