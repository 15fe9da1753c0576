//! Arbitrary calls on two connections, through reassembly and HTTP/1. Corpus: calls of real streams.
//!
//! An operation is 6 bytes, then payload: what (low 2 bits: chunk, end of a direction, close, time; bit 2: sent; bit 3:
//! which connection), payload bytes (u16), bytes that were not captured (u16), milliseconds, and jump of the offset in the
//! high 4 bits of the first byte (signed, times 8).

#![no_main]

use libfuzzer_sys::fuzz_target;
use ratatosk::{
    model::{Chunk, Close, Direction, KtimeNs, Offset, ProcessId, Socket},
    protocol::Output,
    reassemble::{Connections, Limits},
};
use ratatosk_abi::{Missing, OffsetKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const MS: u64 = 1_000_000;

struct Wires {
    connections: Connections,
    out: Output,
    now: u64,
    /// Next offsets of both connections, by direction.
    next: [[u32; 2]; 2],
    moved: u64,
}

#[derive(Clone, Copy)]
struct Operation<'a> {
    what: u8,
    hole: u16,
    ms: u8,
    payload: &'a [u8],
}

fn split(bytes: &[u8]) -> Option<(Operation<'_>, &[u8])> {
    let (&[what, a, b, c, d, ms], rest) = bytes.split_first_chunk::<6>()?;
    let len = usize::from(u16::from_le_bytes([a, b])).min(rest.len());
    let (payload, rest) = rest.split_at(len);
    Some((Operation { what, hole: u16::from_le_bytes([c, d]), ms, payload }, rest))
}

fn socket(cookie: u64) -> Socket {
    let address = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    Socket { cookie, netns: 1, local: address(80), remote: address(40_000) }
}

impl Wires {
    fn run(&mut self, operation: Operation<'_>) {
        let Operation { what, ms, .. } = operation;
        let (connection, is_tx) = (usize::from(what >> 3 & 1), usize::from(what >> 2 & 1));
        self.now += u64::from(ms) * MS;
        match what & 3 {
            0 => self.call(connection, is_tx, operation),
            1 => {
                let chunk = self.chunk(connection, is_tx, &[], 0);
                self.connections.eof(&chunk, &mut self.out);
            }
            2 => {
                let [rx, tx] = self.next[connection];
                let end = |value| Offset { kind: OffsetKind::TcpSeq, value };
                let (time, socket) = (KtimeNs(self.now), socket(u64::from(what >> 3 & 1)));
                let close = Close { time, socket, tx_end: end(tx), rx_end: end(rx) };
                self.connections.close(&close, &mut self.out);
            }
            _ => {
                self.now += u64::from(operation.hole) * MS;
                self.connections.advance(KtimeNs(self.now), &mut self.out);
            }
        }
    }

    fn call(&mut self, connection: usize, is_tx: usize, operation: Operation<'_>) {
        let Operation { what, hole, payload, .. } = operation;
        let len = u32::try_from(payload.len()).unwrap_or_default() + u32::from(hole);
        let jump = i32::from((what as i8) >> 4) * 8;
        self.next[connection][is_tx] = self.next[connection][is_tx].wrapping_add_signed(jump);
        let chunk = self.chunk(connection, is_tx, payload, len);
        self.connections.chunk(&chunk, &mut self.out);
        self.next[connection][is_tx] = self.next[connection][is_tx].wrapping_add(len);
        self.moved += u64::from(len);
    }

    fn chunk<'a>(&self, connection: usize, is_tx: usize, payload: &'a [u8], orig_len: u32) -> Chunk<'a> {
        Chunk {
            time: KtimeNs(self.now),
            process: ProcessId { tgid: 1, start_ns: 1 },
            tid: 1,
            socket: socket(if connection == 0 { 0 } else { 1 }),
            direction: if is_tx == 1 { Direction::Tx } else { Direction::Rx },
            offset: Offset { kind: OffsetKind::TcpSeq, value: self.next[connection][is_tx] },
            orig_len,
            payload,
            missing: Missing::Nothing,
            turn_start: false,
        }
    }

    fn check(&self) {
        for exchange in &self.out.exchanges {
            assert!(exchange.end >= exchange.start);
            assert!(!exchange.http.path.contains(['?', '#', '\n']));
            assert!(exchange.http.status == 0 || (100..1_000).contains(&exchange.http.status));
            assert!(exchange.http.status != 0 || exchange.http.response_body_bytes == 0);
        }
        // "X * HTTP/1.1" and the line's end
        let told = u64::try_from(self.out.exchanges.len()).unwrap_or(u64::MAX);
        assert!(told * 13 <= self.moved);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut wires = Wires {
        connections: Connections::new(Limits::default()),
        out: Output::default(),
        now: 1_000 * MS,
        next: [[1_000, u32::MAX - 100], [0, 0]],
        moved: 0,
    };
    let mut rest = bytes;
    while let Some((operation, after)) = split(rest) {
        wires.run(operation);
        rest = after;
    }
    wires.connections.finish(&mut wires.out);
    assert!(wires.connections.is_empty());
    wires.check();
});
