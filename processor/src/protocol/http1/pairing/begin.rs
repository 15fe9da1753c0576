//! A head came: what it begins.

use super::{Answer, Open, Pairs, Pending};
use crate::{
    model::{EndedBy, Exchange, HttpExchange, Incomplete},
    protocol::{
        Reader,
        http1::{
            body::{Body, Chunked},
            fields::{Fields, fields},
            framer::Head,
            parse::{self, RequestLine, StatusLine},
        },
    },
};

/// Requests that may wait for their responses on one connection. Clients that pipeline send some tens.
const MAX_PENDING: usize = 1024;

impl Pairs<'_> {
    pub(super) fn whole_request_head(&mut self, head: Head<'_>) -> Option<(usize, Body)> {
        let (line, mut reader) = parse::request_line(head.bytes)?;
        let fields = whole_fields(&mut reader)?;
        Some((head.bytes.len() - reader.rest().len(), self.begin_request(line, fields, head)))
    }

    pub(super) fn request_head(&mut self, head: Head<'_>) -> Option<Body> {
        let whole = parse::request_line(head.bytes).map(|(line, reader)| (line, fields(reader)));
        let Some((line, fields)) = whole.or_else(|| Some((cut_line(&head)?, Fields::default()))) else {
            return self.nameless_request(head);
        };
        Some(self.begin_request(line, fields, head))
    }

    fn begin_request(&mut self, line: RequestLine, fields: Fields, head: Head<'_>) -> Body {
        let body = if head.cut.is_some() { Body::Cut } else { request_body(&fields) };
        if self.pairing.pending.len() >= MAX_PENDING {
            self.pairing.suspect = self.pairing.suspect.or(Some(Incomplete::Evicted));
        }
        if self.pairing.suspect.is_some() {
            self.hide_request();
            return body;
        }
        self.pairing.is_pipelined |= !self.pairing.pending.is_empty();
        self.pairing.open = Open::Known;
        let (socket, role) = (self.pairing.socket, self.pairing.role);
        self.pairing.pending.push_back(Pending {
            has_version: line.version.is_some(),
            has_framing: fields.is_chunked || fields.content_length.is_some(),
            expects_continue: fields.expects_continue,
            unframed_bytes: 0,
            is_complete: false,
            early: None,
            exchange: Exchange {
                process: head.process,
                socket,
                role,
                request_offset: head.offset,
                start: head.time,
                end: head.time,
                ended_by: EndedBy::Framing,
                incomplete: head.cut,
                http: unanswered(line, fields),
            },
        });
        body
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

    pub(super) fn whole_response_head(&mut self, head: Head<'_>) -> Option<(usize, Body)> {
        let (line, mut reader) = parse::status_line(head.bytes)?;
        let fields = whole_fields(&mut reader)?;
        Some((head.bytes.len() - reader.rest().len(), self.begin_response(line, &fields, head)))
    }

    pub(super) fn response_head(&mut self, head: Head<'_>) -> Option<Body> {
        match parse::status_line(head.bytes) {
            Some((line, reader)) => Some(self.begin_response(line, &fields(reader), head)),
            None => self.nameless_response(head),
        }
    }

    fn begin_response(&mut self, line: StatusLine, fields: &Fields, head: Head<'_>) -> Body {
        let is_interim = line.status < 200 && line.status != 101;
        let request = self.pairing.pending.front().filter(|request| request.early.is_none());
        let method = request.map(|request| request.exchange.http.method.as_str());
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
        match head.cut {
            _ if has_no_body && head.cut.is_none() => Body::None,
            Some(_) => Body::Cut,
            None => response_body(fields),
        }
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
}

/// The fields of a head, if all of it is there.
fn whole_fields(reader: &mut Reader<'_>) -> Option<Fields> {
    let mut fields = Fields::default();
    fields.read(reader).then_some(fields)
}

/// What a request says of its exchange.
#[inline]
fn unanswered(line: RequestLine, fields: Fields) -> HttpExchange {
    HttpExchange {
        method: line.method,
        path: line.path,
        query: line.query,
        host: line.authority.or(fields.host).unwrap_or_default(),
        version: line.version.unwrap_or_default(),
        parent: fields.parent,
        ..HttpExchange::default()
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
        _ if fields.is_chunked => Body::Chunked(Chunked::default()),
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
