//! What Ratatosk tells about itself.

pub mod exposition;
mod metrics;
#[cfg(test)]
mod tests;

pub use metrics::Telemetry;
