//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112), server and client.
//!
//! in   [`Session::data`], [`Session::eof`] by direction, [`Session::silence`], [`Session::close`]
//! out  [`crate::model::Exchange`], one per request that is told
//! keeps one head of at most 16 KiB per direction, at most 1024 unanswered requests

mod body;
mod fields;
mod framer;
mod looks;
mod pairing;
mod parse;
pub mod span;
#[cfg(test)]
mod tests;

use super::{Output, SILENCE, Segment};
use crate::model::{Direction, EndedBy, Incomplete, KtimeNs, Role, Socket};
use framer::{Framer, Side};
use looks::Looks;
use pairing::{Pairing, Pairs};
use std::time::Duration;

/// Runs of bytes that were neither request nor response before a connection is left alone: a late start may hit the
/// middle of a few bodies.
const MAX_STRAYS: u32 = 8;

/// When a connection that was left alone is looked at again: its pool may have given it to another protocol.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// One connection.
#[derive(Debug)]
pub struct Session {
    socket: Socket,
    state: State,
    strays: u32,
    /// While who asks is not known: the direction of bytes that told nothing. What follows in it is mid-turn.
    unclear: Option<Direction>,
    is_counted_unrecognized: bool,
    last: KtimeNs,
}

#[derive(Debug)]
enum State {
    /// Who asks is not known yet.
    Unknown,
    Http(Box<Http>),
    /// Not HTTP/1: looked at again after a while, `None` if it surely is something else from here on.
    Opaque(Option<KtimeNs>),
}

#[derive(Debug)]
struct Http {
    role: Role,
    requests: Framer,
    responses: Framer,
    pairing: Pairing,
    last_side: Option<Side>,
}

impl Session {
    /// A connection of which nothing was seen yet.
    #[must_use]
    pub const fn new(socket: Socket) -> Self {
        Self {
            socket,
            state: State::Unknown,
            strays: 0,
            unclear: None,
            is_counted_unrecognized: false,
            last: KtimeNs(0),
        }
    }

    /// When bytes last came.
    #[must_use]
    pub const fn last(&self) -> KtimeNs {
        self.last
    }

    /// Bytes that are kept of heads that are not whole.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        match &self.state {
            State::Http(http) => http.requests.kept_bytes() + http.responses.kept_bytes(),
            State::Unknown | State::Opaque(_) => 0,
        }
    }

    /// There is no room for heads that are not whole: they are taken as they are.
    pub fn give_up_heads(&mut self, out: &mut Output) {
        if let State::Http(http) = &mut self.state {
            let mut pairs = Pairs { pairing: &mut http.pairing, out };
            http.requests.give_up_head_if_begun(Incomplete::Evicted, &mut pairs);
            http.responses.give_up_head_if_begun(Incomplete::Evicted, &mut pairs);
        }
    }

    /// Bytes crossed.
    pub fn data(&mut self, direction: Direction, segment: &Segment<'_>, out: &mut Output) {
        self.last = self.last.max(segment.time);
        if matches!(self.state, State::Opaque(Some(until)) if segment.time >= until) {
            (self.state, self.strays, self.unclear) = (State::Unknown, 0, None);
        }
        if matches!(self.state, State::Unknown) {
            self.detect(direction, segment, out);
        }
        if let State::Http(http) = &mut self.state {
            http.data(direction, segment, out);
            if http.pairing.is_over() || self.strays + http.pairing.strays() > MAX_STRAYS {
                let until = (!http.pairing.is_over()).then(|| segment.time.after(LOOK_AGAIN));
                http.close(EndedBy::Close, Incomplete::Invalid, out);
                self.state = State::Opaque(until);
            }
        }
    }

    /// A message is taken for one where a turn begins, never behind bytes of the same turn that told nothing: more
    /// requests may hide in those.
    fn detect(&mut self, direction: Direction, segment: &Segment<'_>, out: &mut Output) {
        // empty lines before a message are tolerated (RFC 9112 2.2)
        let blank = segment.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let bytes = segment.bytes.get(blank..).unwrap_or_default();
        let says_nothing = bytes.is_empty() && segment.hole == 0;
        if says_nothing || self.unclear.replace(direction) == Some(direction) {
            return;
        }
        let role = match (looks::looks(bytes), direction) {
            (Looks::Request, Direction::Rx) | (Looks::Response, Direction::Tx) => Role::Server,
            (Looks::Request, Direction::Tx) | (Looks::Response, Direction::Rx) => Role::Client,
            (Looks::Neither, _) => {
                self.strays += 1;
                if self.strays > MAX_STRAYS {
                    self.state = State::Opaque(Some(segment.time.after(LOOK_AGAIN)));
                    self.count_unrecognized(out);
                }
                return;
            }
        };
        self.unclear = None;
        self.state = State::Http(Box::new(Http::new(role, self.socket)));
    }

    /// Once for each connection.
    fn count_unrecognized(&mut self, out: &mut Output) {
        let is_first = !std::mem::replace(&mut self.is_counted_unrecognized, true);
        out.unrecognized += u64::from(is_first);
    }

    /// Nothing follows in this direction.
    pub fn eof(&mut self, direction: Direction, out: &mut Output) {
        if let State::Http(http) = &mut self.state {
            http.eof(direction, out);
        }
    }

    /// Stream time went on.
    pub fn silence(&mut self, now: KtimeNs, out: &mut Output) {
        if let State::Http(http) = &mut self.state
            && now.since(self.last) >= SILENCE
        {
            http.silence(out);
        }
    }

    /// The connection ended; `reason` is for requests that were not answered.
    pub fn close(&mut self, reason: Incomplete, out: &mut Output) {
        if let State::Http(http) = &mut self.state {
            http.close(EndedBy::Close, reason, out);
        }
        if matches!(self.state, State::Unknown) && self.strays > 0 {
            self.count_unrecognized(out);
        }
        self.state = State::Opaque(None);
    }
}

impl Http {
    const fn new(role: Role, socket: Socket) -> Self {
        Self {
            role,
            requests: Framer::new(Side::Requests),
            responses: Framer::new(Side::Responses),
            pairing: Pairing::new(role, socket),
            last_side: None,
        }
    }

    const fn side(&self, direction: Direction) -> Side {
        match (self.role, direction) {
            (Role::Server, Direction::Rx) | (Role::Client, Direction::Tx) => Side::Requests,
            (Role::Server, Direction::Tx) | (Role::Client, Direction::Rx) => Side::Responses,
        }
    }

    fn data(&mut self, direction: Direction, segment: &Segment<'_>, out: &mut Output) {
        let side = self.side(direction);
        let has_turned = self.last_side != Some(side);
        self.last_side = Some(side);
        match side {
            Side::Requests => self.request_data(segment, has_turned, out),
            Side::Responses => self.response_data(segment, out),
        }
    }

    fn request_data(&mut self, segment: &Segment<'_>, has_turned: bool, out: &mut Output) {
        let mut pairs = Pairs { pairing: &mut self.pairing, out };
        if self.requests.awaits_body()
            && pairs.pairing.may_lack_body()
            && looks::looks(segment.bytes) == Looks::Request
        {
            self.requests.restart();
            pairs.end_request();
        }
        let begins_message = self.requests.is_at_start() || self.requests.is_lost();
        if has_turned && begins_message {
            end_cut_response(&mut self.responses, &mut pairs, EndedBy::Turn);
            let is_settled = self.responses.is_at_start() && pairs.pairing.settle_at_turn();
            if is_settled || !pairs.pairing.is_uncertain() {
                self.requests.restart();
            }
        }
        self.requests.push(segment, &mut pairs);
    }

    fn response_data(&mut self, segment: &Segment<'_>, out: &mut Output) {
        let mut pairs = Pairs { pairing: &mut self.pairing, out };
        // an answer to a head that is not whole, as no other request waits: the server saw enough of it
        if !pairs.pairing.awaits_answer() {
            self.requests.give_up_head_if_begun(Incomplete::Invalid, &mut pairs);
        }
        self.responses.push(segment, &mut pairs);
        if pairs.pairing.take_surplus() && self.requests.lose_head() {
            // one of these answered it, and it must not wait for another
            pairs.pairing.doubt(Incomplete::Invalid);
        }
        if pairs.pairing.take_final_head() && self.requests.is_cut() {
            self.requests.restart();
            pairs.end_request();
        }
    }

    fn eof(&mut self, direction: Direction, out: &mut Output) {
        let side = self.side(direction);
        let mut pairs = Pairs { pairing: &mut self.pairing, out };
        match side {
            Side::Requests => {
                self.requests.give_up_head_if_begun(Incomplete::Invalid, &mut pairs);
                pairs.end_request();
            }
            Side::Responses => {
                self.responses.end_head(Incomplete::CaptureCut, &mut pairs);
                pairs.end_response(EndedBy::Close);
            }
        }
    }

    fn silence(&mut self, out: &mut Output) {
        let mut pairs = Pairs { pairing: &mut self.pairing, out };
        end_cut_response(&mut self.responses, &mut pairs, EndedBy::Silence);
        if pairs.pairing.is_uncertain() && pairs.pairing.settle_at_silence() && self.requests.is_lost() {
            self.requests.restart();
        }
    }

    fn close(&mut self, how: EndedBy, reason: Incomplete, out: &mut Output) {
        let mut pairs = Pairs { pairing: &mut self.pairing, out };
        self.requests.give_up_head_if_begun(Incomplete::Invalid, &mut pairs);
        self.responses.end_head(Incomplete::CaptureCut, &mut pairs);
        pairs.close(how, reason);
    }
}

/// A response whose end only this tells; or none, because its bytes were lost.
fn end_cut_response(responses: &mut Framer, pairs: &mut Pairs<'_>, how: EndedBy) {
    if responses.is_cut() || responses.is_lost() {
        if responses.is_cut() {
            pairs.end_response(how);
        }
        pairs.lose_responses();
        responses.restart();
    }
}
