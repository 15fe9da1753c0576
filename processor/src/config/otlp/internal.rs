//! What the agent tells about itself, and where to: nothing unless it is asked for.

use super::{Common, ConfigError, Environment, Layer, Settings};
use std::time::Duration;

const EXPORTERS: &str = "disabled, otel";
const METRICS_EXPORTERS: &str = "disabled, prometheus, otel";

/// The agent's own telemetry. Each signal goes where that signal of the observed processes would go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Internal {
    /// `internal_metrics.exporter`: the metrics `ratatosk_*`.
    pub metrics: Option<InternalMetrics>,
    /// `ratatosk.internal_logs.exporter`: what stderr says, too.
    pub logs: Option<Settings>,
    /// `ratatosk.internal_traces.exporter`: connections to the loader, requests to collectors.
    pub traces: Option<Settings>,
}

impl Internal {
    /// Nobody asked for anything.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.metrics.is_none() && self.logs.is_none() && self.traces.is_none()
    }
}

/// How own metrics leave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InternalMetrics {
    /// Where to.
    pub settings: Settings,
    /// Between two exports, that of the other metrics.
    pub interval: Duration,
}

/// One signal, as the settings know it.
struct Signal {
    key: &'static str,
    family: &'static str,
    path: &'static str,
}

const METRICS: Signal = Signal { key: "internal_metrics.exporter", family: "METRICS_", path: "/v1/metrics" };
const LOGS: Signal = Signal { key: "ratatosk.internal_logs.exporter", family: "LOGS_", path: "/v1/logs" };
const TRACES: Signal =
    Signal { key: "ratatosk.internal_traces.exporter", family: "TRACES_", path: "/v1/traces" };

/// Reads what of it is asked for.
pub(super) fn internal(
    env: &mut Environment,
    general: &Layer,
    common: &Common,
    interval: Duration,
) -> Result<Internal, ConfigError> {
    let metrics = env.parsed("INTERNAL_METRICS_EXPORTER", metrics_exporter, METRICS_EXPORTERS)?;
    let logs = env.plain("RATATOSK_INTERNAL_LOGS_EXPORTER", exporter, EXPORTERS)?;
    let traces = env.plain("RATATOSK_INTERNAL_TRACES_EXPORTER", exporter, EXPORTERS)?;
    let settings = |signal: &Signal, is_on: Option<bool>| {
        let layer = Layer::read(env, signal.family)?;
        if is_on != Some(true) {
            return Ok(None);
        }
        let settings = layer.resolve(general.clone(), signal.path).ok_or_else(|| nowhere(env, signal))?;
        Ok(Some(common.apply(settings)))
    };
    Ok(Internal {
        metrics: settings(&METRICS, metrics)?.map(|settings| InternalMetrics { settings, interval }),
        logs: settings(&LOGS, logs)?,
        traces: settings(&TRACES, traces)?,
    })
}

/// As Beyla, which refuses to tell its metrics to nobody.
fn nowhere(env: &Environment, signal: &Signal) -> ConfigError {
    let Signal { key, family, .. } = signal;
    let place = env.origin(key).map_or_else(|| "settings".to_owned(), |origin| origin.to_string());
    let problem = format!(
        "{key} is otel, but no collector is named: set OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_{family}ENDPOINT"
    );
    ConfigError::in_file(place, problem)
}

fn exporter(value: &str) -> Result<bool, String> {
    match value {
        "disabled" => Ok(false),
        "otel" => Ok(true),
        _ => Err("no such exporter".to_owned()),
    }
}

/// They stand at the Prometheus endpoint in any case, beside those of the observed processes.
fn metrics_exporter(value: &str) -> Result<bool, String> {
    if value == "prometheus" { Ok(false) } else { exporter(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");

    fn loaded(set: &[(&str, &str)]) -> Result<Internal, String> {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(set).map(|config| config.otlp.internal).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_told_unless_it_is_asked_for() {
        assert!(loaded(&[COLLECTOR]).unwrap().is_off());
        let prometheus = ("BEYLA_INTERNAL_METRICS_EXPORTER", "prometheus");
        assert!(loaded(&[COLLECTOR, prometheus]).unwrap().is_off());
    }

    #[test]
    fn each_signal_is_asked_for_alone_and_goes_to_its_path() {
        for (variable, path) in [
            ("BEYLA_INTERNAL_METRICS_EXPORTER", "/v1/metrics"),
            ("OTEL_EBPF_INTERNAL_METRICS_EXPORTER", "/v1/metrics"),
            ("RATATOSK_INTERNAL_LOGS_EXPORTER", "/v1/logs"),
            ("RATATOSK_INTERNAL_TRACES_EXPORTER", "/v1/traces"),
        ] {
            let Internal { metrics, logs, traces } = loaded(&[COLLECTOR, (variable, "otel")]).unwrap();
            let all = [metrics.map(|metrics| metrics.settings), logs, traces];
            let paths: Vec<String> = all.into_iter().flatten().map(|on| on.endpoint.path).collect();
            assert_eq!(paths, [path], "{variable}");
        }
    }

    #[test]
    fn logs_have_variables_of_their_own() {
        let set = [
            COLLECTOR,
            ("RATATOSK_INTERNAL_LOGS_EXPORTER", "otel"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://l:4317"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "250"),
        ];
        let logs = loaded(&set).unwrap().logs.unwrap();
        assert_eq!(logs.endpoint.address, "l:4317");
        assert_eq!(logs.timeout, Duration::from_millis(250));
    }

    #[test]
    fn own_metrics_follow_the_interval_and_not_the_switch_of_the_others() {
        let set = [
            COLLECTOR,
            ("BEYLA_INTERNAL_METRICS_EXPORTER", "otel"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("BEYLA_METRICS_INTERVAL", "5s"),
        ];
        assert_eq!(loaded(&set).unwrap().metrics.unwrap().interval, Duration::from_secs(5));
    }

    #[test]
    fn asking_without_a_collector_or_for_an_unknown_exporter_is_an_error() {
        let error = loaded(&[("RATATOSK_INTERNAL_LOGS_EXPORTER", "otel")]).unwrap_err();
        assert!(error.contains("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"), "{error}");
        let error = loaded(&[COLLECTOR, ("RATATOSK_INTERNAL_TRACES_EXPORTER", "jaeger")]).unwrap_err();
        assert!(error.contains("allowed: disabled, otel"), "{error}");
    }
}
