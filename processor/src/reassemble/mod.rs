//! Chunks of all connections to ordered bytes, and on to the protocol.
//!
//! in   decoded chunks, ends of streams, closes, and the stream's time
//! out  [`Output`]: exchanges, and counts of what became none
//! keeps at most [`Limits::connections`] connections, each at most [`stream::MAX_EARLY_BYTES`] out of order per direction

mod stream;
mod table;

pub use crate::protocol::{EndedByCounts, IncompleteCounts, Output};
pub use table::{Connections, Limits};
