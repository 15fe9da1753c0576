//! Arbitrary bytes on a client's connection of HTTP/2, behind its preface and both settings. Corpus: exports of real SDKs.
//!
//! An operation is 4 bytes, then payload: direction (low bit), payload bytes (u16), bytes that were not captured.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ratatosk::{
    model::{Direction, Incomplete, KtimeNs, OwnSignals, ProcessId},
    protocol::{Output, Segment, http2::Watch},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// One header block of each direction, as large as it may be.
const MAX_KEPT: usize = 2 * 16 * 1024;

fn data(watch: &mut Watch, out: &mut Output, next: &mut [u64; 2], is_tx: bool, bytes: &[u8], hole: u8) {
    let direction = if is_tx { Direction::Tx } else { Direction::Rx };
    let next = &mut next[usize::from(is_tx)];
    let segment = Segment {
        time: KtimeNs(1),
        process: ProcessId::default(),
        offset: *next,
        bytes,
        hole: hole.into(),
        hole_reason: Incomplete::CaptureCut,
    };
    *next += bytes.len() as u64 + u64::from(hole);
    watch.data(direction, &segment, out);
}

fuzz_target!(|bytes: &[u8]| {
    let (mut watch, mut out) = (Watch::default(), Output::default());
    let mut next = [1_000, 5_000];
    data(&mut watch, &mut out, &mut next, true, &[PREFACE, SETTINGS].concat(), 0);
    data(&mut watch, &mut out, &mut next, false, SETTINGS, 0);
    let mut rest = bytes;
    while let Some((&[what, a, b, hole], after)) = rest.split_first_chunk::<4>() {
        let len = usize::from(u16::from_le_bytes([a, b])).min(after.len());
        let (payload, after) = after.split_at(len);
        data(&mut watch, &mut out, &mut next, what & 1 == 1, payload, hole);
        assert!(watch.kept_bytes() <= MAX_KEPT);
        rest = after;
    }
    assert!(out.exports.iter().all(|(_, signals)| *signals != OwnSignals::default()));
    // an export names its method, which is longer than this
    assert!(out.exports.len() * 4 <= bytes.len());
});
