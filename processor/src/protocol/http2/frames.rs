//! Frames of one direction (RFC 9113), as far as header blocks need them.
//!
//! in   segments in order, with holes
//! out  header blocks
//! keeps one header block of at most [`MAX_BLOCK_BYTES`]

use crate::{
    model::Direction,
    protocol::{Reader, Segment},
};

/// What a client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// Place of the kind in the head.
const KIND_AT: usize = 3;
/// Kept of one header block: what is captured of a turn at most. One of a call of OTLP has some 300 bytes.
const MAX_BLOCK_BYTES: usize = 16 * 1024;

/// Holes that held heads before a connection is left alone: as many as calls are looked at.
const MAX_TEARS: u32 = 64;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The header fields of a request, of a response, or behind a body; still encoded.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Which call.
    pub stream: u32,
    /// As much as was captured.
    pub bytes: &'a [u8],
    /// Whether that is all.
    pub is_whole: bool,
}

/// One direction.
#[derive(Debug)]
pub struct Frames {
    at: At,
    /// Offset of the next byte, once there was one.
    next: Option<u64>,
    tears: u32,
    is_client: bool,
    /// The header block that is being read, still with its frame's padding.
    block: Vec<u8>,
    is_cut: bool,
}

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    /// Into the preface, behind that many of its bytes.
    Preface(usize),
    /// Into the head of a frame.
    Head { bytes: [u8; HEAD_BYTES], len: usize, after: After },
    /// Into a frame.
    Payload { head: Head, left: u64 },
    /// Nobody knows.
    Lost,
}

/// What may follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum After {
    /// "MUST be the first frame" (RFC 9113 3.4): SETTINGS.
    Start,
    Frame,
    /// Of the same stream: more of a header block.
    Block(u32),
    /// Behind a hole that held heads: where a call of the sender begins, if it begins with a frame.
    Tear,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Head {
    len: u64,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frames {
    /// What a client sends.
    pub fn of_client() -> Self {
        Self { is_client: true, ..Self::at(At::Preface(0)) }
    }

    /// What a server sends.
    pub const fn of_server() -> Self {
        Self::at(At::head(After::Start))
    }

    const fn at(at: At) -> Self {
        Self { at, next: None, tears: 0, is_client: false, block: Vec::new(), is_cut: false }
    }

    /// Whether a client's connection of HTTP/2 may begin with these bytes.
    pub fn may_begin(direction: Direction, bytes: &[u8]) -> bool {
        match direction {
            Direction::Tx => bytes.iter().zip(PREFACE).all(|(byte, expected)| byte == expected),
            // a server may send its settings before it has read anything
            Direction::Rx => bytes.get(KIND_AT).is_none_or(|kind| *kind == SETTINGS),
        }
    }

    /// Bytes of a header block that is being read.
    pub const fn kept_bytes(&self) -> usize {
        self.block.len()
    }

    /// Header fields may be among bytes that were lost.
    pub const fn is_torn(&self) -> bool {
        self.tears > 0
    }

    /// Nothing more can be known.
    pub fn is_lost(&self) -> bool {
        self.at == At::Lost
    }

    /// Bytes crossed; each header block among them is given to `each`.
    pub fn push(&mut self, segment: &Segment<'_>, each: &mut impl FnMut(Block<'_>)) {
        // a stream that begins anew elsewhere
        if self.next.is_some_and(|next| next != segment.offset) {
            self.at = At::Lost;
        }
        if let At::Head { after: After::Tear, .. } = self.at {
            self.at = At::head(After::Tear);
        }
        let bytes = u64::try_from(segment.bytes.len()).unwrap_or(u64::MAX);
        self.next = Some(segment.offset.saturating_add(bytes).saturating_add(segment.hole));
        let mut reader = Reader::new(segment.bytes);
        while !reader.rest().is_empty() && self.at != At::Lost {
            self.step(&mut reader, each);
            if self.at == At::head(After::Tear) {
                break;
            }
        }
        if segment.hole > 0 {
            self.skip(segment.hole, each);
        }
    }

    fn step(&mut self, reader: &mut Reader<'_>, each: &mut impl FnMut(Block<'_>)) {
        match self.at {
            At::Preface(known) => {
                let expected = PREFACE.get(known..).unwrap_or_default();
                let bytes = reader.up_to(expected.len());
                self.at = match known + bytes.len() {
                    _ if !expected.starts_with(bytes) => At::Lost,
                    all if all == PREFACE.len() => At::head(After::Start),
                    known => At::Preface(known),
                };
            }
            At::Head { mut bytes, len, after } => {
                let part = reader.up_to(HEAD_BYTES - len);
                bytes.iter_mut().skip(len).zip(part).for_each(|(to, from)| *to = *from);
                let len = len + part.len();
                self.at = At::Head { bytes, len, after };
                if len == HEAD_BYTES {
                    self.begin(Head::read(bytes), after, each);
                }
            }
            At::Payload { head, left } => {
                let part = reader.up_to(usize::try_from(left).unwrap_or(usize::MAX));
                if head.is_of_block() {
                    self.keep(part);
                }
                self.pass(head, left - u64::try_from(part.len()).unwrap_or(left), each);
            }
            At::Lost => {}
        }
    }

    fn begin(&mut self, head: Head, after: After, each: &mut impl FnMut(Block<'_>)) {
        let may_follow = match after {
            After::Start => head.kind == SETTINGS && head.flags & ACK == 0 && head.stream == 0,
            After::Frame => head.kind != CONTINUATION,
            After::Block(stream) => head.kind == CONTINUATION && head.stream == stream,
            After::Tear if head.is_plausible() => true,
            After::Tear => {
                self.at = At::head(After::Tear);
                return;
            }
        };
        // a promise has header fields of its own, which change the table; no client of gRPC permits one
        if !may_follow || head.kind == PUSH_PROMISE {
            self.at = At::Lost;
            return;
        }
        self.pass(head, head.len, each);
    }

    fn keep(&mut self, part: &[u8]) {
        let room = MAX_BLOCK_BYTES.saturating_sub(self.block.len());
        self.is_cut |= room < part.len();
        if !self.is_cut {
            self.block.extend_from_slice(part);
        }
    }

    /// Of the frame's payload `left` bytes are still to come.
    fn pass(&mut self, head: Head, left: u64, each: &mut impl FnMut(Block<'_>)) {
        if left > 0 {
            self.at = At::Payload { head, left };
            return;
        }
        if head.kind == HEADERS && !self.is_cut {
            self.is_cut |= self.strip(head, true).is_none();
        }
        self.at = match head {
            Head { flags, stream, .. } if head.is_of_block() && flags & END_HEADERS == 0 => {
                At::head(After::Block(stream))
            }
            _ => At::head(After::Frame),
        };
        if head.is_of_block() && head.flags & END_HEADERS != 0 {
            self.give(head.stream, each);
        }
    }

    /// Takes padding and priority off the block that a HEADERS frame began; what is behind only if that is known.
    fn strip(&mut self, head: Head, has_end: bool) -> Option<()> {
        let mut reader = Reader::new(&self.block);
        let padding = if head.flags & PADDED != 0 { usize::from(reader.byte()?) } else { 0 };
        if head.flags & PRIORITY != 0 {
            reader.take(5)?;
        }
        let len = reader.rest().len();
        let fields = reader.take(if has_end { len.checked_sub(padding)? } else { len })?;
        self.block = fields.to_vec();
        Some(())
    }

    fn give(&mut self, stream: u32, each: &mut impl FnMut(Block<'_>)) {
        each(Block { stream, bytes: &self.block, is_whole: !self.is_cut });
        // gone with its memory: a connection that rests keeps none
        (self.block, self.is_cut) = (Vec::new(), false);
    }

    /// `hole` bytes were not captured.
    fn skip(&mut self, hole: u64, each: &mut impl FnMut(Block<'_>)) {
        match self.at {
            At::Payload { head, left } => {
                if head.is_of_block() {
                    self.cut(head);
                }
                if hole <= left {
                    self.pass(head, left - hole, each);
                } else {
                    self.lose(head.is_of_block().then_some(head.stream), each);
                }
            }
            At::Head { after: After::Block(stream), .. } => self.lose(Some(stream), each),
            At::Preface(_) | At::Head { .. } | At::Lost => self.lose(None, each),
        }
    }

    /// The rest of a block will not come: what is there has no padding behind it.
    fn cut(&mut self, head: Head) {
        if !self.is_cut && head.kind == HEADERS && self.strip(head, false).is_none() {
            self.block.clear();
        }
        self.is_cut = true;
    }

    /// Nobody knows where the next frame begins. A client writes whole frames, so its next call is tried.
    fn lose(&mut self, begun: Option<u32>, each: &mut impl FnMut(Block<'_>)) {
        self.tears += 1;
        let may_go_on =
            self.is_client && self.tears <= MAX_TEARS && !matches!(self.at, At::Preface(_) | At::Lost);
        self.at = if may_go_on { At::head(After::Tear) } else { At::Lost };
        if let Some(stream) = begun {
            self.is_cut = true;
            self.give(stream, each);
        }
    }
}

impl At {
    const fn head(after: After) -> Self {
        Self::Head { bytes: [0; HEAD_BYTES], len: 0, after }
    }
}

impl Head {
    const fn read([a, b, c, kind, flags, d, e, f, g]: [u8; HEAD_BYTES]) -> Self {
        let len = u32::from_be_bytes([0, a, b, c]) as u64;
        // the first bit is reserved
        Self { len, kind, flags, stream: u32::from_be_bytes([d & 0x7f, e, f, g]) }
    }

    /// Whether a sender would begin a call with it: with a request, or a frame of a length that only its kind has.
    const fn is_plausible(self) -> bool {
        match self.kind {
            HEADERS => self.stream % 2 == 1 && self.flags & !(0x1 | END_HEADERS | PADDED | PRIORITY) == 0,
            SETTINGS => self.stream == 0 && self.len.is_multiple_of(6) && self.len <= 60,
            PING => self.stream == 0 && self.len == 8,
            WINDOW_UPDATE => self.len == 4,
            _ => false,
        }
    }

    const fn is_of_block(self) -> bool {
        matches!(self.kind, HEADERS | CONTINUATION)
    }
}
