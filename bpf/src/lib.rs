//! Everything of Ratatosk that runs in the kernel: the probe families, their skeletons, and the maps they share.
//!
//! Adding a family touches one folder under `src/probes` and one line in [`probes::ALL`] (and in `build.rs`).

pub mod probes;
mod shared;

pub use shared::{LoadOptions, Policy, SharedMaps};
