//! What the process `server` is made of: rings to numbered batches, requests to target states.
//!
//! in   records of the two rings through [`kernel::Kernel`], messages of one processor
//! out  numbered batches, ticks and status over one gRPC stream; bytes in the shared arrays
//! keeps at most [`queue::QUEUE_BYTES`] of records plus [`queue::CONTROL_BYTES`] of control records
//!
//! One task owns everything in a [`hub::Hub`]; gRPC tasks reach it by bounded channels.

pub mod accept;
pub mod announce;
pub mod clock;
pub mod describe;
pub mod grpc;
pub mod hub;
pub mod kernel;
mod learn;
pub mod ledger;
pub mod policy;
pub mod processes;
pub mod queue;
pub mod request;
pub mod session;
pub mod snapshot;
pub mod targets;

#[cfg(test)]
mod tests;
