//! The unprivileged side of Ratatosk: raw records become OpenTelemetry traces and metrics.
//!
//! One request's way, left to right: ingest -> decode -> reassemble -> protocol -> correlate -> decorate -> export.

#![forbid(unsafe_code)]

pub mod model;
pub mod protocol;
pub mod reassemble;
