//! Where OTLP goes and how: the standard variables of OpenTelemetry, and Beyla's beside them.
//!
//! A signal is exported if, and only if, it has an endpoint. What a variable of one signal says counts before the
//! general one; [`Layer`] is one such voice, so that a file can be one more.

use super::{ConfigError, environment::Environment, parse};
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

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
/// Headers and attributes of one list.
const MAX_PAIRS: usize = 64;

const URL: &str = "http://host:port/path, https://host:port/path, unix:///path/of/socket";
const PROTOCOLS: &str = "grpc, http/protobuf";
const MILLISECONDS: &str = "milliseconds above 0, as in 10000";
const DURATION: &str = "a duration above 0, as in 500ms, 15s, 1m30s";
const COMPRESSIONS: &str = "gzip, none";
const PAIRS: &str = "at most 64 pairs key=value, percent-encoded, separated by commas";
const COUNT: &str = "a whole number above 0";
const TEMPORALITIES: &str = "cumulative, delta, lowmemory";
const AGGREGATIONS: &str = "explicit_bucket_histogram, base2_exponential_bucket_histogram";
const EXEMPLARS: &str = "trace_based, always_on, always_off";
const SCALE: &str = "a scale from -10 to 20";
const BUCKETS: &str = "a number of buckets from 2 to 1024";

/// What is told by OTLP.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Otlp {
    /// Spans.
    pub traces: Option<Traces>,
    /// Metrics of the observed processes.
    pub metrics: Option<Metrics>,
    /// `OTEL_RESOURCE_ATTRIBUTES`: said about every observed process that says nothing else of the kind.
    pub resource_attributes: Vec<(String, String)>,
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

const FILE: &str = "the path of a PEM file";

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
    Ok(Otlp {
        traces: traces(env, general.clone(), &common)?,
        metrics: metrics(env, general, &common)?,
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
                initial: env.parsed("BACKOFF_INITIAL_INTERVAL", duration, DURATION)?.unwrap_or(default.initial),
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
    let delay = env
        .parsed("OTLP_TRACES_BATCH_TIMEOUT", duration, DURATION)?
        .or(env.plain("OTEL_BSP_SCHEDULE_DELAY", milliseconds, MILLISECONDS)?);
    if is_off(env, "OTEL_TRACES_EXPORTER")? {
        return Ok(None);
    }
    Ok(own.resolve(general, "/v1/traces").map(|settings| Traces {
        settings: common.apply(settings),
        batch_spans: batch.unwrap_or(DEFAULT_BATCH_SPANS),
        queue_spans: queue.unwrap_or(DEFAULT_QUEUE_SPANS),
        batch_delay: delay.unwrap_or(DEFAULT_BATCH_DELAY),
    }))
}

fn metrics(env: &mut Environment, general: Layer, common: &Common) -> Result<Option<Metrics>, ConfigError> {
    let own = Layer::read(env, "METRICS_")?;
    let name = |what| format!("OTEL_EXPORTER_OTLP_METRICS_{what}");
    let interval = env
        .parsed("METRICS_INTERVAL", duration, DURATION)?
        .or(env.plain("OTEL_METRIC_EXPORT_INTERVAL", milliseconds, MILLISECONDS)?);
    let temporality = env.plain(&name("TEMPORALITY_PREFERENCE"), temporality, TEMPORALITIES)?;
    let is_exponential =
        env.plain(&name("DEFAULT_HISTOGRAM_AGGREGATION"), aggregation, AGGREGATIONS)?.unwrap_or(false);
    let exponential = exponential(env)?;
    let exemplars = env.plain("OTEL_METRICS_EXEMPLAR_FILTER", exemplars, EXEMPLARS)?;
    if is_off(env, "OTEL_METRICS_EXPORTER")? {
        return Ok(None);
    }
    Ok(own.resolve(general, "/v1/metrics").map(|settings| Metrics {
        settings: common.apply(settings),
        interval: interval.unwrap_or(DEFAULT_INTERVAL),
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

fn in_range<T: FromStr + PartialOrd>(value: &str, range: std::ops::RangeInclusive<T>) -> Result<T, String> {
    value.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| "out of range".to_owned())
}

/// Reads a collector's address.
///
/// # Errors
/// What is wrong with it, for people.
pub fn endpoint(value: &str) -> Result<Endpoint, String> {
    if let Some(path) = value.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.starts_with('/') {
            Ok(Endpoint { scheme: Scheme::Unix, address: path.to_owned(), path: String::new() })
        } else {
            Err("a socket needs an absolute path".to_owned())
        };
    }
    let url: hyper::Uri = value.parse().map_err(|error| format!("not a URL, {error}"))?;
    let scheme = match url.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        Some(other) => return Err(format!("{other}:// is not understood")),
        None => return Err("it needs http:// or https:// before it".to_owned()),
    };
    let authority = url.authority().filter(|authority| !authority.host().is_empty());
    let address = authority.ok_or("no host")?.as_str();
    if address.contains('@') {
        return Err("a user name does not belong here: set a header".to_owned());
    }
    Ok(Endpoint { scheme, address: address.to_owned(), path: url.path().to_owned() })
}

/// Reads a protocol. What Beyla calls `http/json` is protobuf there, too.
///
/// # Errors
/// What is wrong with it, for people.
pub fn protocol(value: &str) -> Result<Protocol, String> {
    match value {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" | "http/json" => Ok(Protocol::HttpProtobuf),
        _ => Err("no such protocol".to_owned()),
    }
}

/// Reads `key=value` pairs, percent-encoded (W3C Baggage), at most [`MAX_PAIRS`].
///
/// # Errors
/// What is wrong with it, for people; it shows no value.
pub fn pairs(value: &str) -> Result<Vec<(String, String)>, String> {
    let parts: Vec<&str> = value.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.len() > MAX_PAIRS {
        return Err(format!("{} pairs", parts.len()));
    }
    parts.into_iter().map(pair).collect()
}

fn pair(part: &str) -> Result<(String, String), String> {
    let (key, value) = part.split_once('=').ok_or("a pair without =")?;
    if key.trim().is_empty() {
        return Err("a pair without key".to_owned());
    }
    Ok((decoded(key.trim()), decoded(value.trim())))
}

/// Percent-decoding; what is no escape stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = escape.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn milliseconds(value: &str) -> Result<Duration, String> {
    let ms: u64 = value.parse().map_err(|_| "not a number".to_owned())?;
    if ms == 0 { Err("it is 0".to_owned()) } else { Ok(Duration::from_millis(ms)) }
}

/// Reads a duration as Go writes it: `1m30s`, `500ms`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn duration(value: &str) -> Result<Duration, String> {
    let mut rest = value;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or("a number without unit")?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let number: f64 = number.parse().map_err(|_| "not a number".to_owned())?;
        let part = Duration::try_from_secs_f64(number * seconds(unit)?).map_err(|error| error.to_string())?;
        sum = sum.checked_add(part).ok_or("too long")?;
        rest = after;
    }
    if sum.is_zero() { Err("it is 0".to_owned()) } else { Ok(sum) }
}

fn seconds(unit: &str) -> Result<f64, String> {
    match unit {
        "us" | "µs" => Ok(1e-6),
        "ms" => Ok(1e-3),
        "s" => Ok(1.),
        "m" => Ok(60.),
        "h" => Ok(3600.),
        _ => Err(format!("{unit:?} is no unit of time")),
    }
}

fn compression(value: &str) -> Result<bool, String> {
    match value {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => Err("no such compression".to_owned()),
    }
}

fn file(value: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(value))
}

fn count(value: &str, most: usize) -> Result<usize, String> {
    let n: usize = value.parse().map_err(|_| "not a number".to_owned())?;
    match n {
        0 => Err("it is 0".to_owned()),
        n if n > most => Err(format!("more than {most}")),
        n => Ok(n),
    }
}

fn temporality(value: &str) -> Result<Temporality, String> {
    match value.to_ascii_lowercase().as_str() {
        "cumulative" => Ok(Temporality::Cumulative),
        "delta" | "lowmemory" => Ok(Temporality::Delta),
        _ => Err("no such temporality".to_owned()),
    }
}

fn aggregation(value: &str) -> Result<bool, String> {
    match value {
        "explicit_bucket_histogram" => Ok(false),
        "base2_exponential_bucket_histogram" => Ok(true),
        _ => Err("no such aggregation".to_owned()),
    }
}

fn exemplars(value: &str) -> Result<Exemplars, String> {
    match value {
        "trace_based" => Ok(Exemplars::TraceBased),
        "always_on" => Ok(Exemplars::AlwaysOn),
        "always_off" => Ok(Exemplars::AlwaysOff),
        _ => Err("no such filter".to_owned()),
    }
}

#[cfg(test)]
#[path = "otlp_tests.rs"]
mod tests;
