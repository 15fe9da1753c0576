//! The unprivileged side of Ratatosk: raw records become OpenTelemetry traces and metrics.
//!
//! One request's way, left to right: [`ingest`] -> [`decode`] -> [`reassemble`] -> [`protocol`] -> [`correlate`] ->
//! [`decorate`] -> [`export`]. [`pipeline`] is the only file that names every stage in order.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod correlate;
pub mod decode;
pub mod decorate;
pub mod discover;
pub mod exit;
pub mod explain;
pub mod export;
pub mod health;
pub mod ingest;
pub mod model;
pub mod pipeline;
mod places;
pub mod protocol;
pub mod reassemble;
pub mod recording;
pub mod run;
pub mod sample;
pub mod select;
pub mod setting;
pub mod telemetry;
