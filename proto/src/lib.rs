//! What loader and processor say to each other: the generated types of `agent.proto`.
//!
//! The code is checked in, so that a build needs no protoc; `tests/generated.rs` makes it again and fails on a
//! difference (`UPDATE=1 cargo test -p ratatosk-proto` writes it).

#![forbid(unsafe_code)]

/// Version of the protocol, in `Hello` and `Start`.
pub const PROTOCOL_VERSION: u32 = 1;

/// `ratatosk.agent.v1`.
#[allow(
    missing_docs,
    missing_debug_implementations,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated; agent.proto is the documentation"
)]
pub mod v1 {
    include!("gen/ratatosk.agent.v1.rs");
}
