//! One file per process of the loader: this folder is its privilege map.

pub mod attacher;
pub mod elf;
pub mod ipc;
pub mod reader;
pub mod server;
