//! Where OTLP goes and how: the standard variables of OpenTelemetry, and Beyla's beside them.
//!
//! A signal is exported if, and only if, it has an endpoint. What a variable of one signal says counts before the
//! general one; [`Layer`] is one such voice, so that a file can be one more.

mod internal;
mod ports;
mod values;

pub use internal::{Internal, InternalMetrics};
pub use values::{duration, endpoint, pairs, protocol};

use super::{ConfigError, environment::Environment, parse};
use std::{fmt, path::PathBuf, time::Duration};
use values::*;

/// Spans that wait while the collector is away: 400 requests a second for 40 s. As in Beyla.
pub const DEFAULT_QUEUE_SPANS: usize = 16_384;
/// Spans of one request, the default of OpenTelemetry's batch processor.
pub const DEFAULT_BATCH_SPANS: usize = 512;
/// Wait for a batch to fill, the default of OpenTelemetry's batch processor.
const DEFAULT_BATCH_DELAY: Duration = Duration::from_secs(5);
/// Time of one request, the default of OTLP.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two exports of metrics.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
/// Time to deliver what is queued when we are asked to end. As in Beyla.
const DEFAULT_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// Bounds of what a variable may ask for: more would be memory without end.
const MAX_QUEUE_SPANS: usize = 1 << 20;
const MAX_BATCH_SPANS: usize = 1 << 16;

/// What is told by OTLP.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Otlp {
    /// Spans.
    pub traces: Option<Traces>,
    /// Metrics of the observed processes.
    pub metrics: Option<Metrics>,
    /// `OTEL_RESOURCE_ATTRIBUTES`: said about every observed process that says nothing else of the kind.
    pub resource_attributes: Vec<(String, String)>,
    /// What the agent tells about itself.
    pub internal: Internal,
}

/// How spans leave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Traces {
    /// Where to.
    pub settings: Settings,
    /// Spans of one request.
    pub batch_spans: usize,
    /// Spans that wait.
    pub queue_spans: usize,
    /// Longest wait for a batch to fill.
    pub batch_delay: Duration,
}

/// How metrics leave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metrics {
    /// Where to.
    pub settings: Settings,
    /// Between two exports.
    pub interval: Duration,
    /// Since when a point counts.
    pub temporality: Temporality,
    /// `None`: fixed buckets.
    pub exponential: Option<Exponential>,
    /// Which requests become examples.
    pub exemplars: Exemplars,
}

/// Since when a point counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Temporality {
    /// Since the series began.
    #[default]
    Cumulative,
    /// Since the last export. For histograms that is what `lowmemory` means, too.
    Delta,
}

/// Bounds of exponential histograms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exponential {
    /// Buckets of one histogram, 2 to 1024.
    pub max_buckets: usize,
    /// Finest scale, -10 to 20.
    pub max_scale: i32,
}

impl Exponential {
    /// Bounds within which histograms for either can be made from one.
    #[must_use]
    pub fn or_finer(self, other: Self) -> Self {
        Self {
            max_buckets: self.max_buckets.max(other.max_buckets),
            max_scale: self.max_scale.max(other.max_scale),
        }
    }
}

impl Default for Exponential {
    /// As the SDKs of OpenTelemetry.
    fn default() -> Self {
        Self { max_buckets: 160, max_scale: 20 }
    }
}

/// Which requests become examples of a bucket.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Exemplars {
    /// Those whose trace is sampled.
    #[default]
    TraceBased,
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
}

/// Where one signal goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The collector.
    pub endpoint: Endpoint,
    /// How to speak with it.
    pub protocol: Protocol,
    /// Sent with every request.
    pub headers: Headers,
    /// Time of one request.
    pub timeout: Duration,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// How a collector at `https` is trusted.
    pub tls: Tls,
    /// Waits between attempts.
    pub backoff: Backoff,
}

/// A collector's address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// How it is reached.
    pub scheme: Scheme,
    /// `host` or `host:port`; the path of the socket of [`Scheme::Unix`].
    pub address: String,
    /// Begins with `/`.
    pub path: String,
}

/// How a collector is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Scheme {
    Http,
    Https,
    Unix,
}

/// How to speak with a collector.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// Names and values. Values may be secret: they are never printed.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Headers(pub Vec<(String, String)>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// How a collector at `https` is trusted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tls {
    /// PEM file of authorities, instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM files that say who we are; both or none.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Anybody is trusted.
    pub insecure_skip_verify: bool,
}

/// Waits between attempts; each doubles up to the longest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// First wait.
    pub initial: Duration,
    /// Longest wait.
    pub longest: Duration,
    /// After so long a batch is given up.
    pub max_elapsed: Duration,
}

impl Default for Backoff {
    /// A collector that was away for 30 s must be found again before the queue is full at 400 requests a second.
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            longest: Duration::from_secs(5),
            max_elapsed: Duration::from_secs(300),
        }
    }
}

/// What one voice (a family of variables, a section of a file) says about a signal.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Layer {
    /// Where to.
    pub endpoint: Option<Endpoint>,
    /// How.
    pub protocol: Option<Protocol>,
    /// With what.
    pub headers: Option<Headers>,
    /// How long.
    pub timeout: Option<Duration>,
    /// Compressed.
    pub gzip: Option<bool>,
    /// Authorities.
    pub certificate: Option<PathBuf>,
    /// Our certificate.
    pub client_certificate: Option<PathBuf>,
    /// Our key.
    pub client_key: Option<PathBuf>,
}

impl Layer {
    /// What this says, and where it is silent what `other` says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            endpoint: self.endpoint.or(other.endpoint),
            protocol: self.protocol.or(other.protocol),
            headers: self.headers.or(other.headers),
            timeout: self.timeout.or(other.timeout),
            gzip: self.gzip.or(other.gzip),
            certificate: self.certificate.or(other.certificate),
            client_certificate: self.client_certificate.or(other.client_certificate),
            client_key: self.client_key.or(other.client_key),
        }
    }

    /// The settings of a signal whose requests go to `path` below a general endpoint; `None` without endpoint.
    #[must_use]
    pub fn resolve(self, general: Self, path: &str) -> Option<Settings> {
        let below = |mut endpoint: Endpoint| {
            endpoint.path = format!("{}{path}", endpoint.path.trim_end_matches('/'));
            endpoint
        };
        let general = Self { endpoint: general.endpoint.clone().map(below), ..general };
        let all = self.or(general);
        let endpoint = all.endpoint?;
        Some(Settings {
            protocol: all.protocol.unwrap_or_else(|| endpoint.usual_protocol()),
            endpoint,
            headers: all.headers.unwrap_or_default(),
            timeout: all.timeout.unwrap_or(DEFAULT_TIMEOUT),
            gzip: all.gzip.unwrap_or(false),
            tls: Tls {
                certificate: all.certificate,
                client: all.client_certificate.zip(all.client_key),
                insecure_skip_verify: false,
            },
            backoff: Backoff::default(),
        })
    }

    fn read(env: &Environment, family: &str) -> Result<Self, ConfigError> {
        let name = |what: &str| format!("OTEL_EXPORTER_OTLP_{family}{what}");
        Ok(Self {
            endpoint: env.plain(&name("ENDPOINT"), endpoint, URL)?,
            protocol: env.plain(&name("PROTOCOL"), protocol, PROTOCOLS)?,
            headers: env.plain(&name("HEADERS"), pairs, PAIRS)?.map(Headers),
            timeout: env.plain(&name("TIMEOUT"), milliseconds, MILLISECONDS)?,
            gzip: env.plain(&name("COMPRESSION"), compression, COMPRESSIONS)?,
            certificate: env.plain(&name("CERTIFICATE"), file, FILE)?,
            client_certificate: env.plain(&name("CLIENT_CERTIFICATE"), file, FILE)?,
            client_key: env.plain(&name("CLIENT_KEY"), file, FILE)?,
        })
    }
}

impl Endpoint {
    /// By the ports that collectors listen on: ...4317 speaks gRPC, everything else HTTP. A unix socket speaks gRPC,
    /// whose way of naming one it is.
    #[must_use]
    pub fn usual_protocol(&self) -> Protocol {
        if self.scheme == Scheme::Unix || self.address.ends_with("4317") {
            Protocol::Grpc
        } else {
            Protocol::HttpProtobuf
        }
    }
}

/// Reads what the environment says about OTLP.
pub(super) fn otlp(env: &mut Environment) -> Result<Otlp, ConfigError> {
    let general = Layer::read(env, "")?;
    let common = Common::read(env)?;
    let interval = interval(env)?;
    Ok(Otlp {
        traces: traces(env, general.clone(), &common)?,
        internal: internal::internal(env, &general, &common, interval)?,
        metrics: metrics(env, general, &common, interval)?,
        resource_attributes: env.plain("OTEL_RESOURCE_ATTRIBUTES", pairs, PAIRS)?.unwrap_or_default(),
    })
}

/// `SHUTDOWN_TIMEOUT`.
pub(super) fn shutdown_timeout(env: &mut Environment) -> Result<Duration, ConfigError> {
    Ok(env.parsed("SHUTDOWN_TIMEOUT", duration, DURATION)?.unwrap_or(DEFAULT_SHUTDOWN_TIMEOUT))
}

/// What Beyla says once for both signals.
struct Common {
    insecure_skip_verify: bool,
    backoff: Backoff,
}

impl Common {
    fn read(env: &mut Environment) -> Result<Self, ConfigError> {
        let default = Backoff::default();
        Ok(Self {
            insecure_skip_verify: env
                .parsed("INSECURE_SKIP_VERIFY", parse::boolean, parse::BOOLEANS)?
                .unwrap_or(false),
            backoff: Backoff {
                initial: env
                    .parsed("BACKOFF_INITIAL_INTERVAL", duration, DURATION)?
                    .unwrap_or(default.initial),
                longest: env.parsed("BACKOFF_MAX_INTERVAL", duration, DURATION)?.unwrap_or(default.longest),
                max_elapsed: env
                    .parsed("BACKOFF_MAX_ELAPSED_TIME", duration, DURATION)?
                    .unwrap_or(default.max_elapsed),
            },
        })
    }

    fn apply(&self, mut settings: Settings) -> Settings {
        settings.tls.insecure_skip_verify = self.insecure_skip_verify;
        settings.backoff = self.backoff;
        settings
    }
}

/// `OTEL_TRACES_EXPORTER=none` and its kin switch a signal off.
fn is_off(env: &Environment, variable: &str) -> Result<bool, ConfigError> {
    let parse = |value: &str| match value {
        "none" => Ok(true),
        "otlp" => Ok(false),
        _ => Err("no such exporter".to_owned()),
    };
    Ok(env.plain(variable, parse, "otlp, none")?.unwrap_or(false))
}

fn traces(env: &mut Environment, general: Layer, common: &Common) -> Result<Option<Traces>, ConfigError> {
    let own = Layer::read(env, "TRACES_")?;
    let count = |env: &mut Environment, beyla, standard, most| -> Result<Option<usize>, ConfigError> {
        let parse = move |value: &str| count(value, most);
        Ok(env.parsed(beyla, parse, COUNT)?.or(env.plain(standard, parse, COUNT)?))
    };
    let batch = count(env, "OTLP_TRACES_BATCH_MAX_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", MAX_BATCH_SPANS)?;
    let queue = count(env, "OTLP_TRACES_QUEUE_SIZE", "OTEL_BSP_MAX_QUEUE_SIZE", MAX_QUEUE_SPANS)?;
    let delay = env.parsed("OTLP_TRACES_BATCH_TIMEOUT", duration, DURATION)?.or(env.plain(
        "OTEL_BSP_SCHEDULE_DELAY",
        milliseconds,
        MILLISECONDS,
    )?);
    if is_off(env, "OTEL_TRACES_EXPORTER")? {
        return Ok(None);
    }
    ports::check(env, "TRACES_", &own, &general);
    Ok(own.resolve(general, "/v1/traces").map(|settings| Traces {
        settings: common.apply(settings),
        batch_spans: batch.unwrap_or(DEFAULT_BATCH_SPANS),
        queue_spans: queue.unwrap_or(DEFAULT_QUEUE_SPANS),
        batch_delay: delay.unwrap_or(DEFAULT_BATCH_DELAY),
    }))
}

fn interval(env: &mut Environment) -> Result<Duration, ConfigError> {
    let interval = env.parsed("METRICS_INTERVAL", duration, DURATION)?.or(env.plain(
        "OTEL_METRIC_EXPORT_INTERVAL",
        milliseconds,
        MILLISECONDS,
    )?);
    Ok(interval.unwrap_or(DEFAULT_INTERVAL))
}

fn metrics(
    env: &mut Environment,
    general: Layer,
    common: &Common,
    interval: Duration,
) -> Result<Option<Metrics>, ConfigError> {
    let own = Layer::read(env, "METRICS_")?;
    let name = |what| format!("OTEL_EXPORTER_OTLP_METRICS_{what}");
    let temporality = env.plain(&name("TEMPORALITY_PREFERENCE"), temporality, TEMPORALITIES)?;
    let is_exponential =
        env.plain(&name("DEFAULT_HISTOGRAM_AGGREGATION"), aggregation, AGGREGATIONS)?.unwrap_or(false);
    let exponential = exponential(env)?;
    let exemplars = env.plain("OTEL_METRICS_EXEMPLAR_FILTER", exemplars, EXEMPLARS)?;
    if is_off(env, "OTEL_METRICS_EXPORTER")? {
        return Ok(None);
    }
    ports::check(env, "METRICS_", &own, &general);
    Ok(own.resolve(general, "/v1/metrics").map(|settings| Metrics {
        settings: common.apply(settings),
        interval,
        temporality: temporality.unwrap_or_default(),
        exponential: is_exponential.then_some(exponential),
        exemplars: exemplars.unwrap_or_default(),
    }))
}

fn exponential(env: &mut Environment) -> Result<Exponential, ConfigError> {
    let default = Exponential::default();
    let buckets = |value: &str| in_range(value, 2..=1024);
    let scale = |value: &str| in_range(value, -10..=20);
    Ok(Exponential {
        max_buckets: env
            .parsed("METRICS_EXPONENTIAL_HISTOGRAM_MAX_SIZE", buckets, BUCKETS)?
            .unwrap_or(default.max_buckets),
        max_scale: env
            .parsed("METRICS_EXPONENTIAL_HISTOGRAM_MAX_SCALE", scale, SCALE)?
            .unwrap_or(default.max_scale),
    })
}

#[cfg(test)]
mod tests;
