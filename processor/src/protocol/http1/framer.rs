//! One direction's bytes to messages: where heads are, how long bodies are, and what could not be told.

use super::{body::Body, looks};
use crate::{
    model::{Incomplete, KtimeNs, ProcessId},
    protocol::Segment,
};

/// Longest head that is kept while it spans calls. Servers refuse heads of more than 8 to 32 KiB; a capture turn
/// carries 16.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What a direction carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Requests.
    Requests,
    /// Responses.
    Responses,
}

/// The head of a message, whole or cut.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// First byte seen.
    pub time: KtimeNs,
    /// Who moved it.
    pub process: ProcessId,
    /// Unwrapped offset of the first byte.
    pub offset: u64,
    /// The bytes that were captured.
    pub bytes: &'a [u8],
    /// Why the rest was not; `None`: the head is whole.
    pub cut: Option<Incomplete>,
}

/// What the framer tells its session.
pub trait Sink {
    /// The message that begins `head.bytes`: the length of its head, and how its body is framed. `None`, and nothing happened,
    /// if the bytes are no message of this side, or do not hold all of its head.
    fn whole_head(&mut self, side: Side, head: Head<'_>) -> Option<(usize, Body)>;
    /// A head. Gives how its body is framed, or `None` if the bytes are no message of this side.
    fn head(&mut self, side: Side, head: Head<'_>) -> Option<Body>;
    /// Bytes of the body.
    fn body(&mut self, side: Side, bytes: u64, time: KtimeNs);
    /// The message is whole.
    fn end(&mut self, side: Side, time: KtimeNs);
    /// So many bytes may hide messages of this side.
    fn hidden(&mut self, side: Side, reason: Incomplete);
    /// Bytes that begin a message are none of this side.
    fn stray(&mut self, side: Side);
}

#[derive(Debug, Default)]
enum State {
    /// The next byte begins a message.
    #[default]
    Start,
    /// In a head that spans calls.
    Head(Box<Kept>),
    /// In a body.
    Body(Body),
    /// Nothing is certain until the direction turns.
    Lost,
}

#[derive(Debug)]
struct Kept {
    time: KtimeNs,
    process: ProcessId,
    offset: u64,
    bytes: Vec<u8>,
}

/// One direction.
#[derive(Debug)]
pub struct Framer {
    side: Side,
    state: State,
    /// Body bytes of the message at hand that were gone over.
    body_seen: bool,
}

impl Framer {
    /// A direction of which the next byte may begin a message.
    #[must_use]
    pub const fn new(side: Side) -> Self {
        Self { side, state: State::Start, body_seen: false }
    }

    /// Between two messages, for all that is known.
    #[must_use]
    pub const fn is_at_start(&self) -> bool {
        matches!(self.state, State::Start)
    }

    /// In a message whose end only a turn, a close or silence tells.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        matches!(self.state, State::Body(Body::Cut))
    }

    /// Nothing is certain until the direction turns.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// A body was announced, and no byte of it was seen yet.
    #[must_use]
    pub const fn awaits_body(&self) -> bool {
        matches!(self.state, State::Body(_)) && !self.body_seen
    }

    /// The next byte may begin a message: the direction turned, or was silent.
    pub fn restart(&mut self) {
        self.state = State::Start;
    }

    /// Bytes that are kept of a head that is not whole.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        match &self.state {
            State::Head(kept) => kept.bytes.len(),
            State::Start | State::Body(_) | State::Lost => 0,
        }
    }

    /// A head that never became whole, if one was begun, is taken as it is.
    pub fn give_up_head_if_begun(&mut self, reason: Incomplete, sink: &mut impl Sink) {
        match std::mem::take(&mut self.state) {
            State::Head(kept) => self.cut_head(&kept, reason, sink),
            other => self.state = other,
        }
    }

    /// A head that is not whole is forgotten; gives whether there was one.
    pub fn lose_head(&mut self) -> bool {
        let is_begun = matches!(self.state, State::Head(_));
        if is_begun {
            self.state = State::Lost;
        }
        is_begun
    }

    /// The direction ended within a head: only a first line that is whole says anything.
    pub fn end_head(&mut self, reason: Incomplete, sink: &mut impl Sink) {
        match std::mem::take(&mut self.state) {
            State::Head(kept) if kept.bytes.contains(&b'\n') => self.cut_head(&kept, reason, sink),
            State::Head(_) => {}
            other => self.state = other,
        }
    }

    /// Goes over `segment`.
    pub fn push(&mut self, segment: &Segment<'_>, sink: &mut impl Sink) {
        let mut rest = *segment;
        while !rest.bytes.is_empty() {
            let used = self.step(&rest, sink);
            rest.bytes = rest.bytes.get(used..).unwrap_or_default();
            rest.offset += u64::try_from(used).unwrap_or_default();
        }
        if segment.hole > 0 {
            self.skip(segment, sink);
        }
    }

    /// Goes over some of the captured bytes; gives how many.
    fn step(&mut self, segment: &Segment<'_>, sink: &mut impl Sink) -> usize {
        match &mut self.state {
            State::Start => self.begin(segment, sink),
            State::Head(kept) => {
                let kept_bytes = kept.bytes.len();
                kept.bytes.extend_from_slice(segment.bytes);
                self.continue_head(kept_bytes, segment, sink)
            }
            State::Body(body) => {
                let step = body.take(segment.bytes);
                self.after_body(step.used, step.is_end, segment.time, sink);
                step.used
            }
            State::Lost => segment.bytes.len(),
        }
    }

    fn after_body(&mut self, used: usize, is_end: bool, time: KtimeNs, sink: &mut impl Sink) {
        if used > 0 {
            self.body_seen = true;
            sink.body(self.side, u64::try_from(used).unwrap_or_default(), time);
        }
        if is_end {
            self.state = State::Start;
            sink.end(self.side, time);
        }
    }

    fn begin(&mut self, segment: &Segment<'_>, sink: &mut impl Sink) -> usize {
        // empty lines before a message are tolerated (RFC 9112 2.2)
        let blank = segment.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if blank > 0 {
            return blank;
        }
        let Segment { time, process, offset, bytes, .. } = *segment;
        if let Some((len, body)) =
            sink.whole_head(self.side, Head { time, process, offset, bytes, cut: None })
        {
            self.after_head(Some(body), time, sink);
            return len;
        }
        self.begin_part(segment, sink)
    }

    /// The bytes begin no message, or one whose head is not whole.
    fn begin_part(&mut self, segment: &Segment<'_>, sink: &mut impl Sink) -> usize {
        let is_expected = match self.side {
            Side::Requests => looks::can_be_request(segment.bytes),
            Side::Responses => looks::looks(segment.bytes) == looks::Looks::Response,
        };
        if !is_expected {
            self.state = State::Lost;
            sink.stray(self.side);
            return segment.bytes.len();
        }
        let Segment { time, process, offset, .. } = *segment;
        match looks::head_len(segment.bytes) {
            Some(len) => {
                let bytes = segment.bytes.get(..len).unwrap_or_default();
                self.head(Head { time, process, offset, bytes, cut: None }, segment.time, sink);
                len
            }
            None => {
                let kept = Kept { time, process, offset, bytes: segment.bytes.to_vec() };
                self.state = State::Head(Box::new(kept));
                segment.bytes.len()
            }
        }
    }

    fn continue_head(&mut self, kept_bytes: usize, segment: &Segment<'_>, sink: &mut impl Sink) -> usize {
        let State::Head(kept) = std::mem::take(&mut self.state) else { return segment.bytes.len() };
        let Some(len) = looks::head_len(&kept.bytes) else {
            if kept.bytes.len() > MAX_HEAD_BYTES {
                self.cut_head(&kept, Incomplete::Evicted, sink);
            } else {
                self.state = State::Head(kept);
            }
            return segment.bytes.len();
        };
        let Kept { time, process, offset, ref bytes } = *kept;
        let bytes = bytes.get(..len).unwrap_or_default();
        self.head(Head { time, process, offset, bytes, cut: None }, segment.time, sink);
        len.saturating_sub(kept_bytes)
    }

    fn head(&mut self, head: Head<'_>, end: KtimeNs, sink: &mut impl Sink) {
        let body = sink.head(self.side, head);
        self.after_head(body, end, sink);
    }

    fn after_head(&mut self, body: Option<Body>, end: KtimeNs, sink: &mut impl Sink) {
        self.body_seen = false;
        match body {
            Some(Body::None | Body::Length(0)) => {
                self.state = State::Start;
                sink.end(self.side, end);
            }
            Some(body) => self.state = State::Body(body),
            None => self.state = State::Lost,
        }
    }

    fn cut_head(&mut self, kept: &Kept, reason: Incomplete, sink: &mut impl Sink) {
        let Kept { time, process, offset, ref bytes } = *kept;
        self.head(Head { time, process, offset, bytes, cut: Some(reason) }, time, sink);
        if matches!(self.state, State::Body(_)) {
            self.state = State::Body(Body::Cut);
        }
    }

    /// Goes over the bytes that were not captured.
    fn skip(&mut self, segment: &Segment<'_>, sink: &mut impl Sink) {
        let Segment { hole, time, hole_reason, .. } = *segment;
        match std::mem::take(&mut self.state) {
            State::Start | State::Lost => {
                self.state = State::Lost;
                sink.hidden(self.side, hole_reason);
            }
            State::Head(kept) => {
                self.cut_head(&kept, hole_reason, sink);
                sink.hidden(self.side, hole_reason);
            }
            State::Body(body) => self.skip_body(body, hole, time, hole_reason, sink),
        }
    }

    fn skip_body(
        &mut self,
        mut body: Body,
        hole: u64,
        time: KtimeNs,
        reason: Incomplete,
        sink: &mut impl Sink,
    ) {
        let was_cut = body == Body::Cut;
        let (used, is_end) = body.skip(hole);
        let becomes_cut = body == Body::Cut && !was_cut;
        self.state = State::Body(body);
        self.after_body(usize::try_from(used).unwrap_or(usize::MAX), is_end, time, sink);
        if used < hole {
            self.state = State::Lost;
            sink.hidden(self.side, reason);
        } else if becomes_cut {
            sink.hidden(self.side, reason);
        }
    }
}
