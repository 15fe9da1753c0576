//! The Prometheus endpoint.

use super::environment::Environment;
use super::otlp::Exponential;
use super::{ConfigError, parse};

/// Finest and coarsest schema of a native histogram, by the format.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
/// Buckets that a histogram may lie across before it is made coarser: those between may be empty and are not served.
const SPAN_BUCKETS: usize = 160;
/// Served buckets that may be asked for: more would be memory without end.
const MAX_BUCKETS: usize = 1024;

/// The Prometheus endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrometheusConfig {
    /// Port, on every IPv4 address. Not 0.
    pub port: u16,
    /// Path, begins with `/`. Default: `/metrics`.
    pub path: String,
    /// The variable that set the port: an error about the port names it.
    pub port_variable: String,
    /// What those get who ask for native histograms.
    pub native: NativeHistograms,
}

/// Bounds of native histograms. `PROMETHEUS_NATIVE_HISTOGRAM_*`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NativeHistograms {
    /// Finest schema, -4 to 8. Default: that of a growth of 1.1, which is 3.
    pub max_schema: i32,
    /// Buckets that are not empty, 1 to 1024. Default: 100.
    pub max_buckets: usize,
}

impl Default for NativeHistograms {
    /// As Beyla.
    fn default() -> Self {
        Self { max_schema: 3, max_buckets: 100 }
    }
}

impl NativeHistograms {
    /// Bounds of the histograms that they are made from.
    #[must_use]
    pub fn bounds(self) -> Exponential {
        Exponential { max_buckets: self.max_buckets.max(SPAN_BUCKETS), max_scale: self.max_schema }
    }
}

/// Reads `prometheus_export`; `None`: off.
pub(super) fn prometheus(env: &mut Environment) -> Result<Option<PrometheusConfig>, ConfigError> {
    let path = env.parsed("PROMETHEUS_PATH", parse::http_path, parse::HTTP_PATH)?;
    let port = env.parsed("PROMETHEUS_PORT", parse::port_or_off, parse::PORT_OR_OFF)?;
    let path = path.unwrap_or_else(|| "/metrics".to_owned());
    let port_variable = env.name_of("PROMETHEUS_PORT");
    let native = native(env)?;
    Ok(port.flatten().map(|port| PrometheusConfig { port: port.get(), path, port_variable, native }))
}

fn native(env: &mut Environment) -> Result<NativeHistograms, ConfigError> {
    let default = NativeHistograms::default();
    let schema = env.parsed("PROMETHEUS_NATIVE_HISTOGRAM_BUCKET_FACTOR", schema, "a number above 1")?;
    let buckets = env.parsed("PROMETHEUS_NATIVE_HISTOGRAM_MAX_BUCKET_NUMBER", buckets, "1 to 1024")?;
    Ok(NativeHistograms {
        max_schema: schema.unwrap_or(default.max_schema),
        max_buckets: buckets.unwrap_or(default.max_buckets),
    })
}

/// The coarsest schema whose buckets grow by no more than this factor.
fn schema(text: &str) -> Result<i32, String> {
    let factor: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    if factor.is_nan() || factor <= 1. {
        return Err("not above 1".to_owned());
    }
    let growth = |schema: i32| f64::exp2(f64::exp2(f64::from(-schema)));
    Ok(SCHEMAS.clone().find(|schema| growth(*schema) <= factor).unwrap_or(*SCHEMAS.end()))
}

fn buckets(text: &str) -> Result<usize, String> {
    let n: usize = text.parse().map_err(|_| "no whole number".to_owned())?;
    if (1..=MAX_BUCKETS).contains(&n) { Ok(n) } else { Err("out of range".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_the_coarsest_schema_that_grows_no_faster() {
        for (factor, expected) in [
            ("1.1", 3),
            ("1.0905077326652577", 3),
            ("1.09", 4),
            ("2", 0),
            ("4.5", -1),
            ("65536", -4),
            ("1e300", -4),
            ("1.0001", 8),
        ] {
            assert_eq!(schema(factor), Ok(expected), "{factor}");
        }
        for wrong in ["1", "0", "-2", "NaN", "many", ""] {
            assert!(schema(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_of_buckets_has_bounds() {
        assert_eq!((buckets("1"), buckets("1024")), (Ok(1), Ok(1024)));
        for wrong in ["0", "1025", "-1", "1.5", ""] {
            assert!(buckets(wrong).is_err(), "{wrong}");
        }
    }
}
