//! One file per process of the loader: this folder is its privilege map.

pub mod ipc;
pub mod server;
