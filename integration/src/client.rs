//! An HTTP/1 client that decides itself which bytes go into which write.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    time::Duration,
};

/// A server that is silent this long fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Body without chunk framing.
    pub body: Vec<u8>,
    /// Bytes on the wire after the head, chunk framing included.
    pub wire_bytes: u64,
    /// The server takes no further request on this connection.
    pub is_last: bool,
}

/// One keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

#[derive(Default)]
struct Head {
    status: u16,
    length: Option<u64>,
    is_chunked: bool,
    is_last: bool,
}

/// A request without body.
#[must_use]
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A request with a body of `bytes` letters (no body and no length if 0).
#[must_use]
pub fn request(method: &str, path: &str, bytes: usize) -> String {
    if bytes == 0 {
        return format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    let body = "b".repeat(bytes);
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n{body}")
}

impl Connection {
    /// Connects to a port on loopback.
    pub fn open(port: u16) -> io::Result<Self> {
        Self::open_at(Ipv4Addr::LOCALHOST.into(), port)
    }

    /// Connects to a port of an address.
    pub fn open_at(address: IpAddr, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((address, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, stream) })
    }

    /// Its own port.
    pub fn local_port(&self) -> io::Result<u16> {
        Ok(self.stream.get_ref().local_addr()?.port())
    }

    /// One write.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a request and reads its response.
    pub fn ask(&mut self, method: &str, path: &str, body_bytes: usize) -> io::Result<Response> {
        self.send(request(method, path, body_bytes).as_bytes())?;
        self.response(method)
    }

    /// Reads the response to a request of `method`; interim (1xx) responses are passed over.
    pub fn response(&mut self, method: &str) -> io::Result<Response> {
        let head = loop {
            let head = self.head()?;
            if head.status >= 200 {
                break head;
            }
        };
        let mut response = Response { status: head.status, is_last: head.is_last, ..Response::default() };
        if method == "HEAD" || matches!(head.status, 204 | 304) {
            return Ok(response);
        }
        match (head.is_chunked, head.length) {
            (true, _) => self.chunks(&mut response)?,
            (false, Some(length)) => self.exactly(length, &mut response)?,
            (false, None) => {
                self.stream.read_to_end(&mut response.body)?;
                response.wire_bytes = wire(response.body.len());
                response.is_last = true;
            }
        }
        Ok(response)
    }

    fn head(&mut self) -> io::Result<Head> {
        let line = self.line()?;
        let is_last = line.starts_with("HTTP/1.0");
        let mut head = Head { status: word(&line, 1), is_last, ..Head::default() };
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.trim_end().split_once(':') {
                None => return Ok(head),
                Some(("content-length", value)) => head.length = value.trim().parse().ok(),
                Some(("transfer-encoding", value)) => head.is_chunked = value.contains("chunked"),
                Some(("connection", value)) => head.is_last = value.contains("close"),
                Some(_) => {}
            }
        }
    }

    fn exactly(&mut self, bytes: u64, response: &mut Response) -> io::Result<()> {
        let read = (&mut self.stream).take(bytes).read_to_end(&mut response.body)?;
        response.wire_bytes += wire(read);
        if wire(read) == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn chunks(&mut self, response: &mut Response) -> io::Result<()> {
        loop {
            let line = self.line()?;
            response.wire_bytes += wire(line.len());
            let bytes = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            if bytes > 0 {
                self.exactly(bytes, response)?;
            }
            response.wire_bytes += wire(self.line()?.len());
            if bytes == 0 {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}

fn wire(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("usize fits into u64")
}

fn word(line: &str, index: usize) -> u16 {
    line.split_whitespace().nth(index).and_then(|word| word.parse().ok()).unwrap_or_default()
}
