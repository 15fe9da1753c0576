//! The privileged side of Ratatosk: loads the probes, gives everything up, streams raw records.
//!
//! `process/` has one file per process; `server/` is what the unprivileged half of the loader is made of. No byte that
//! an observed process wrote is parsed here: records are opaque but for the fixed parts that the kernel wrote.

pub mod attach;
pub mod cli;
pub mod error;
pub mod kernel;
pub mod policy;
pub mod privilege;
pub mod process;
pub mod say;
pub mod server;
pub mod socket;
pub mod standalone;
