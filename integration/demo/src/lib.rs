//! The little HTTP/1.1 that the demo speaks: keep-alive, `content-length` bodies, nothing else.
//!
//! It is a thing to be watched, not a server: every bound is small, and a peer that breaks one is cut off.

#![forbid(unsafe_code)]

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Longest line and most header lines that are read.
const MAX_LINE_BYTES: u64 = 1024;
const MAX_HEADERS: usize = 32;
/// Longest body that is read.
const MAX_BODY_BYTES: usize = 4096;
/// Connections served at once; a demo has three.
const MAX_CONNECTIONS: usize = 16;
/// A silent peer loses its connection after this time.
const IDLE: Duration = Duration::from_secs(30);

/// A request or a response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// First line, without its end: `GET /cart HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub first_line: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Message {
    /// A request.
    #[must_use]
    pub fn request(method: &str, path: &str, body: &str) -> Self {
        Self { first_line: format!("{method} {path} HTTP/1.1"), body: body.into() }
    }

    /// A response.
    #[must_use]
    pub fn response(status: u16, body: &str) -> Self {
        let reason = match status {
            200 => "OK",
            404 => "Not Found",
            _ => "Internal Server Error",
        };
        Self { first_line: format!("HTTP/1.1 {status} {reason}"), body: body.into() }
    }

    /// Second word of the first line: path or status.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.first_line.split(' ').nth(1).unwrap_or_default()
    }

    /// Status of a response, 500 if there is none.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.subject().parse().unwrap_or(500)
    }
}

/// One connection, either end.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Takes a connected socket.
    ///
    /// # Errors
    /// The socket refuses its options.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IDLE))?;
        stream.set_write_timeout(Some(IDLE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and waits for its response.
    ///
    /// # Errors
    /// The connection broke or the peer does not speak our HTTP.
    pub fn ask(&mut self, request: &Message) -> io::Result<Message> {
        self.send(request)?;
        self.receive()?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Sends one message in one write.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, message: &Message) -> io::Result<()> {
        let head = format!(
            "{}\r\nhost: shop.demo\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            message.first_line,
            message.body.len()
        );
        self.stream.get_mut().write_all(&[head.as_bytes(), &message.body].concat())
    }

    /// Reads one message, none at the end of the connection.
    ///
    /// # Errors
    /// The connection broke or a bound is exceeded.
    pub fn receive(&mut self) -> io::Result<Option<Message>> {
        let first_line = self.line()?;
        if first_line.is_empty() {
            return Ok(None);
        }
        let mut body_bytes = 0;
        for _ in 0..MAX_HEADERS {
            let line = self.line()?;
            if line.is_empty() {
                let mut body = vec![0; body_bytes];
                self.stream.read_exact(&mut body)?;
                return Ok(Some(Message { first_line, body }));
            }
            body_bytes = content_length(&line)?.unwrap_or(body_bytes);
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    /// One line without its end; empty at the end of the connection.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut self.stream).take(MAX_LINE_BYTES).read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

/// Serves `listener` for ever, a thread per connection.
pub fn serve<State>(
    listener: &TcpListener,
    state: impl Fn() -> State,
    answer: impl Fn(&mut State, &Message) -> Message + Copy + Send + 'static,
) where
    State: Send + 'static,
{
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming().flatten() {
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (open, mut state) = (Arc::clone(&open), state());
        thread::spawn(move || {
            let _ = serve_one(stream, |request| answer(&mut state, request));
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Ends this process when its parent ends: the parent holds the other end of our stdin.
pub fn end_with_parent() {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        process::exit(0);
    });
}

fn serve_one(stream: TcpStream, mut answer: impl FnMut(&Message) -> Message) -> io::Result<()> {
    let mut connection = Connection::new(stream)?;
    while let Some(request) = connection.receive()? {
        connection.send(&answer(&request))?;
    }
    Ok(())
}

fn content_length(line: &str) -> io::Result<Option<usize>> {
    let Some((name, value)) = line.split_once(':') else { return Ok(None) };
    if !name.eq_ignore_ascii_case("content-length") {
        return Ok(None);
    }
    match value.trim().parse() {
        Ok(bytes) if bytes <= MAX_BODY_BYTES => Ok(Some(bytes)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo_server() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            serve(&listener, || (), |(), request| Message::response(200, request.subject()))
        });
        address
    }

    #[test]
    fn one_connection_carries_many_exchanges() {
        let mut connection = Connection::new(TcpStream::connect(echo_server()).unwrap()).unwrap();
        for path in ["/cart", "/products/7"] {
            let response = connection.ask(&Message::request("POST", path, "{}")).unwrap();
            assert_eq!((response.status(), response.body.as_slice()), (200, path.as_bytes()));
        }
    }

    #[test]
    fn a_body_over_the_bound_ends_the_connection() {
        let mut connection = Connection::new(TcpStream::connect(echo_server()).unwrap()).unwrap();
        let body = "x".repeat(MAX_BODY_BYTES + 1);
        assert!(connection.ask(&Message::request("POST", "/", &body)).is_err());
    }
}
