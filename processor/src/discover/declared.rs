//! What a process says about itself by its environment: three variables of OpenTelemetry.
//!
//! in   `NAME=value` with a NUL each, as the loader told; bytes of an observed process
//! keeps at most [`MAX_ATTRIBUTES`] attributes; what is beyond, or means nothing, is left out
//! spec <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and the W3C baggage syntax

use percent_encoding::percent_decode_str;

/// Attributes of one process: people write five.
pub const MAX_ATTRIBUTES: usize = 32;
/// Characters of a key or a value.
const MAX_CHARS: usize = 128;

/// Names and attributes that a process declares.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Declared {
    /// `OTEL_SERVICE_NAME`, or the attribute `service.name`.
    pub(super) name: Option<String>,
    /// `OTEL_SERVICE_NAMESPACE`, or the attribute `service.namespace`.
    pub(super) namespace: Option<String>,
    /// The attribute `service.instance.id`.
    pub(super) instance_id: Option<String>,
    /// The other attributes, in their order, each key once.
    pub(super) attributes: Vec<(String, String)>,
}

/// Reads the variables; the first of each name counts.
pub(super) fn parse(environment: &[u8]) -> Declared {
    let value = |name: &str| {
        let variables = environment.split(|byte| *byte == 0);
        let mut values = variables.filter_map(|variable| variable.strip_prefix(name.as_bytes()));
        let value = values.find_map(|rest| rest.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned()).filter(|value| !value.is_empty())
    };
    let mut declared = attributes(&value("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
    let plain = |name| value(name).map(|value| plain(&value)).filter(|value| !value.is_empty());
    declared.name = plain("OTEL_SERVICE_NAME").or(declared.name);
    declared.namespace = plain("OTEL_SERVICE_NAMESPACE").or(declared.namespace);
    declared
}

fn attributes(list: &str) -> Declared {
    let mut declared = Declared::default();
    for (key, value) in list.split(',').filter_map(|pair| pair.split_once('=')) {
        let (key, value) = (decoded(key), decoded(value));
        match key.as_str() {
            "" => {}
            "service.name" => set(&mut declared.name, value),
            "service.namespace" => set(&mut declared.namespace, value),
            "service.instance.id" => set(&mut declared.instance_id, value),
            _ => add(&mut declared.attributes, key, value),
        }
    }
    declared
}

fn set(field: &mut Option<String>, value: String) {
    if field.is_none() && !value.is_empty() {
        *field = Some(value);
    }
}

fn add(attributes: &mut Vec<(String, String)>, key: String, value: String) {
    if attributes.len() < MAX_ATTRIBUTES && !attributes.iter().any(|(known, _)| *known == key) {
        attributes.push((key, value));
    }
}

/// Percent-encoded, with blanks around it, as baggage is.
fn decoded(text: &str) -> String {
    plain(&percent_decode_str(text.trim()).decode_utf8_lossy())
}

/// What may stand in a label: no control characters, and not too long.
fn plain(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[&str]) -> Declared {
        parse(variables.join("\0").as_bytes())
    }

    #[test]
    fn a_variable_of_its_own_wins_over_an_attribute() {
        let all = of(&[
            "OTEL_SERVICE_NAME=shop",
            "OTEL_RESOURCE_ATTRIBUTES=service.name=no,service.namespace=eu,service.instance.id=7,team=a%20b, x = y",
        ]);
        assert_eq!(all.name.as_deref(), Some("shop"));
        assert_eq!((all.namespace.as_deref(), all.instance_id.as_deref()), (Some("eu"), Some("7")));
        assert_eq!(all.attributes, [("team".into(), "a b".into()), ("x".into(), "y".into())]);
        assert_eq!(of(&["OTEL_RESOURCE_ATTRIBUTES=service.name=shop"]).name.as_deref(), Some("shop"));
        assert_eq!(of(&["OTEL_SERVICE_NAMESPACE=us"]).namespace.as_deref(), Some("us"));
    }

    #[test]
    fn what_means_nothing_is_left_out() {
        for variables in [
            [].as_slice(),
            &["OTEL_SERVICE_NAME="],
            &["OTEL_SERVICE_NAME"],
            &["OTEL_SERVICE_NAMES=x"],
            &["OTEL_RESOURCE_ATTRIBUTES=,,=,novalue,=x"],
            &["OTEL_SERVICE_NAME= \t\u{1b}"],
        ] {
            assert_eq!(of(variables), Declared::default(), "{variables:?}");
        }
    }

    #[test]
    fn a_hostile_environment_stays_small() {
        let many: Vec<String> = (0..1000).map(|i| format!("k{i}=v")).collect();
        let all = of(&[&format!("OTEL_RESOURCE_ATTRIBUTES={}", many.join(","))]);
        assert_eq!(all.attributes.len(), MAX_ATTRIBUTES);
        let long = of(&[&format!("OTEL_SERVICE_NAME=a\nb{}", "x".repeat(5000))]);
        let name = long.name.expect("a name");
        assert!(name.starts_with("abx") && name.chars().count() == MAX_CHARS);
        assert_eq!(parse(b"OTEL_SERVICE_NAME=\xff\xfe\0").name.as_deref(), Some("\u{fffd}\u{fffd}"));
    }
}
