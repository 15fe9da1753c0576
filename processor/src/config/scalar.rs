//! Texts to values by their kind, and back.

use super::{keys::Kind, parse};
use figment::value::{Num, Value};
use std::time::Duration;

/// The value of `text`.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn value(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Bool => boolean(text).map(Value::from),
        Kind::Integer(first, last) => integer(text, first, last),
        Kind::Number => text.trim().parse::<f64>().map(Value::from).map_err(|_| "not a number".to_owned()),
        Kind::Duration => duration(text).map(|_| Value::from(text)),
        Kind::Ports => parse::ports(text).map(|_| list(text)),
        Kind::OneOf(words) => word(words, text).map(Value::from),
        Kind::List => Ok(list(text)),
        Kind::ListOf(words) => split(text)
            .map(|item| word(words, item).map(Value::from))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::from),
        Kind::Text | Kind::Secret | Kind::Any => Ok(Value::from(text)),
        Kind::Map | Kind::Entries(_) | Kind::Sections(_) => Err("it is one value".to_owned()),
    }
}

/// The text of a value that one variable could hold; `None` for sections.
pub(super) fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(_, text) => text.clone(),
        Value::Char(_, c) => c.to_string(),
        Value::Bool(_, truth) => truth.to_string(),
        Value::Num(_, num) => number(*num),
        Value::Empty(..) => String::new(),
        Value::Array(_, items) => items.iter().map(text).collect::<Option<Vec<_>>>()?.join(","),
        Value::Dict(..) => return None,
    })
}

fn number(num: Num) -> String {
    let whole = num.to_i128().map(|n| n.to_string()).or_else(|| num.to_u128().map(|n| n.to_string()));
    whole.or_else(|| num.to_f64().map(|n| n.to_string())).unwrap_or_default()
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn list(text: &str) -> Value {
    Value::from(split(text).map(Value::from).collect::<Vec<_>>())
}

/// YAML 1.1 has more words for it than variables have, and its users write them.
fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" => Ok(true),
        "no" | "off" | "n" => Ok(false),
        other => parse::boolean(other),
    }
}

fn integer(text: &str, first: i64, last: i64) -> Result<Value, String> {
    let number: i64 = text.trim().parse().map_err(|_| "not a whole number".to_owned())?;
    if (first..=last).contains(&number) { Ok(Value::from(number)) } else { Err("out of range".to_owned()) }
}

fn word(words: &[&'static str], text: &str) -> Result<&'static str, String> {
    let known = words.iter().find(|word| word.eq_ignore_ascii_case(text));
    known.copied().ok_or_else(|| "no such word".to_owned())
}

/// Reads a duration as Go writes it; without unit, nanoseconds.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(nanos) = text.parse::<u64>() {
        return Ok(Duration::from_nanos(nanos));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return Err("it is empty".to_owned());
    }
    while !rest.is_empty() {
        let (number, after) =
            rest.split_at(rest.find(|c: char| !is_digit(c)).ok_or("a number without unit")?);
        let (unit, after) = after.split_at(after.find(is_digit).unwrap_or(after.len()));
        let number: f64 = number.parse().map_err(|_| "not a duration".to_owned())?;
        let part = Duration::try_from_secs_f64(number * seconds(unit)?).map_err(|_| "too long".to_owned())?;
        sum = sum.checked_add(part).ok_or("too long")?;
        rest = after;
    }
    Ok(sum)
}

const fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || c == '.'
}

fn seconds(unit: &str) -> Result<f64, String> {
    match unit {
        "ns" => Ok(1e-9),
        "us" | "\u{b5}s" | "\u{3bc}s" => Ok(1e-6),
        "ms" => Ok(1e-3),
        "s" => Ok(1.),
        "m" => Ok(60.),
        "h" => Ok(3600.),
        _ => Err(format!("{unit:?} is no unit of time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("15s", 15_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("0", 0),
            ("1000000", 1),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5", "5d", "-5s", "1s2", "1e999h", "..s"] {
            assert!(text == "5" || duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_becomes_its_text_again() {
        for (kind, given) in [
            (Kind::Bool, "true"),
            (Kind::Integer(0, 9), "7"),
            (Kind::Number, "1.1"),
            (Kind::Ports, "80,443"),
            (Kind::Duration, "5s"),
            (Kind::List, "a,b"),
        ] {
            assert_eq!(text(&value(kind, given).expect(given)).as_deref(), Some(given));
        }
    }
}
