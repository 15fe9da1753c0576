//! Records that the loader itself makes.

use crate::server::processes::{Info, Process};
use ratatosk_abi::{ConnRecord, ProcessInfoRecord, ProcessRecord, RecordHeader, RecordKind, TargetState};
use zerocopy::IntoBytes;

/// `snapshot_begin` or `snapshot_end`.
#[must_use]
pub fn marker(kind: RecordKind, now_ns: u64) -> Vec<u8> {
    header(kind, size_of::<RecordHeader>(), 0, now_ns).as_bytes().to_vec()
}

/// `process`: it exists.
#[must_use]
pub fn process(process: &Process, state: TargetState, now_ns: u64) -> Vec<u8> {
    let hdr = about(process, header(RecordKind::Process, size_of::<ProcessRecord>(), 0, now_ns));
    ProcessRecord { hdr, target_state: state as u8, ..process.record }.as_bytes().to_vec()
}

/// `listen`: somebody already does.
#[must_use]
pub fn listener(listener: &ConnRecord, state: TargetState, now_ns: u64) -> Vec<u8> {
    let made = header(RecordKind::Listen, size_of::<ConnRecord>(), 0, now_ns);
    let RecordHeader { tgid, tid, task_start_ns, .. } = listener.hdr;
    let hdr = RecordHeader { tgid, tid, task_start_ns, ..made };
    ConnRecord { hdr, target_state: state as u8, ..*listener }.as_bytes().to_vec()
}

/// `process_info`: what was read about it.
#[must_use]
pub fn process_info(process: &Process, info: &Info, state: TargetState, now_ns: u64) -> Vec<u8> {
    let payload_bytes = info.bytes();
    let made = header(RecordKind::ProcessInfo, size_of::<ProcessInfoRecord>(), payload_bytes, now_ns);
    let fixed = ProcessInfoRecord {
        hdr: about(process, made),
        handle: process.handle,
        cgroup_id: process.record.cgroup_id,
        exe_ino: process.record.exe_ino,
        exe_dev: process.record.exe_dev,
        uid: process.record.uid,
        parent_tgid: process.record.parent_tgid,
        exe_len: narrow(info.exe.len()),
        cmdline_len: narrow(info.cmdline.len()),
        cgroup_len: narrow(info.cgroup.len()),
        target_state: state as u8,
        readable: info.readable,
        environment_len: narrow(info.environment.len()),
        language: info.language as u8,
        reserved: 0,
        comm: process.record.comm,
    };
    [fixed.as_bytes(), &info.exe, &info.cmdline, &info.cgroup, &info.environment].concat()
}

fn about(process: &Process, header: RecordHeader) -> RecordHeader {
    RecordHeader { tgid: process.tgid(), task_start_ns: process.start_ns(), ..header }
}

fn header(kind: RecordKind, fixed_bytes: usize, payload_bytes: usize, ktime_ns: u64) -> RecordHeader {
    RecordHeader {
        len: u32::try_from(fixed_bytes + payload_bytes).unwrap_or(u32::MAX),
        kind: kind as u16,
        fixed_len: narrow(fixed_bytes),
        ktime_ns,
        tgid: 0,
        tid: 0,
        task_start_ns: 0,
    }
}

/// Lengths here are bounded by `ipc::MAX_STRING_BYTES` and by the size of a fixed part.
fn narrow(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::processes::Processes;
    use ratatosk_abi::Records;

    #[test]
    fn what_the_loader_makes_reads_back() {
        let mut processes = Processes::default();
        let mut record = ProcessRecord::default();
        (record.hdr.tgid, record.hdr.task_start_ns) = (7, 9);
        processes.learn(&record, false).expect("room");
        let info = Info { exe: (*b"/bin/x").into(), cmdline: (*b"x\0y").into(), ..Info::default() };
        let bytes = process_info(processes.get(1).expect("known"), &info, TargetState::Observed, 11);
        let read = Records::new(&bytes).next().expect("one").expect("well formed");
        let fixed: ProcessInfoRecord = read.fixed().expect("whole");
        assert_eq!((fixed.handle, fixed.exe_len, fixed.cmdline_len, fixed.target_state), (1, 6, 3, 2));
        assert_eq!(
            (read.header.tgid, read.header.ktime_ns, read.payload()),
            (7, 11, b"/bin/xx\0y".as_slice())
        );
    }
}
