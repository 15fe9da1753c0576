//! Makes a recording fit for `testdata/`: keeps what is about the selected processes, and nothing that tells of the
//! machine it was made on.
//!
//! Usage: `trim_recording IN OUT`

use ratatosk::{
    decode::decode,
    discover::{Discovery, Matcher},
    model::{Event, ProcessId},
    recording::{Player, Recorder},
};
use ratatosk_abi::{ProcessInfoRecord, Record, RecordKind, Records, readable};
use ratatosk_proto::v1::{Batch, LoaderMessage, loader_message::Kind};
use std::{collections::HashSet, error::Error, path::Path};
use zerocopy::IntoBytes;

/// Stands for the boot that it was made in.
const NEUTRAL_BOOT_ID: &str = "00000000-0000-0000-0000-000000000000";

/// What stays.
#[derive(Default)]
struct Kept {
    processes: HashSet<ProcessId>,
    sockets: HashSet<u64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = paths.as_slice() else { return Err("usage: trim_recording IN OUT".into()) };
    let mut player = Player::open(Path::new(from))?;
    let mut messages = Vec::new();
    while let Some(message) = player.next_message()? {
        messages.push(message);
    }
    let kept = kept(Matcher::new(player.header.selection.clone())?, &messages);
    let mut recorder = Recorder::create(Path::new(to), &player.header)?;
    for message in messages {
        recorder.write(&trimmed(message, &kept))?;
    }
    Ok(recorder.finish()?)
}

/// Who is selected at any time, and their sockets.
fn kept(matcher: Matcher, messages: &[LoaderMessage]) -> Kept {
    let (mut discovery, mut kept) = (Discovery::new(matcher, String::new()), Kept::default());
    discovery.connected();
    let mut seen = HashSet::new();
    for batch in messages.iter().filter_map(batch_of) {
        for record in Records::new(&batch.records).flatten() {
            seen.insert(owner(&record));
            if let Ok(event) = decode(&record) {
                follow(&mut discovery, &event);
                if let Event::Chunk(chunk) = event
                    && discovery.is_selected(chunk.process)
                {
                    kept.sockets.insert(chunk.socket.cookie);
                }
            }
        }
        kept.processes.extend(seen.iter().filter(|id| discovery.is_selected(**id)));
    }
    kept
}

fn follow(discovery: &mut Discovery, event: &Event<'_>) {
    match event {
        Event::Process(process) => discovery.process(process),
        Event::Listen(socket, process) => discovery.listen(*process, socket.cookie, socket.local.port()),
        Event::Info(info) => discovery.info(info),
        Event::SnapshotBegin => discovery.snapshot_begin(),
        Event::SnapshotEnd => discovery.snapshot_end(),
        Event::Chunk(_) | Event::Eof(_) | Event::Connect(..) | Event::Close(_) => {}
    }
}

fn batch_of(message: &LoaderMessage) -> Option<&Batch> {
    match &message.kind {
        Some(Kind::Batch(batch)) => Some(batch),
        _ => None,
    }
}

const fn owner(record: &Record<'_>) -> ProcessId {
    ProcessId { tgid: record.header.tgid, start_ns: record.header.task_start_ns }
}

fn trimmed(mut message: LoaderMessage, kept: &Kept) -> LoaderMessage {
    match &mut message.kind {
        Some(Kind::Hello(hello)) => hello.boot_id = NEUTRAL_BOOT_ID.into(),
        Some(Kind::Batch(batch)) => {
            let records = Records::new(&batch.records).flatten();
            let records: Vec<Vec<u8>> =
                records.filter(|record| stays(record, kept)).map(|record| neutral(&record)).collect();
            batch.record_count = u32::try_from(records.len()).unwrap_or(u32::MAX);
            batch.records = records.concat().into();
        }
        _ => {}
    }
    message
}

fn stays(record: &Record<'_>, kept: &Kept) -> bool {
    match decode(record) {
        Ok(Event::SnapshotBegin | Event::SnapshotEnd) => true,
        Ok(Event::Close(close)) => kept.sockets.contains(&close.socket.cookie),
        Ok(_) => kept.processes.contains(&owner(record)),
        Err(_) => false,
    }
}

/// Of strings about the machine only the file name of the executable is left.
fn neutral(record: &Record<'_>) -> Vec<u8> {
    let Ok(Event::Info(info)) = decode(record) else { return record.bytes.to_vec() };
    let name = info.exe.and_then(|exe| exe.rsplit(|byte| *byte == b'/').next()).unwrap_or_default();
    let exe = [b"/usr/bin/", name].concat();
    let Ok(mut fixed) = record.fixed::<ProcessInfoRecord>() else { return record.bytes.to_vec() };
    fixed.hdr.kind = RecordKind::ProcessInfo as u16;
    fixed.hdr.fixed_len = u16::try_from(size_of::<ProcessInfoRecord>()).unwrap_or_default();
    fixed.exe_len = u16::try_from(exe.len()).unwrap_or_default();
    (fixed.cmdline_len, fixed.cgroup_len, fixed.readable) = (0, 0, readable::EXE);
    fixed.hdr.len = u32::try_from(size_of::<ProcessInfoRecord>() + exe.len()).unwrap_or_default();
    [fixed.as_bytes(), &exe].concat()
}
