//! Settings that are each right and can't hold together.

use super::{ConfigError, Environment, keys};

/// Both name the same thing in metrics that nothing could tell apart.
const SPAN_METRICS: [&str; 2] = ["application_span", "application_span_otel"];
/// Keys that say which metrics are told.
const FEATURES: [&str; 3] =
    ["metrics.features", "otel_metrics_export.features", "prometheus_export.features"];

/// Refuses what Beyla refuses, and what can't be served.
pub(super) fn check(env: &Environment) -> Result<(), ConfigError> {
    span_metrics(env)?;
    ports(env)?;
    queue(env)?;
    client_certificates(env)?;
    ratio(env)
}

fn refuse(env: &Environment, key: &str, problem: String) -> ConfigError {
    let place = env.origin(key).map_or_else(|| "settings".to_owned(), |origin| origin.to_string());
    ConfigError::in_file(place, problem)
}

fn text(env: &Environment, key: &str) -> Option<String> {
    env.value(key).as_ref().and_then(super::scalar::text)
}

fn number(env: &Environment, key: &str) -> Option<u64> {
    text(env, key)?.parse().ok()
}

fn span_metrics(env: &Environment) -> Result<(), ConfigError> {
    for key in FEATURES {
        let features = text(env, key).unwrap_or_default();
        let has = |name: &&str| features.split(',').any(|feature| feature.trim() == *name);
        if SPAN_METRICS.iter().all(has) {
            let [one, other] = SPAN_METRICS;
            return Err(refuse(env, key, format!("{key} has both {one} and {other}: choose one of them")));
        }
    }
    Ok(())
}

/// Two endpoints can't have one port.
fn ports(env: &Environment) -> Result<(), ConfigError> {
    let [metrics, health] = ["prometheus_export.port", "health_check.port"];
    match (number(env, metrics), number(env, health)) {
        (Some(one), Some(other)) if one == other && one != 0 => {
            Err(refuse(env, health, format!("{health} and {metrics} are both {one}: choose different ports")))
        }
        _ => Ok(()),
    }
}

fn queue(env: &Environment) -> Result<(), ConfigError> {
    let [batch, queue] = ["otel_traces_export.batch_max_size", "otel_traces_export.queue_size"];
    match (number(env, batch), number(env, queue)) {
        (Some(most), Some(room)) if most > room => Err(refuse(
            env,
            batch,
            format!("{batch} is {most}, more than {queue}, which is {room}: a batch could never be full"),
        )),
        _ => Ok(()),
    }
}

/// One alone would be left out in silence, and the collector would refuse a stranger.
fn client_certificates(env: &Environment) -> Result<(), ConfigError> {
    for signal in ["TRACES_", "METRICS_", "LOGS_"] {
        let halves = ["CLIENT_CERTIFICATE", "CLIENT_KEY"].map(|half| {
            let names = [signal, ""].map(|family| format!("OTEL_EXPORTER_OTLP_{family}{half}"));
            let place = |name: &String| keys::by_plain(name).map(keys::Key::place);
            (names.iter().filter_map(place).find(|place| text(env, place).is_some()), half)
        });
        if let [(Some(set), half), (None, other)] | [(None, other), (Some(set), half)] = halves {
            let problem =
                format!("a {half} without a {other} is of no use: set OTEL_EXPORTER_OTLP_{other}, too");
            return Err(refuse(env, &set, problem));
        }
    }
    Ok(())
}

fn ratio(env: &Environment) -> Result<(), ConfigError> {
    let [name, arg] = ["otel_traces_export.sampler.name", "otel_traces_export.sampler.arg"];
    let Some(given) = text(env, arg).filter(|_| text(env, name).is_some_and(|name| name.ends_with("ratio")))
    else {
        return Ok(());
    };
    match given.parse::<f64>() {
        Ok(share) if (0. ..=1.).contains(&share) => Ok(()),
        _ => Err(refuse(env, arg, format!("{arg} is {given:?}; allowed: a share from 0 to 1"))),
    }
}
