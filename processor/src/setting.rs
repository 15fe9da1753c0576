//! A setting that is not understood.

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
