//! Requests meet responses: HTTP/1.x answers in order (RFC 9112 9.3.2), so a queue suffices, as long as it is certain
//! that no message was missed. Where that is not certain, exchanges are counted and not told.

use super::{
    body::Body,
    framer::{Head, Side, Sink},
    parse::{self, Fields, RequestLine},
};
use crate::{
    model::{EndedBy, Exchange, HttpExchange, Incomplete, KtimeNs, ProcessId, Role, Socket},
    protocol::Output,
};
use std::collections::VecDeque;

/// Requests that may wait for their responses on one connection. Clients that pipeline send some tens.
const MAX_PENDING: usize = 1024;

/// What may follow the captured part of a head until it surely was none: servers refuse heads of more than 8 to 32 KiB.
const MAX_UNFRAMED_BYTES: u64 = 64 * 1024;

/// A request whose response is not finished.
#[derive(Debug)]
struct Pending {
    line: RequestLine,
    fields: Fields,
    process: ProcessId,
    start: KtimeNs,
    last: KtimeNs,
    offset: u64,
    body_bytes: u64,
    /// Bytes of which it is not known whether they are head or body.
    unframed_bytes: u64,
    is_complete: bool,
    cut: Option<Incomplete>,
    /// The response ended before the request did.
    early: Option<(Answer, EndedBy)>,
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
    has_seen_request: bool,
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
            has_seen_request: false,
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
        self.pending.back().is_some_and(|request| request.fields.expects_continue && answered(request))
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

impl Pairs<'_> {
    /// The request being sent is whole.
    pub fn end_request(&mut self) {
        let open = std::mem::replace(&mut self.pairing.open, Open::None);
        let Some(request) = self.pairing.pending.back_mut().filter(|_| open == Open::Known) else { return };
        request.is_complete = true;
        if let Some((answer, how)) = request.early.take()
            && let Some(request) = self.pairing.pending.pop_back()
        {
            self.tell(request, Some(answer), how);
        }
    }

    /// The response at hand ended in a way that its framing does not tell.
    pub fn end_response(&mut self, how: EndedBy) {
        let Some(answer) = self.pairing.answer.take() else { return };
        let certain = self.pairing.pending.len() == 1 || answer.surplus.is_some() || answer.is_nameless;
        if how == EndedBy::Close || certain {
            self.finish(answer, how);
        } else {
            self.drop_pending(Incomplete::CaptureCut);
        }
    }

    /// The responses of everything that waits were missed.
    pub fn lose_responses(&mut self) {
        if let Some(reason) = self.pairing.answers_lost.take() {
            self.pairing.answer = None;
            self.drop_pending(reason);
        }
    }

    /// The connection is over, or forgotten: `how` and, for what was not answered, `reason`.
    pub fn close(&mut self, how: EndedBy, reason: Incomplete) {
        self.end_request();
        self.end_response(how);
        self.lose_responses();
        while let Some(request) = self.pairing.pending.pop_front() {
            match self.pairing.suspect.filter(|_| self.pairing.is_pipelined) {
                Some(doubt) => self.out.incomplete.add(doubt, 1),
                None => self.tell_unanswered(request, reason),
            }
        }
        let doubt = self.pairing.suspect.unwrap_or(Incomplete::CaptureCut);
        self.out.incomplete.add(doubt, std::mem::take(&mut self.pairing.hidden));
    }

    /// Nobody answered: told if it surely was a request.
    fn tell_unanswered(&mut self, mut request: Pending, reason: Incomplete) {
        if let Some(doubt) = request.doubt() {
            return self.out.incomplete.add(doubt, 1);
        }
        request.cut = Some(reason);
        self.tell(request, None, EndedBy::Close);
    }

    fn drop_pending(&mut self, reason: Incomplete) {
        let waiting = u64::try_from(self.pairing.pending.len()).unwrap_or_default();
        self.out.incomplete.add(reason, waiting);
        if self.pairing.open == Open::Known {
            self.pairing.open = Open::None;
        }
        self.pairing.pending.clear();
    }

    /// A response is whole: its request is the oldest that waits.
    fn finish(&mut self, answer: Answer, how: EndedBy) {
        self.pairing.is_over |= answer.is_last;
        if let Some(reason) = answer.surplus {
            self.pairing.hidden = self.pairing.hidden.saturating_sub(1);
            self.out.incomplete.add(reason, 1);
            return;
        }
        let Some(mut request) = self.pairing.pending.pop_front() else { return };
        if answer.is_nameless {
            self.out.incomplete.add(answer.cut.unwrap_or(Incomplete::CaptureCut), 1);
        } else if request.is_complete {
            self.tell(request, Some(answer), how);
        } else {
            request.early = Some((answer, how));
            self.pairing.pending.push_front(request);
        }
    }

    fn tell(&mut self, request: Pending, answer: Option<Answer>, ended_by: EndedBy) {
        let Pending { line, fields, .. } = request;
        let http = HttpExchange {
            method: line.method,
            path: line.path,
            host: line.authority.or(fields.host).unwrap_or_default(),
            version: line.version.or(answer.map(|answer| answer.version)).unwrap_or_default(),
            status: answer.map_or(0, |answer| answer.status),
            request_body_bytes: request.body_bytes,
            response_body_bytes: answer.map_or(0, |answer| answer.body_bytes),
            parent: fields.parent,
        };
        self.out.tell(Exchange {
            process: request.process,
            socket: self.pairing.socket,
            role: self.pairing.role,
            request_offset: request.offset,
            start: request.start,
            end: answer.map_or(request.last, |answer| answer.last).max(request.start),
            ended_by,
            incomplete: request.cut.or(answer.and_then(|answer| answer.cut)),
            http,
        });
    }

    fn request_head(&mut self, head: Head<'_>) -> Option<Body> {
        self.pairing.has_seen_request = true;
        let whole = parse::request_line(head.bytes).map(|(line, reader)| (line, parse::fields(reader)));
        let Some((line, fields)) = whole.or_else(|| Some((cut_line(&head)?, Fields::default()))) else {
            return self.nameless_request(head);
        };
        let body = if head.cut.is_some() { Body::Cut } else { request_body(&fields) };
        if self.pairing.pending.len() >= MAX_PENDING {
            self.pairing.suspect = self.pairing.suspect.or(Some(Incomplete::Evicted));
        }
        if self.pairing.suspect.is_some() {
            self.hide_request();
            return Some(body);
        }
        self.pairing.is_pipelined |= !self.pairing.pending.is_empty();
        self.pairing.open = Open::Known;
        self.pairing.pending.push_back(Pending {
            line,
            fields,
            process: head.process,
            start: head.time,
            last: head.time,
            offset: head.offset,
            body_bytes: 0,
            unframed_bytes: 0,
            is_complete: false,
            cut: head.cut,
            early: None,
        });
        Some(body)
    }

    /// A request whose line is not whole is not told; if the head is whole, it is no request.
    fn nameless_request(&mut self, head: Head<'_>) -> Option<Body> {
        self.pairing.suspect = self.pairing.suspect.or(head.cut).or(Some(Incomplete::Invalid));
        self.hide_request();
        head.cut.map(|_| Body::Cut)
    }

    const fn hide_request(&mut self) {
        self.pairing.hidden += 1;
        self.pairing.open = Open::Unknown;
    }

    fn response_head(&mut self, head: Head<'_>) -> Option<Body> {
        let Some((line, reader)) = parse::status_line(head.bytes) else {
            return self.nameless_response(head);
        };
        let fields = parse::fields(reader);
        let is_interim = line.status < 200 && line.status != 101;
        let request = self.pairing.pending.front().filter(|request| request.early.is_none());
        let method = request.map(|request| request.line.method.as_str());
        let is_tunnel = line.status == 101 || (method == Some("CONNECT") && line.status / 100 == 2);
        let surplus = if request.is_none() { Some(self.why_surplus()) } else { None };
        self.pairing.has_final_head |= !is_interim;
        self.pairing.has_surplus |= !is_interim && surplus.is_some();
        self.pairing.answer = Some(Answer {
            status: line.status,
            version: line.version,
            body_bytes: 0,
            last: head.time,
            cut: head.cut,
            surplus,
            is_nameless: false,
            is_interim,
            is_last: is_tunnel,
        });
        let has_no_body =
            is_interim || is_tunnel || method == Some("HEAD") || matches!(line.status, 204 | 304);
        Some(match head.cut {
            _ if has_no_body && head.cut.is_none() => Body::None,
            Some(_) => Body::Cut,
            None => response_body(&fields),
        })
    }

    /// A response whose status line is not whole: it answers somebody, that is all.
    fn nameless_response(&mut self, head: Head<'_>) -> Option<Body> {
        let Some(reason) = head.cut else {
            self.pairing.answers_lost = Some(Incomplete::Invalid);
            return None;
        };
        self.pairing.has_final_head = true;
        let surplus = if self.pairing.pending.is_empty() { Some(self.why_surplus()) } else { None };
        self.pairing.answer = Some(Answer {
            status: 0,
            version: (1, 1),
            body_bytes: 0,
            last: head.time,
            cut: Some(reason),
            surplus,
            is_nameless: true,
            is_interim: false,
            is_last: false,
        });
        Some(Body::Cut)
    }

    fn why_surplus(&self) -> Incomplete {
        self.pairing.suspect.unwrap_or(Incomplete::NoRequest)
    }

    fn end_answer(&mut self, time: KtimeNs) {
        let Some(mut answer) = self.pairing.answer.take() else { return };
        answer.last = answer.last.max(time);
        if !answer.is_interim {
            self.finish(answer, EndedBy::Framing);
        }
    }
}

impl Pending {
    /// Why it may have been no request, as long as nobody answered it.
    fn doubt(&self) -> Option<Incomplete> {
        let has_framing = self.fields.is_chunked || self.fields.content_length.is_some();
        match self.cut? {
            reason @ (Incomplete::Invalid | Incomplete::Evicted) => Some(reason),
            reason if self.line.version.is_none() => Some(reason),
            _ if self.unframed_bytes > MAX_UNFRAMED_BYTES && !has_framing => Some(Incomplete::Invalid),
            _ => None,
        }
    }
}

/// The request line of a head whose bytes were not all captured.
fn cut_line(head: &Head<'_>) -> Option<RequestLine> {
    let is_cut = matches!(head.cut, Some(Incomplete::CaptureCut | Incomplete::Gap | Incomplete::Evicted));
    is_cut.then(|| parse::cut_request_line(head.bytes))?
}

/// RFC 9112 6.3, for requests.
fn request_body(fields: &Fields) -> Body {
    match fields.content_length {
        _ if fields.is_chunked => Body::Chunked(super::body::Chunked::default()),
        Some(Some(length)) => Body::Length(length),
        Some(None) => Body::Cut,
        None => Body::None,
    }
}

/// RFC 9112 6.3, for responses that may have a body.
fn response_body(fields: &Fields) -> Body {
    match request_body(fields) {
        Body::None => Body::UntilClose,
        body => body,
    }
}

impl Sink for Pairs<'_> {
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
                let sum =
                    if request.cut.is_none() { &mut request.body_bytes } else { &mut request.unframed_bytes };
                *sum += bytes;
                request.last = time;
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
