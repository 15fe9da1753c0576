//! Asks the front end about twice a second, for ever. Ends with its stdin.

#![forbid(unsafe_code)]

use ratatosk_demo::{Connection, Message, end_with_parent};
use std::{env, io, net::TcpStream, thread, time::Duration};

/// Slow enough to be read as it scrolls by.
const PAUSE: Duration = Duration::from_millis(500);
/// One round through the shop, with what goes wrong in shops.
const ROUND: [(&str, &str); 8] = [
    ("GET", "/products/7"),
    ("GET", "/cart"),
    ("POST", "/checkout"),
    ("GET", "/products/7"),
    ("GET", "/products/9999"),
    ("GET", "/cart"),
    ("POST", "/checkout"),
    ("POST", "/checkout/declined"),
];

fn main() -> io::Result<()> {
    end_with_parent();
    let address = env::args().nth(1).ok_or_else(|| io::Error::other("give the address of the front end"))?;
    loop {
        // A front end that restarts is asked again on a new connection.
        let _ = visit(&address);
        thread::sleep(PAUSE);
    }
}

fn visit(address: &str) -> io::Result<()> {
    let mut connection = Connection::new(TcpStream::connect(address)?)?;
    for (method, path) in ROUND.into_iter().cycle() {
        let body = if method == "POST" { r#"{"card":"none"}"# } else { "" };
        connection.ask(&Message::request(method, path, body))?;
        thread::sleep(PAUSE);
    }
    Ok(())
}
