//! One file per process of the loader: this folder is its privilege map.
//!
//! A process `elf`, which looks into one observed binary and ends, has its place here once something needs it.

pub mod attacher;
pub mod ipc;
pub mod reader;
pub mod server;
