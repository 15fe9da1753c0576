//! The shop: asks the back end for everything. Starts the back end and a visitor, and takes them along when it ends.

#![forbid(unsafe_code)]

use ratatosk_demo::{Connection, Message, serve};
use std::{
    env,
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// Where people may ask it, too; any other port if this one is taken.
const PORT: u16 = 18_080;

static BACKEND: OnceLock<SocketAddr> = OnceLock::new();

fn main() -> io::Result<()> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).or_else(|_| TcpListener::bind("127.0.0.1:0"))?;
    // Both stay until we end: they end with their stdin.
    let (_backend, address) = start_backend()?;
    let _ = BACKEND.set(address);
    let _visitor = start("demo-visitor", &[listener.local_addr()?.to_string()], Stdio::null())?;
    serve(&listener, || None, answer);
    Ok(())
}

fn start_backend() -> io::Result<(Child, SocketAddr)> {
    let mut backend = start("demo-backend", &[], Stdio::piped())?;
    let mut line = String::new();
    if let Some(stdout) = backend.stdout.as_mut() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let port: u16 = line.trim().parse().map_err(|_| io::Error::other("back end told no port"))?;
    Ok((backend, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

fn start(name: &str, arguments: &[String], stdout: Stdio) -> io::Result<Child> {
    let program = env::current_exe()?.with_file_name(name);
    Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(stdout).spawn()
}

/// One connection to the back end per connection of ours, opened at need and again after it broke.
fn answer(backend: &mut Option<Connection>, request: &Message) -> Message {
    let path = match request.subject() {
        "/cart" => "/stock",
        "/checkout" => "/payments",
        "/checkout/declined" => "/payments/declined",
        path => &path.replacen("/products", "/stock", 1),
    };
    let question = Message::request("GET", path, "");
    match ask(backend, &question) {
        Ok(found) => Message { first_line: found.first_line, body: found.body },
        Err(_) => {
            *backend = None;
            Message::response(500, r#"{"error":"back end is away"}"#)
        }
    }
}

fn ask(backend: &mut Option<Connection>, question: &Message) -> io::Result<Message> {
    let connection = match backend.take() {
        Some(connection) => backend.insert(connection),
        None => {
            let address = BACKEND.get().ok_or(io::ErrorKind::NotConnected)?;
            backend.insert(Connection::new(TcpStream::connect(address)?)?)
        }
    };
    connection.ask(question)
}
