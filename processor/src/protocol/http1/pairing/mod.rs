//! Requests meet responses: HTTP/1.x answers in order (RFC 9112 9.3.2), so a queue suffices, as long as it is certain
//! that no message was missed. Where that is not certain, exchanges are counted and not told.

mod begin;
mod end;

use super::{
    body::Body,
    framer::{Head, Side, Sink},
};
use crate::{
    model::{EndedBy, Exchange, Incomplete, KtimeNs, Role, Socket},
    protocol::Output,
};
use std::collections::VecDeque;

/// A request whose response is not finished.
#[derive(Debug)]
struct Pending {
    /// What the request says of it. Its end is the last byte of the request.
    exchange: Exchange,
    /// Its version was captured.
    has_version: bool,
    /// Its fields say how long the body is.
    has_framing: bool,
    /// `Expect: 100-continue`.
    expects_continue: bool,
    /// Bytes of which it is not known whether they are head or body.
    unframed_bytes: u64,
    is_complete: bool,
    /// The response ended before the request did, which is rare.
    early: Option<Box<(Answer, EndedBy)>>,
}

/// A response whose head was seen.
#[derive(Clone, Copy, Debug)]
struct Answer {
    status: u16,
    version: (u8, u8),
    body_bytes: u64,
    last: KtimeNs,
    cut: Option<Incomplete>,
    /// It answers no request that we know: why.
    surplus: Option<Incomplete>,
    /// Its status line was not captured.
    is_nameless: bool,
    is_interim: bool,
    /// HTTP ends on this connection (101, or a CONNECT that succeeded).
    is_last: bool,
}

/// What is known of one connection's exchanges.
#[derive(Debug)]
pub struct Pairing {
    role: Role,
    socket: Socket,
    pending: VecDeque<Pending>,
    answer: Option<Answer>,
    /// A request is being sent: the last of `pending`, or one that is not told.
    open: Open,
    /// Requests may have been missed: why.
    suspect: Option<Incomplete>,
    /// Requests that surely came and are not in `pending`.
    hidden: u64,
    /// Why responses of pending requests can't be told.
    answers_lost: Option<Incomplete>,
    /// More than one request was outstanding at a time.
    is_pipelined: bool,
    has_final_head: bool,
    has_surplus: bool,
    is_over: bool,
    strays: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Open {
    None,
    Known,
    Unknown,
}

/// A [`Pairing`] and where its exchanges go: what a framer talks to.
#[derive(Debug)]
pub struct Pairs<'a> {
    /// The connection.
    pub pairing: &'a mut Pairing,
    /// Where they go.
    pub out: &'a mut Output,
}

impl Pairing {
    /// Of a connection of which nothing was seen yet.
    #[must_use]
    pub const fn new(role: Role, socket: Socket) -> Self {
        Self {
            role,
            socket,
            pending: VecDeque::new(),
            answer: None,
            open: Open::None,
            suspect: None,
            hidden: 0,
            answers_lost: None,
            is_pipelined: false,
            has_final_head: false,
            has_surplus: false,
            is_over: false,
            strays: 0,
        }
    }

    /// HTTP ended on this connection, other bytes follow.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Times that bytes were not what they were taken for.
    #[must_use]
    pub const fn strays(&self) -> u32 {
        self.strays
    }

    /// A final response has begun since this was last asked.
    pub fn take_final_head(&mut self) -> bool {
        std::mem::take(&mut self.has_final_head)
    }

    /// A final response that answers no known request has begun since this was last asked.
    pub fn take_surplus(&mut self) -> bool {
        std::mem::take(&mut self.has_surplus)
    }

    /// Requests may have been missed.
    pub fn doubt(&mut self, reason: Incomplete) {
        self.suspect = self.suspect.or(Some(reason));
    }

    /// A whole request waits for its response, so the next response is its.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        self.pending.iter().any(|request| request.is_complete) || self.hidden > 0
    }

    /// The request that is being sent may turn out to have no body after all (RFC 9110 10.1.1).
    #[must_use]
    pub fn may_lack_body(&self) -> bool {
        let answered =
            |request: &Pending| request.early.is_some() || self.answer.is_some_and(|a| !a.is_interim);
        self.pending.back().is_some_and(|request| request.expects_continue && answered(request))
    }

    /// Pairing needs a quiet moment to be trusted again.
    #[must_use]
    pub const fn is_uncertain(&self) -> bool {
        self.suspect.is_some() || self.answers_lost.is_some()
    }

    /// A new request turn begins while responses stand between two messages: is the past settled by that?
    pub fn settle_at_turn(&mut self) -> bool {
        let settled = !self.is_pipelined && self.pending.is_empty() && self.answer.is_none();
        if settled {
            self.forget_doubts();
        }
        settled
    }

    /// Nothing came for a while: what may have been missed is over, but for requests that surely wait.
    pub fn settle_at_silence(&mut self) -> bool {
        let settled = self.hidden == 0 && self.pending.is_empty() && self.answer.is_none();
        if settled {
            self.forget_doubts();
            self.is_pipelined = false;
        }
        settled
    }

    const fn forget_doubts(&mut self) {
        self.suspect = None;
        self.hidden = 0;
    }
}

impl Sink for Pairs<'_> {
    fn whole_head(&mut self, side: Side, head: Head<'_>) -> Option<(usize, Body)> {
        match side {
            Side::Requests => self.whole_request_head(head),
            Side::Responses => self.whole_response_head(head),
        }
    }

    fn head(&mut self, side: Side, head: Head<'_>) -> Option<Body> {
        match side {
            Side::Requests => self.request_head(head),
            Side::Responses => self.response_head(head),
        }
    }

    /// Where the head was cut, it is not known where the body begins: then no byte is called body.
    fn body(&mut self, side: Side, bytes: u64, time: KtimeNs) {
        match (side, self.pairing.pending.back_mut(), &mut self.pairing.answer) {
            (Side::Requests, Some(request), _) if self.pairing.open == Open::Known => {
                let exchange = &mut request.exchange;
                match exchange.incomplete {
                    None => exchange.http.request_body_bytes += bytes,
                    Some(_) => request.unframed_bytes += bytes,
                }
                exchange.end = time;
            }
            (Side::Responses, _, Some(answer)) => {
                answer.body_bytes += if answer.cut.is_none() { bytes } else { 0 };
                answer.last = time;
            }
            _ => {}
        }
    }

    fn end(&mut self, side: Side, time: KtimeNs) {
        match side {
            Side::Requests => self.end_request(),
            Side::Responses => self.end_answer(time),
        }
    }

    fn hidden(&mut self, side: Side, reason: Incomplete) {
        match side {
            Side::Requests => self.pairing.suspect = self.pairing.suspect.or(Some(reason)),
            // one response whose head was seen is still told; what else waits is not
            Side::Responses if self.pairing.answer.is_none() || self.pairing.pending.len() > 1 => {
                self.pairing.answers_lost = Some(reason);
            }
            Side::Responses => {}
        }
    }

    fn stray(&mut self, side: Side) {
        self.pairing.strays += 1;
        match side {
            Side::Requests => {
                self.pairing.suspect = self.pairing.suspect.or(Some(Incomplete::Invalid));
            }
            Side::Responses => self.pairing.answers_lost = Some(Incomplete::Invalid),
        }
    }
}
