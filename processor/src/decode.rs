//! Records to events. Bytes of the loader are checked like those of anybody else.

use crate::model::{
    Chunk, Close, Event, KtimeNs, Offset, ProcessChange, ProcessEvent, ProcessId, ProcessInfo, Socket,
};
use ratatosk_abi::{
    AbiError, ChunkRecord, ConnRecord, Direction, Language, Missing, OffsetKind, ProcessInfoRecord,
    ProcessRecord, Record, RecordHeader, RecordKind, TargetState, chunk_flags, readable,
};

/// Why a record is no event.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Its length contradicts itself, or the batch ends within it.
    #[error("malformed record")]
    Malformed,
    /// A kind that a newer loader makes.
    #[error("unknown kind")]
    UnknownKind,
    /// A field has a value that means nothing.
    #[error("invalid field")]
    InvalidField,
}

impl DecodeError {
    /// Value of the label `reason`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKind => "unknown_kind",
            Self::InvalidField => "invalid_field",
        }
    }
}

impl From<AbiError> for DecodeError {
    fn from(_: AbiError) -> Self {
        Self::Malformed
    }
}

/// What `record` tells.
///
/// # Errors
/// [`DecodeError`]: the record is to be counted and skipped.
pub fn decode<'a>(record: &Record<'a>) -> Result<Event<'a>, DecodeError> {
    let kind = RecordKind::from_raw(record.header.kind).ok_or(DecodeError::UnknownKind)?;
    match kind {
        RecordKind::Chunk => Ok(Event::Chunk(chunk(record)?)),
        RecordKind::Eof => Ok(Event::Eof(chunk(record)?)),
        RecordKind::Process => Ok(Event::Process(process(record, ProcessChange::Existed)?)),
        RecordKind::Fork => Ok(Event::Process(process(record, ProcessChange::Forked)?)),
        RecordKind::Exec => Ok(Event::Process(process(record, ProcessChange::Executed)?)),
        RecordKind::Exit => Ok(Event::Process(process(record, ProcessChange::Exited)?)),
        RecordKind::Listen => Ok(Event::Listen(Socket::from_abi(&conn(record)?.sock), owner(&record.header))),
        RecordKind::Connect => {
            Ok(Event::Connect(Socket::from_abi(&conn(record)?.sock), owner(&record.header)))
        }
        RecordKind::Close => Ok(Event::Close(close(&conn(record)?)?)),
        RecordKind::ProcessInfo => Ok(Event::Info(info(record)?)),
        RecordKind::SnapshotBegin => Ok(Event::SnapshotBegin),
        RecordKind::SnapshotEnd => Ok(Event::SnapshotEnd),
    }
}

const fn owner(header: &RecordHeader) -> ProcessId {
    ProcessId { tgid: header.tgid, start_ns: header.task_start_ns }
}

fn conn(record: &Record<'_>) -> Result<ConnRecord, DecodeError> {
    Ok(record.fixed()?)
}

fn offset_kind(raw: u8) -> Result<OffsetKind, DecodeError> {
    match raw {
        0 => Ok(OffsetKind::None),
        1 => Ok(OffsetKind::TcpSeq),
        2 => Ok(OffsetKind::Counter),
        _ => Err(DecodeError::InvalidField),
    }
}

fn state(raw: u8) -> Result<TargetState, DecodeError> {
    TargetState::from_raw(raw).ok_or(DecodeError::InvalidField)
}

fn chunk<'a>(record: &Record<'a>) -> Result<Chunk<'a>, DecodeError> {
    let fixed: ChunkRecord = record.fixed()?;
    let captured = usize::try_from(fixed.captured_len).map_err(|_| DecodeError::Malformed)?;
    let payload = record.payload();
    if captured != payload.len() || fixed.captured_len > fixed.orig_len {
        return Err(DecodeError::Malformed);
    }
    let missing = Missing::ALL.get(usize::from(fixed.missing)).copied().ok_or(DecodeError::InvalidField)?;
    Ok(Chunk {
        time: KtimeNs(fixed.hdr.ktime_ns),
        process: owner(&fixed.hdr),
        tid: fixed.hdr.tid,
        socket: Socket::from_abi(&fixed.sock),
        direction: Direction::from_raw(fixed.direction).ok_or(DecodeError::InvalidField)?,
        offset: Offset { kind: offset_kind(fixed.sock.offset_kind)?, value: fixed.offset },
        orig_len: fixed.orig_len,
        payload,
        missing,
        turn_start: fixed.flags & chunk_flags::TURN_START != 0,
    })
}

fn close(fixed: &ConnRecord) -> Result<Close, DecodeError> {
    let kind = offset_kind(fixed.sock.offset_kind)?;
    Ok(Close {
        time: KtimeNs(fixed.hdr.ktime_ns),
        socket: Socket::from_abi(&fixed.sock),
        tx_end: Offset { kind, value: fixed.tx_offset },
        rx_end: Offset { kind, value: fixed.rx_offset },
    })
}

fn process(record: &Record<'_>, change: ProcessChange) -> Result<ProcessEvent, DecodeError> {
    let fixed: ProcessRecord = record.fixed()?;
    Ok(ProcessEvent {
        time: KtimeNs(fixed.hdr.ktime_ns),
        process: owner(&fixed.hdr),
        parent: ProcessId { tgid: fixed.parent_tgid, start_ns: fixed.parent_start_ns },
        change,
        state: state(fixed.target_state)?,
        comm: fixed.comm,
    })
}

fn info<'a>(record: &Record<'a>) -> Result<ProcessInfo<'a>, DecodeError> {
    let fixed: ProcessInfoRecord = record.fixed()?;
    let mut rest = record.payload();
    let mut text = |len: u16, bit: u8| {
        let (text, after) = rest.split_at_checked(usize::from(len)).ok_or(DecodeError::Malformed)?;
        rest = after;
        Ok::<_, DecodeError>((fixed.readable & bit != 0).then_some(text))
    };
    Ok(ProcessInfo {
        process: owner(&fixed.hdr),
        parent_tgid: fixed.parent_tgid,
        handle: fixed.handle,
        exe: text(fixed.exe_len, readable::EXE)?,
        cmdline: text(fixed.cmdline_len, readable::CMDLINE)?,
        cgroup: text(fixed.cgroup_len, readable::CGROUP)?,
        environment: text(fixed.environment_len, readable::ENVIRONMENT)?,
        language: (fixed.readable & readable::BINARY != 0).then(|| Language::from_raw(fixed.language)),
        comm: fixed.comm,
        state: state(fixed.target_state)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatosk_abi::Records;
    use zerocopy::IntoBytes;

    fn chunk_record(captured: u32, payload: &[u8]) -> Vec<u8> {
        let fixed_len = size_of::<ChunkRecord>();
        let mut fixed =
            ChunkRecord { captured_len: captured, orig_len: 10, direction: 1, ..ChunkRecord::default() };
        fixed.hdr.len = u32::try_from(fixed_len + payload.len()).expect("small");
        fixed.hdr.fixed_len = u16::try_from(fixed_len).expect("small");
        fixed.hdr.kind = RecordKind::Chunk as u16;
        [fixed.as_bytes(), payload].concat()
    }

    fn decoded(bytes: &[u8]) -> Result<Event<'_>, DecodeError> {
        decode(&Records::new(bytes).next().expect("a record")?)
    }

    #[test]
    fn a_chunk_has_as_many_bytes_as_it_says() {
        assert!(decoded(&chunk_record(3, b"abc")).is_ok());
        assert_eq!(decoded(&chunk_record(4, b"abc")), Err(DecodeError::Malformed));
        assert_eq!(decoded(&chunk_record(11, b"hello, world")), Err(DecodeError::Malformed));
    }

    #[test]
    fn values_that_mean_nothing_are_errors() {
        let mut bytes = chunk_record(0, b"");
        let at = std::mem::offset_of!(ChunkRecord, direction);
        bytes[at] = 3;
        assert_eq!(decoded(&bytes), Err(DecodeError::InvalidField));
        bytes[at] = 1;
        bytes[at + 1] = 200;
        assert_eq!(decoded(&bytes), Err(DecodeError::InvalidField));
        bytes[4] = 99;
        assert_eq!(decoded(&bytes), Err(DecodeError::UnknownKind));
    }

    #[test]
    fn every_prefix_is_an_error() {
        let whole = chunk_record(3, b"abc");
        for end in 1..whole.len() {
            assert_eq!(decoded(&whole[..end]), Err(DecodeError::Malformed), "{end}");
        }
    }
}
