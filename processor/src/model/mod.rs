//! Types that cross stages.

mod event;
mod exchange;
mod process;
mod span;
mod time;

/// A string from the wire. Up to 24 bytes of it need no memory of their own: most paths and hosts are that short.
pub type Text = compact_str::CompactString;

pub use event::{Chunk, Close, Direction, Event, Offset, ProcessChange, ProcessEvent, ProcessInfo, Socket};
pub use exchange::{EndedBy, Exchange, HttpExchange, Incomplete, Method, RawQuery, Role, TraceParent};
pub use process::{OwnSignals, ProcessId, Service};
pub use span::{Http, SAMPLED, Signals, Span, SpanId, SpanKind, TraceId};
pub use time::{ClockPair, KtimeNs, UnixNanos};
