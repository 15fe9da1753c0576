//! What Ratatosk tells about itself.

pub mod exposition;
mod metrics;
pub mod own;
#[cfg(test)]
mod tests;

pub use metrics::Telemetry;
pub use own::Operation;
