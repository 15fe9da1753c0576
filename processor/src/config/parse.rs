//! Values of variables: text to types. Each parser has its sentence of what is allowed.

use super::{LogFormat, LogLevel, Pattern, PortRange, TracePrinter};
use std::{net::IpAddr, num::NonZeroU16, path::PathBuf};

/// Entries of one list: what a person would write, and little enough to send and match for every process.
const MAX_LIST: usize = 256;

pub(super) const PORTS: &str =
    "ports from 1 to 65535 and ranges of them, at most 256, as in 80,443,8000-8999";
pub(super) const PIDS: &str = "process ids, at most 256, as in 123,456";
pub(super) const GLOB: &str =
    "one glob over the path of the executable, as in */nginx or {*/nginx,*/gunicorn*}";
pub(super) const TRACE_PRINTERS: &str = "disabled, text, json, json_indent, counter";
pub(super) const BOOLEANS: &str = "true, false";
pub(super) const PORT_OR_OFF: &str = "a port from 1 to 65535, or 0 for none";
pub(super) const HTTP_PATH: &str = "a path that begins with /, as in /metrics";
pub(super) const LOG_LEVELS: &str = "debug, info, warn, error";
pub(super) const LOG_FORMATS: &str = "text, json";
pub(super) const ADDRESS: &str = "an IPv4 or IPv6 address of this machine";
pub(super) const SOCKET: &str = "an absolute path";

fn list<T>(value: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let items: Vec<T> = value.split(',').map(|part| item(part.trim())).collect::<Result<_, _>>()?;
    if items.len() > MAX_LIST { Err(format!("{} entries", items.len())) } else { Ok(items) }
}

fn port(text: &str) -> Result<u16, String> {
    let port: NonZeroU16 = number(text).ok_or_else(|| format!("{text:?} is not a port"))?;
    Ok(port.get())
}

/// Digits only: `FromStr` would let a plus sign pass.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

pub(super) fn ports(value: &str) -> Result<Vec<PortRange>, String> {
    list(value, |part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = PortRange { first: port(first.trim())?, last: port(last.trim())? };
        if range.first > range.last { Err(format!("{part:?} ends before it begins")) } else { Ok(range) }
    })
}

pub(super) fn pids(value: &str) -> Result<Vec<u32>, String> {
    list(value, |part| {
        number(part).filter(|&pid| pid > 0).ok_or_else(|| format!("{part:?} is not a process id"))
    })
}

pub(super) fn glob(value: &str) -> Result<String, String> {
    let checked = globset::Glob::new(value).map_err(|error| format!("not a glob, {}", error.kind()))?;
    Ok(checked.glob().to_owned())
}

/// Bytes that a compiled regular expression may take: a hundred of them still fit.
const MAX_REGEX_BYTES: usize = 256 << 10;

/// Checks a regular expression.
pub(super) fn regex(value: &str) -> Result<String, String> {
    compiled(value).map(|_| value.to_owned())
}

/// Compiles a regular expression of bounded size.
pub(crate) fn compiled(value: &str) -> Result<regex::Regex, String> {
    let built =
        regex::RegexBuilder::new(value).size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
        _ => "not a regular expression".to_owned(),
    })
}

/// `EXECUTABLE_PATH` is a regular expression that matches anywhere in the path. What could be a glob as well is one:
/// `/usr/*/nginx` means what it seems to mean.
pub(super) fn path_pattern(value: &str) -> Result<Pattern, String> {
    if value.contains(['^', '$', '|', '(', ')', '\\', '+']) || value.contains(".*") {
        return regex(value).map(Pattern::Regex);
    }
    let before = if value.starts_with('*') { "" } else { "*" };
    let after = if value.ends_with('*') { "" } else { "*" };
    glob(&format!("{before}{value}{after}")).map(Pattern::Glob)
}

pub(super) fn trace_printer(value: &str) -> Result<TracePrinter, String> {
    match value {
        "disabled" => Ok(TracePrinter::Disabled),
        "text" => Ok(TracePrinter::Text),
        "json" => Ok(TracePrinter::Json),
        "json_indent" => Ok(TracePrinter::JsonIndent),
        "counter" => Ok(TracePrinter::Counter),
        _ => Err("no such printer".to_owned()),
    }
}

pub(super) fn boolean(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

pub(super) fn port_or_off(value: &str) -> Result<Option<NonZeroU16>, String> {
    number::<u16>(value).map(NonZeroU16::new).ok_or_else(|| "not a port".to_owned())
}

pub(super) fn http_path(value: &str) -> Result<String, String> {
    let is_plain = value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
    if value.starts_with('/') && is_plain { Ok(value.to_owned()) } else { Err("not a path".to_owned()) }
}

pub(super) fn log_level(value: &str) -> Result<LogLevel, String> {
    match value.to_ascii_lowercase().as_str() {
        "debug" => Ok(LogLevel::Debug),
        "info" => Ok(LogLevel::Info),
        "warn" => Ok(LogLevel::Warn),
        "error" => Ok(LogLevel::Error),
        _ => Err("no such level".to_owned()),
    }
}

pub(super) fn absolute(value: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(value);
    if path.is_absolute() { Ok(path) } else { Err("not an absolute path".to_owned()) }
}

pub(super) fn log_format(value: &str) -> Result<LogFormat, String> {
    match value.to_ascii_lowercase().as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("no such format".to_owned()),
    }
}

pub(super) fn address(value: &str) -> Result<IpAddr, String> {
    value.parse().map_err(|_| "not an address".to_owned())
}
