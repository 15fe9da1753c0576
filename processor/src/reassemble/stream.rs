//! One direction of a connection: puts chunks in order by their offsets, and names what is missing.

use crate::{
    model::{Chunk, Incomplete, KtimeNs, ProcessId},
    protocol::Segment,
};
use ratatosk_abi::OffsetKind;
use std::time::Duration;

/// Unwrapped offsets begin here, so that a chunk slightly before the first one seen has a place too.
const ORIGIN: u64 = 1 << 32;
/// Chunks that wait for an earlier one: records of one connection can overtake each other between two CPUs only by the
/// few calls that both had in progress.
const MAX_EARLY_CHUNKS: usize = 16;
/// Payload that waits: as many chunks of the default width.
pub const MAX_EARLY_BYTES: usize = 32 * 1024;
/// How long they wait for what is missing before it is called a gap. Rings are drained every 10 to 50 ms.
const MAX_WAIT: Duration = Duration::from_millis(150);

/// A chunk ahead of what is expected.
#[derive(Debug)]
struct Early {
    offset: u64,
    len: u64,
    time: KtimeNs,
    process: ProcessId,
    bytes: Vec<u8>,
}

/// One direction.
#[derive(Debug, Default)]
pub struct Stream {
    /// Where the next byte belongs; 0: nothing was seen yet.
    next: u64,
    early: Vec<Early>,
}

/// How a chunk lies to what is expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Placed {
    /// It was handed on, or is a repetition.
    Now,
    /// It waits for what is missing before it.
    Later,
    /// 2 GiB or more away: the stream begins anew.
    Resync,
}

impl Stream {
    /// Offset that a record names, unwrapped by the shorter way.
    fn unwrap(&self, raw: u32) -> u64 {
        let expected = if self.next == 0 { ORIGIN | u64::from(raw) } else { self.next };
        let [a, b, c, d, ..] = expected.to_le_bytes();
        let distance = raw.wrapping_sub(u32::from_le_bytes([a, b, c, d])).cast_signed();
        expected.saturating_add_signed(i64::from(distance))
    }

    /// Whether everything before `raw` was handed on. Of a direction that was never seen, nobody knows.
    #[must_use]
    pub fn has_reached(&self, raw: u32) -> bool {
        self.next != 0 && self.next >= self.unwrap(raw)
    }

    /// Places `chunk`; `hand_on` gets it, and what waited for it, in order.
    pub fn push(&mut self, chunk: &Chunk<'_>, mut hand_on: impl FnMut(&Segment<'_>)) -> Placed {
        let len = u64::from(chunk.orig_len);
        let offset = match chunk.offset.kind {
            OffsetKind::None => self.next.max(ORIGIN),
            OffsetKind::TcpSeq | OffsetKind::Counter => self.unwrap(chunk.offset.value),
        };
        if self.next == 0 {
            self.next = offset;
        }
        let ahead = offset.saturating_sub(self.next);
        if ahead >= 1 << 31 || self.next.saturating_sub(offset) >= 1 << 31 {
            self.early.clear();
            self.next = offset;
            self.deliver(offset, len, chunk.time, chunk.process, chunk.payload, &mut hand_on);
            return Placed::Resync;
        }
        if ahead > 0 && self.has_room(chunk.payload.len()) {
            self.keep(offset, len, chunk);
            return Placed::Later;
        }
        if ahead > 0 {
            self.flush(&mut hand_on);
        }
        self.deliver(offset, len, chunk.time, chunk.process, chunk.payload, &mut hand_on);
        self.deliver_early(&mut hand_on);
        Placed::Now
    }

    fn has_room(&self, bytes: usize) -> bool {
        let kept: usize = self.early.iter().map(|early| early.bytes.len()).sum();
        self.early.len() < MAX_EARLY_CHUNKS && kept + bytes <= MAX_EARLY_BYTES
    }

    fn keep(&mut self, offset: u64, len: u64, chunk: &Chunk<'_>) {
        let at = self.early.partition_point(|early| early.offset < offset);
        let Chunk { time, process, .. } = *chunk;
        self.early.insert(at, Early { offset, len, time, process, bytes: chunk.payload.to_vec() });
    }

    /// What waited longer than is reasonable is handed on, the missing bytes before it as a gap.
    pub fn expire(&mut self, now: KtimeNs, hand_on: impl FnMut(&Segment<'_>)) {
        if self.early.iter().any(|early| now.since(early.time) >= MAX_WAIT) {
            self.flush(hand_on);
        }
    }

    /// Hands on all that waits.
    pub fn flush(&mut self, mut hand_on: impl FnMut(&Segment<'_>)) {
        if self.is_settled() {
            return; // as nearly always
        }
        for early in std::mem::take(&mut self.early) {
            self.deliver(early.offset, early.len, early.time, early.process, &early.bytes, &mut hand_on);
        }
    }

    /// Nothing waits.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.early.is_empty()
    }

    fn deliver_early(&mut self, hand_on: &mut impl FnMut(&Segment<'_>)) {
        while self.early.first().is_some_and(|early| early.offset <= self.next) {
            let early = self.early.remove(0);
            self.deliver(early.offset, early.len, early.time, early.process, &early.bytes, hand_on);
        }
    }

    /// Hands on one piece: a gap before it if there is one, without what was handed on already.
    fn deliver(
        &mut self,
        offset: u64,
        len: u64,
        time: KtimeNs,
        process: ProcessId,
        bytes: &[u8],
        hand_on: &mut impl FnMut(&Segment<'_>),
    ) {
        let gap = offset.saturating_sub(self.next);
        if gap > 0 {
            let hole_reason = Incomplete::Gap;
            hand_on(&Segment { time, process, offset: self.next, bytes: &[], hole: gap, hole_reason });
        }
        let known = self.next.saturating_sub(offset);
        // a call of no bytes behind what is known is a repetition, too
        if known > 0 && known >= len {
            return;
        }
        let skip = usize::try_from(known).unwrap_or(usize::MAX);
        let fresh = bytes.get(skip..).unwrap_or_default();
        let hole = (len - known).saturating_sub(u64::try_from(fresh.len()).unwrap_or_default());
        self.next = offset + len;
        let hole_reason = Incomplete::CaptureCut;
        hand_on(&Segment { time, process, offset: offset + known, bytes: fresh, hole, hole_reason });
    }
}
