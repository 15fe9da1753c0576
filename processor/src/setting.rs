//! What is common to settings: how one that is not understood is told, and how text is read.

use serde::{Deserializer, de};
use std::fmt;

/// A value that a feature can't work with: running without what was asked for is worse than not running.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{key}: {value:?} is not understood: {allowed}")]
pub struct InvalidSetting {
    /// Path of the key in the configuration file.
    pub key: String,
    /// What was found.
    pub value: String,
    /// What would be understood.
    pub allowed: &'static str,
}

impl InvalidSetting {
    /// `value` at `key`, where `allowed` would be right.
    #[must_use]
    pub fn new(key: impl Into<String>, value: impl Into<String>, allowed: &'static str) -> Self {
        Self { key: key.into(), value: value.into(), allowed }
    }
}

/// Text, whether it is quoted or not: `arg: 0.1` and `arg: "0.1"` are the same, as in Beyla. Nothing is no text.
///
/// # Errors
/// Those of `deserializer`: a list, or a map.
pub(crate) fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Scalar)
}

/// The same, where nothing is `None`.
///
/// # Errors
/// Those of [`scalar`].
pub(crate) fn optional_scalar<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    scalar(deserializer).map(|text| Some(text).filter(|text| !text.is_empty()))
}

struct Scalar;

impl de::Visitor<'_> for Scalar {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_unit<E: de::Error>(self) -> Result<String, E> {
        Ok(String::new())
    }
}
