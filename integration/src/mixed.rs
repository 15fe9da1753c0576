//! A fixed mixed workload over keep-alive and fresh connections, with what went over the wire as the truth.

use crate::{
    client::{Connection, Response},
    span::Row,
};
use std::{fmt::Write, io, ops::RangeInclusive, thread, time::SystemTime};

/// One request to be made.
#[derive(Clone, Copy, Debug)]
struct Kind {
    method: &'static str,
    folder: &'static str,
    body: Body,
}

#[derive(Clone, Copy, Debug)]
enum Body {
    None,
    Bytes(usize),
    /// As many bytes in chunks.
    Chunks(usize),
}

/// What a client saw of one exchange.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Bytes on the wire, chunk framing included.
    pub wire: Row,
    /// Bytes without framing, as the program behind the server knows them.
    pub plain: Row,
    /// Request or response came in chunks.
    pub is_chunked: bool,
    /// The client's port.
    pub port: u16,
    /// From before the request was sent until the response was read.
    pub when: RangeInclusive<SystemTime>,
}

/// Bytes in one chunk of a request.
const CHUNK_BYTES: usize = 1000;
/// Connections at once in the last round.
const PARALLEL: usize = 4;

const KINDS: [Kind; 10] = [
    Kind { method: "GET", folder: "r", body: Body::None },
    Kind { method: "POST", folder: "r", body: Body::Bytes(3000) },
    Kind { method: "PUT", folder: "put", body: Body::Bytes(40_000) },
    Kind { method: "HEAD", folder: "r", body: Body::None },
    Kind { method: "GET", folder: "gone", body: Body::None },
    Kind { method: "GET", folder: "chunked", body: Body::None },
    Kind { method: "GET", folder: "error", body: Body::None },
    Kind { method: "GET", folder: "big", body: Body::None },
    Kind { method: "POST", folder: "r", body: Body::Chunks(2500) },
    Kind { method: "DELETE", folder: "r", body: Body::None },
];

/// Requests that [`drive`] makes.
pub const REQUESTS: usize = KINDS.len() * (3 + PARALLEL);

/// Drives the server `name` on `port`: two rounds on one keep-alive connection, one with a connection for each request,
/// and four at once. Where a server takes no chunked request (`takes_chunks`) that body comes with its length. Sorted by path.
#[must_use]
pub fn drive(name: &str, port: u16, takes_chunks: bool) -> Vec<Seen> {
    let round = |round: usize, is_fresh: bool| {
        let mut line = Line::new(port, is_fresh);
        let numbered = KINDS.iter().enumerate();
        let ask = |(number, kind): (usize, &Kind)| {
            let path = format!("/{}/{name}-{round}-{number}", kind.folder);
            let kind = if takes_chunks { *kind } else { kind.with_length() };
            line.ask(kind, &path).unwrap_or_else(|error| panic!("{name}: {} {path}: {error}", kind.method))
        };
        numbered.map(ask).collect::<Vec<_>>()
    };
    let mut seen = [round(0, false), round(1, false), round(2, true)].concat();
    thread::scope(|scope| {
        let rounds: Vec<_> =
            (3..3 + PARALLEL).map(|number| scope.spawn(move || round(number, false))).collect();
        seen.extend(rounds.into_iter().flat_map(|thread| thread.join().expect("a round of requests")));
    });
    seen.sort_by(|one, other| one.wire.cmp(&other.wire));
    seen
}

/// A connection that is opened again when the server ended it, or for each request.
struct Line {
    port: u16,
    is_fresh: bool,
    open: Option<Connection>,
}

impl Line {
    const fn new(port: u16, is_fresh: bool) -> Self {
        Self { port, is_fresh, open: None }
    }

    fn ask(&mut self, kind: Kind, path: &str) -> io::Result<Seen> {
        let mut connection = match self.open.take() {
            Some(connection) => connection,
            None => Connection::open(self.port)?,
        };
        let (head, body) = kind.request(path, self.is_fresh);
        let begin = SystemTime::now();
        connection.send(format!("{head}{body}").as_bytes())?;
        let response = connection.response(kind.method)?;
        let when = begin..=SystemTime::now();
        let seen = Seen { port: connection.local_port()?, when, ..kind.seen(path, body.len(), &response) };
        if !self.is_fresh && !response.is_last {
            self.open = Some(connection);
        }
        Ok(seen)
    }
}

impl Kind {
    const fn with_length(self) -> Self {
        match self.body {
            Body::Chunks(bytes) => Self { body: Body::Bytes(bytes), ..self },
            _ => self,
        }
    }

    const fn body_bytes(self) -> usize {
        match self.body {
            Body::None => 0,
            Body::Bytes(bytes) | Body::Chunks(bytes) => bytes,
        }
    }

    /// Head and body as they go over the wire.
    fn request(self, path: &str, is_last: bool) -> (String, String) {
        let (length, body) = match self.body {
            Body::None => (String::new(), String::new()),
            Body::Bytes(bytes) => (format!("Content-Length: {bytes}\r\n"), "b".repeat(bytes)),
            Body::Chunks(bytes) => ("Transfer-Encoding: chunked\r\n".to_owned(), chunks(bytes)),
        };
        let close = if is_last { "Connection: close\r\n" } else { "" };
        (format!("{} {path} HTTP/1.1\r\nHost: localhost\r\n{close}{length}\r\n", self.method), body)
    }

    fn seen(self, path: &str, wire_bytes: usize, response: &Response) -> Seen {
        let row = |request: usize, response_bytes: u64| -> Row {
            let request = u64::try_from(request).expect("usize fits into u64");
            (path.to_owned(), self.method.to_owned(), response.status, request, response_bytes)
        };
        let body = u64::try_from(response.body.len()).expect("usize fits into u64");
        Seen {
            wire: row(wire_bytes, response.wire_bytes),
            plain: row(self.body_bytes(), body),
            is_chunked: matches!(self.body, Body::Chunks(_)) || response.wire_bytes != body,
            port: 0,
            when: SystemTime::UNIX_EPOCH..=SystemTime::UNIX_EPOCH,
        }
    }
}

fn chunks(mut bytes: usize) -> String {
    let mut body = String::new();
    while bytes > 0 {
        let size = bytes.min(CHUNK_BYTES);
        write!(body, "{size:x}\r\n{}\r\n", "b".repeat(size)).expect("write to a String");
        bytes -= size;
    }
    body + "0\r\n\r\n"
}
