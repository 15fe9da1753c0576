//! The record layout that kernel probes, loader and processor agree on.
//!
//! Each C header has its Rust mirror beside it; `bpf/tests/layout.rs` compares the two through BTF, as any user.
//! Records are little-endian as the kernel wrote them and unaligned once they crossed the socket, so they are read by
//! copying the small fixed part ([`read_fixed`]) and borrowing the payload ([`Records`]).

#![no_std]
#![forbid(unsafe_code)]

mod chunk;
mod header;
mod process;
mod shared;
mod socket;

pub use chunk::{ChunkRecord, Direction, Missing, chunk_flags};
pub use header::{RecordHeader, RecordKind};
pub use process::{Language, ProcessInfoRecord, ProcessRecord, readable};
pub use shared::{
    ControlWords, CpuCounters, EXE_PROBES, EXE_SLOTS, ExeDecision, PortMode, TARGETS_PER_PAGE, TargetState,
    counter,
};
pub use socket::{ConnRecord, OffsetKind, SocketId, Source};

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Names this layout: both sides compare it in Hello. Raised by hand whenever a field moves.
pub const ABI_VERSION: u32 = 1;

/// Longest record either side accepts: the widest capture (16 KiB) with room for every fixed part.
pub const MAX_RECORD_BYTES: usize = 20 * 1024;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AbiError {
    /// Fewer bytes than a header, or than the header announces.
    Truncated,
    /// A length that contradicts itself or a bound: the rest of the batch can't be walked.
    BadLength,
    /// The fixed part is shorter than this kind needs.
    ShortFixedPart,
}

/// One record: its header, and all its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The header, copied out.
    pub header: RecordHeader,
    /// Header, fixed part and payload.
    pub bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// What follows the fixed part.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(usize::from(self.header.fixed_len)..).unwrap_or_default()
    }

    /// Copies the fixed part out as `T`.
    ///
    /// # Errors
    /// [`AbiError::ShortFixedPart`] if the record's fixed part is shorter than `T`.
    pub fn fixed<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<T, AbiError> {
        let fixed = self.bytes.get(..usize::from(self.header.fixed_len)).ok_or(AbiError::Truncated)?;
        T::read_from_prefix(fixed).map(|(value, _)| value).map_err(|_| AbiError::ShortFixedPart)
    }
}

/// Walks concatenated records. Ends after the first error: without a length there is no next record.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Records in `bytes`, back to back.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn split(&mut self) -> Result<Record<'a>, AbiError> {
        let (header, _) = RecordHeader::read_from_prefix(self.rest).map_err(|_| AbiError::Truncated)?;
        let len = usize::try_from(header.len).map_err(|_| AbiError::BadLength)?;
        let fixed_len = usize::from(header.fixed_len);
        if len > MAX_RECORD_BYTES || fixed_len > len || fixed_len < size_of::<RecordHeader>() {
            return Err(AbiError::BadLength);
        }
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(AbiError::Truncated)?;
        self.rest = rest;
        Ok(Record { header, bytes })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, AbiError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.split();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn header(len: u32, fixed_len: u16) -> RecordHeader {
        RecordHeader { len, kind: 1, fixed_len, ktime_ns: 0, tgid: 1, tid: 1, task_start_ns: 0 }
    }

    #[test]
    fn a_length_beyond_the_batch_ends_the_walk() {
        let bytes = header(33, 32);
        let mut records = Records::new(bytes.as_bytes());
        assert_eq!(records.next().map(|r| r.err()), Some(Some(AbiError::Truncated)));
        assert!(records.next().is_none());
    }

    #[test]
    fn a_fixed_part_longer_than_the_record_is_refused() {
        let bytes = header(32, 40);
        assert_eq!(Records::new(bytes.as_bytes()).next().map(|r| r.err()), Some(Some(AbiError::BadLength)));
    }

    #[test]
    fn a_zero_length_does_not_loop() {
        let bytes = header(0, 0);
        assert_eq!(Records::new(bytes.as_bytes()).count(), 1);
    }

    #[test]
    fn a_shorter_fixed_part_than_the_kind_needs_is_an_error() {
        let bytes = header(32, 32);
        let record = Records::new(bytes.as_bytes()).next().expect("one record").expect("well formed");
        assert_eq!(record.fixed::<ChunkRecord>().err(), Some(AbiError::ShortFixedPart));
        assert!(record.payload().is_empty());
    }
}
