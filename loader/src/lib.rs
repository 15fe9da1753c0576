//! The privileged side of Ratatosk, as a library for its binary and its tests.

pub mod attach;
pub mod kernel;
pub mod privilege;
pub mod server;

/// The loader's processes, one file each.
pub mod process {
    pub mod reader;
}
