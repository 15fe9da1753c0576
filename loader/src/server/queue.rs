//! Records that wait, and batches that wait for their acknowledgement.
//!
//! in   records, control and data apart
//! out  [`Batch`]es numbered from 1 without gap; a number is given when a batch is first sent, so what waits can still
//!      be dropped without leaving a hole
//! keeps at most `queue_bytes` and one batch of data and unacknowledged batches, plus [`CONTROL_BYTES`] of waiting
//!      control records
//!
//! Bytes are those of the records; buffers grow by doubling, so memory is at most twice that.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Default bound of what is queued and unacknowledged: 80 ms of the heaviest flood measured, seconds of real traffic.
pub const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Bound of waiting control records; beyond, a snapshot is shorter than the history.
pub const CONTROL_BYTES: usize = 4 * 1024 * 1024;
/// Size of a batch: larger ones cost no less per record, and latency grows.
pub const BATCH_BYTES: usize = 256 * 1024;
/// Bound of unacknowledged batches, as many small ones cost more than their bytes. 40 s of ticks.
pub const MAX_UNACKNOWLEDGED: usize = 4096;

/// Bounds of a [`Queue`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueBounds {
    /// Data queued, and everything unacknowledged.
    pub queue_bytes: usize,
    /// Control queued.
    pub control_bytes: usize,
    /// One batch.
    pub batch_bytes: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self { queue_bytes: QUEUE_BYTES, control_bytes: CONTROL_BYTES, batch_bytes: BATCH_BYTES }
    }
}

/// Records under one number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// From 1, without gap.
    pub number: u64,
    /// Back to back.
    pub records: Bytes,
    /// How many they are.
    pub record_count: u32,
    /// No record of this or a later batch was made before.
    pub made_after_ns: u64,
}

/// An acknowledgement of a batch that nobody was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("batch {through} acknowledged, {last} is the last one sent")]
pub struct AckBeyondSent {
    /// As acknowledged.
    pub through: u64,
    /// The last that was sent.
    pub last: u64,
}

#[derive(Debug)]
struct Segment {
    bytes: BytesMut,
    records: u32,
    made_after_ns: u64,
}

/// Records of one class that wait to be sent.
#[derive(Debug, Default)]
struct Waiting {
    segments: VecDeque<Segment>,
    bytes: usize,
    records: u64,
    /// Of the segment that left last.
    last_bytes: usize,
}

impl Waiting {
    fn push(&mut self, record: &[u8], made_after_ns: u64, batch_bytes: usize) {
        if self.segments.back().is_none_or(|last| last.bytes.len() + record.len() > batch_bytes) {
            self.segments.push_back(Segment { bytes: self.room(batch_bytes), records: 0, made_after_ns });
        }
        if let Some(last) = self.segments.back_mut() {
            last.bytes.extend_from_slice(record);
            last.records += 1;
            self.bytes += record.len();
            self.records += 1;
        }
    }

    /// For as much as the last batch had: load changes slowly, and a buffer that grows copies what it holds each time.
    fn room(&self, batch_bytes: usize) -> BytesMut {
        BytesMut::with_capacity(self.last_bytes.min(batch_bytes))
    }

    fn pop(&mut self) -> Option<Segment> {
        let segment = self.segments.pop_front()?;
        self.last_bytes = segment.bytes.len();
        self.bytes -= segment.bytes.len();
        self.records -= u64::from(segment.records);
        Some(segment)
    }

    fn made_after_ns(&self) -> Option<u64> {
        self.segments.front().map(|first| first.made_after_ns)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Queue {
    bounds: QueueBounds,
    control: Waiting,
    data: Waiting,
    unacknowledged: VecDeque<Batch>,
    unacknowledged_bytes: usize,
    unacknowledged_records: u64,
    /// Batches of `unacknowledged` that this stream was sent.
    sent: usize,
    last_number: u64,
    acknowledged_through: u64,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(bounds: QueueBounds) -> Self {
        Self {
            bounds,
            control: Waiting::default(),
            data: Waiting::default(),
            unacknowledged: VecDeque::new(),
            unacknowledged_bytes: 0,
            unacknowledged_records: 0,
            sent: 0,
            last_number: 0,
            acknowledged_through: 0,
        }
    }

    /// Takes a data record; `false` if there is no room.
    #[must_use]
    pub fn push_data(&mut self, record: &[u8], made_after_ns: u64) -> bool {
        let fits = self.held_bytes() + record.len() <= self.bounds.queue_bytes;
        if fits {
            self.data.push(record, made_after_ns, self.bounds.batch_bytes);
        }
        fits
    }

    /// Takes a control record; `false` if there is no room, even where data would still fit.
    #[must_use]
    pub fn push_control(&mut self, record: &[u8], made_after_ns: u64) -> bool {
        let fits = self.control.bytes + record.len() <= self.bounds.control_bytes;
        if fits {
            self.control.push(record, made_after_ns, self.bounds.batch_bytes);
        }
        fits
    }

    /// Forgets the waiting control records. Gives how many they were.
    pub fn collapse(&mut self) -> u64 {
        std::mem::take(&mut self.control).records
    }

    /// The next batch for this stream: first what another one was sent, then what waits, control before data.
    pub fn next_batch(&mut self) -> Option<Batch> {
        if self.sent == self.unacknowledged.len() {
            self.number_next()?;
        }
        let batch = self.unacknowledged.get(self.sent).cloned()?;
        self.sent += 1;
        Some(batch)
    }

    fn number_next(&mut self) -> Option<()> {
        if !self.has_window() {
            return None;
        }
        let segment = self.pop()?;
        self.last_number += 1;
        self.unacknowledged_bytes += segment.bytes.len();
        self.unacknowledged_records += u64::from(segment.records);
        self.unacknowledged.push_back(Batch {
            number: self.last_number,
            records: segment.bytes.freeze(),
            record_count: segment.records,
            made_after_ns: segment.made_after_ns,
        });
        Some(())
    }

    /// Control before data, unless what it adds to the unacknowledged has no room beside the data that waits.
    fn pop(&mut self) -> Option<Segment> {
        let has_room = self.unacknowledged_bytes + self.data.bytes < self.bounds.queue_bytes;
        let control = if has_room { self.control.pop() } else { None };
        control.or_else(|| self.data.pop())
    }

    /// Whether the processor keeps up: there is room for one more unacknowledged batch.
    #[must_use]
    pub fn has_window(&self) -> bool {
        self.unacknowledged_bytes < self.bounds.queue_bytes && self.unacknowledged.len() < MAX_UNACKNOWLEDGED
    }

    /// A new stream: every unacknowledged batch is sent again.
    pub fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Forgets every batch up to `through`. Gives how many records they had; an old number gives 0.
    ///
    /// # Errors
    /// [`AckBeyondSent`] if no stream was ever sent that batch.
    pub fn acknowledge(&mut self, through: u64) -> Result<u64, AckBeyondSent> {
        if through > self.last_number {
            return Err(AckBeyondSent { through, last: self.last_number });
        }
        let before = self.unacknowledged_records;
        while self.unacknowledged.front().is_some_and(|batch| batch.number <= through) {
            self.forget_first();
        }
        self.acknowledged_through = self.acknowledged_through.max(through);
        Ok(before - self.unacknowledged_records)
    }

    fn forget_first(&mut self) {
        if let Some(batch) = self.unacknowledged.pop_front() {
            self.unacknowledged_bytes -= batch.records.len();
            self.unacknowledged_records -= u64::from(batch.record_count);
            self.sent = self.sent.saturating_sub(1);
        }
    }

    /// Every batch up to this one is forgotten.
    #[must_use]
    pub const fn acknowledged_through(&self) -> u64 {
        self.acknowledged_through
    }

    /// Records queued and unacknowledged.
    #[must_use]
    pub const fn held_records(&self) -> u64 {
        self.control.records + self.data.records + self.unacknowledged_records
    }

    /// Bytes queued and unacknowledged.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.control.bytes + self.data.bytes + self.unacknowledged_bytes
    }

    /// Bytes of control records that wait.
    #[must_use]
    pub const fn control_bytes(&self) -> usize {
        self.control.bytes
    }

    /// Whether something waits that this stream was not sent.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.sent < self.unacknowledged.len() || self.control.records + self.data.records > 0
    }

    /// What may be said about time: `drained_ns`, unless something older still waits for this stream.
    #[must_use]
    pub fn watermark_ns(&self, drained_ns: u64) -> u64 {
        let resent = self.unacknowledged.get(self.sent).map(|batch| batch.made_after_ns);
        let waiting = [resent, self.control.made_after_ns(), self.data.made_after_ns()];
        waiting.into_iter().flatten().fold(drained_ns, u64::min)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
