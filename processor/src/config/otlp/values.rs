//! Values of OTLP's variables: text to types. Each parser has its sentence of what is allowed.

use super::{Endpoint, Exemplars, Protocol, Scheme, Temporality};
use std::{path::PathBuf, str::FromStr, time::Duration};

/// Headers and attributes of one list.
const MAX_PAIRS: usize = 64;

pub(super) const URL: &str = "http://host:port/path, https://host:port/path, unix:///path/of/socket";
pub(super) const PROTOCOLS: &str = "grpc, http/protobuf";
pub(super) const MILLISECONDS: &str = "milliseconds above 0, as in 10000";
pub(super) const DURATION: &str = "a duration above 0, as in 500ms, 15s, 1m30s";
pub(super) const COMPRESSIONS: &str = "gzip, none";
pub(super) const PAIRS: &str = "at most 64 pairs key=value, percent-encoded, separated by commas";
pub(super) const COUNT: &str = "a whole number above 0";
pub(super) const TEMPORALITIES: &str = "cumulative, delta, lowmemory";
pub(super) const AGGREGATIONS: &str = "explicit_bucket_histogram, base2_exponential_bucket_histogram";
pub(super) const EXEMPLARS: &str = "trace_based, always_on, always_off";
pub(super) const SCALE: &str = "a scale from -10 to 20";
pub(super) const BUCKETS: &str = "a number of buckets from 2 to 1024";

pub(super) const FILE: &str = "the path of a PEM file";

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

pub(super) fn pair(part: &str) -> Result<(String, String), String> {
    let (key, value) = part.split_once('=').ok_or("a pair without =")?;
    if key.trim().is_empty() {
        return Err("a pair without key".to_owned());
    }
    Ok((decoded(key.trim()), decoded(value.trim())))
}

/// Percent-decoding; what is no escape stays as it is.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = escape
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn milliseconds(value: &str) -> Result<Duration, String> {
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

pub(super) fn seconds(unit: &str) -> Result<f64, String> {
    match unit {
        "us" | "µs" => Ok(1e-6),
        "ms" => Ok(1e-3),
        "s" => Ok(1.),
        "m" => Ok(60.),
        "h" => Ok(3600.),
        _ => Err(format!("{unit:?} is no unit of time")),
    }
}

pub(super) fn compression(value: &str) -> Result<bool, String> {
    match value {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => Err("no such compression".to_owned()),
    }
}

pub(super) fn file(value: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(value))
}

pub(super) fn count(value: &str, most: usize) -> Result<usize, String> {
    let n: usize = value.parse().map_err(|_| "not a number".to_owned())?;
    match n {
        0 => Err("it is 0".to_owned()),
        n if n > most => Err(format!("more than {most}")),
        n => Ok(n),
    }
}

pub(super) fn temporality(value: &str) -> Result<Temporality, String> {
    match value.to_ascii_lowercase().as_str() {
        "cumulative" => Ok(Temporality::Cumulative),
        "delta" | "lowmemory" => Ok(Temporality::Delta),
        _ => Err("no such temporality".to_owned()),
    }
}

pub(super) fn aggregation(value: &str) -> Result<bool, String> {
    match value {
        "explicit_bucket_histogram" => Ok(false),
        "base2_exponential_bucket_histogram" => Ok(true),
        _ => Err("no such aggregation".to_owned()),
    }
}

pub(super) fn exemplars(value: &str) -> Result<Exemplars, String> {
    match value {
        "trace_based" => Ok(Exemplars::TraceBased),
        "always_on" => Ok(Exemplars::AlwaysOn),
        "always_off" => Ok(Exemplars::AlwaysOff),
        _ => Err("no such filter".to_owned()),
    }
}

pub(super) fn in_range<T: FromStr + PartialOrd>(
    value: &str,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, String> {
    value.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| "out of range".to_owned())
}
