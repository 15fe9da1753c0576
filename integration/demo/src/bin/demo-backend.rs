//! Knows the stock and takes the money. Says its port on stdout, ends with its stdin.

#![forbid(unsafe_code)]

use ratatosk_demo::{Message, end_with_parent, serve};
use std::{
    io::{self, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(io::stdout(), "{}", listener.local_addr()?.port())?;
    end_with_parent();
    serve(&listener, || (), |(), request| answer(request));
    Ok(())
}

fn answer(request: &Message) -> Message {
    // So that durations are more than noise.
    thread::sleep(Duration::from_millis(2));
    match request.subject() {
        "/stock/7" => Message::response(200, r#"{"id":7,"left":12}"#),
        "/stock" => Message::response(200, r#"{"items":3}"#),
        "/payments" => Message::response(200, r#"{"paid":true}"#),
        "/payments/declined" => Message::response(500, r#"{"error":"bank is closed"}"#),
        _ => Message::response(404, r#"{"error":"no such thing"}"#),
    }
}
