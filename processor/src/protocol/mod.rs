//! Bytes of one connection to exchanges. One folder per protocol.
//!
//! in   `reassemble` gives each direction's bytes in order, with explicit holes and gaps
//! out  [`crate::model::Exchange`], and counts of what could not become one

pub mod http1;
pub mod http2;
mod reader;
mod session;

pub use reader::Reader;
pub use session::Session;

use crate::model::{EndedBy, Exchange, Incomplete, KtimeNs, OwnSignals, ProcessId};
use std::time::Duration;

/// Silence after which a message whose framing was cut is taken to have ended. Longer delays the span of the last
/// exchange of an idle connection; shorter splits a slow response whose framing is unknown.
pub const SILENCE: Duration = Duration::from_secs(1);

/// Consecutive bytes of one direction, as `reassemble` hands them on.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// When the call that moved them ended.
    pub time: KtimeNs,
    /// Who made it.
    pub process: ProcessId,
    /// Unwrapped offset of the first byte.
    pub offset: u64,
    /// The captured prefix.
    pub bytes: &'a [u8],
    /// Bytes that follow the prefix and were not captured.
    pub hole: u64,
    /// Why they were not.
    pub hole_reason: Incomplete,
}

/// What becomes of the bytes: exchanges, and counts by reason of what became none.
#[derive(Debug, Default)]
pub struct Output {
    /// Whole enough to be told.
    pub exchanges: Vec<Exchange>,
    /// Exchanges that are not told, or told without something, by reason.
    pub incomplete: IncompleteCounts,
    /// The same by process, an entry for each time that some were left out; taken with the rest.
    pub left_out: Vec<(ProcessId, IncompleteCounts)>,
    /// Told exchanges by what showed their end.
    pub ended_by: EndedByCounts,
    /// Jumps of an offset by 2 GiB or more.
    pub resyncs: u64,
    /// Connections that ended, or were left alone, without a byte of a known protocol.
    pub unrecognized: u64,
    /// Processes that were seen to export signals, over a protocol that no exchanges are made of.
    pub exports: Vec<(ProcessId, OwnSignals)>,
}

impl Output {
    /// What `work` leaves out is left out of this process.
    pub fn on_behalf_of<T>(&mut self, process: ProcessId, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.incomplete;
        let done = work(self);
        if self.incomplete != before {
            self.left_out.push((process, self.incomplete.since(&before)));
        }
        done
    }

    /// An exchange is told. One without a response is counted as well: people watch that number.
    pub fn tell(&mut self, exchange: Exchange) {
        self.ended_by.add(exchange.ended_by);
        if exchange.http.status == 0 {
            self.incomplete.add(Incomplete::NoResponse, 1);
        }
        self.exchanges.push(exchange);
    }
}

/// Counts by [`Incomplete`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct IncompleteCounts([u64; Incomplete::ALL.len()]);

impl IncompleteCounts {
    /// Counts `n` more.
    pub fn add(&mut self, reason: Incomplete, n: u64) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += n;
        }
    }

    /// Counts `other` as well.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(reason, n)| self.add(reason, n));
    }

    /// What was counted after `before`.
    #[must_use]
    fn since(&self, before: &Self) -> Self {
        let mut counts = Self::default();
        self.iter().for_each(|(reason, n)| counts.add(reason, n.saturating_sub(before.get(reason))));
        counts
    }

    /// How many of this reason.
    #[must_use]
    pub fn get(&self, reason: Incomplete) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Incomplete, u64)> + '_ {
        Incomplete::ALL.into_iter().map(|reason| (reason, self.get(reason)))
    }
}

/// Counts by [`EndedBy`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EndedByCounts([u64; EndedBy::ALL.len()]);

impl EndedByCounts {
    fn add(&mut self, how: EndedBy) {
        if let Some(count) = self.0.get_mut(how as usize) {
            *count += 1;
        }
    }

    /// Every way with its count.
    pub fn iter(&self) -> impl Iterator<Item = (EndedBy, u64)> + '_ {
        EndedBy::ALL.into_iter().zip(self.0)
    }
}
