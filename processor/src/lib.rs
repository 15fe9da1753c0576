//! The unprivileged side of Ratatosk: raw records become OpenTelemetry traces and metrics.
//!
//! One request's way, left to right: ingest -> decode -> reassemble -> protocol -> correlate -> decorate -> export.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod exit;
pub mod export;
pub mod model;
/// What the pipeline tells apart by its bytes.
pub mod protocol {
    use std::time::Duration;
    /// Silence after which a message whose framing was cut is taken to have ended.
    pub const SILENCE: Duration = Duration::from_secs(1);
}
pub mod telemetry;
