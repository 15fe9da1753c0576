//! Paced load, with what became of each request.

use crate::client::Connection;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Connections of a load; each has its own thread.
const CONNECTIONS: u32 = 8;

/// A request that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Path, unique in the load.
    pub path: String,
    /// Before the first byte.
    pub at: Instant,
    /// The response was read whole, with status 200.
    pub is_answered: bool,
}

/// Requests at a steady rate until [`Load::stop`].
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Sent>>>,
}

impl Load {
    /// Asks `port` for `/r/<name>-<connection>-<number>`, `per_second` times a second over keep-alive connections.
    #[must_use]
    pub fn start(port: u16, name: &str, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs(1) * CONNECTIONS / per_second;
        let threads = (0..CONNECTIONS).map(|number| {
            let (stop, prefix) = (Arc::clone(&stop), format!("/r/{name}-{number}"));
            thread::spawn(move || ask(port, &prefix, pause, &stop))
        });
        Self { threads: threads.collect(), stop }
    }

    /// Ends it, and gives every request in the order of its start.
    #[must_use]
    pub fn stop(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let lists = self.threads.into_iter().map(|thread| thread.join().expect("a client of the load"));
        let mut all: Vec<Sent> = lists.flatten().collect();
        all.sort_by_key(|sent| sent.at);
        all
    }
}

fn ask(port: u16, prefix: &str, pause: Duration, stop: &AtomicBool) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut connection = Connection::open(port).expect("a connection of the load");
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let (path, at) = (format!("{prefix}-{}", sent.len()), Instant::now());
        let answer = connection.ask("GET", &path, 0);
        let is_answered = answer.is_ok_and(|response| response.status == 200);
        if !is_answered {
            connection = Connection::open(port).expect("another connection of the load");
        }
        sent.push(Sent { path, at, is_answered });
        due = (due + pause).max(at); // what was late is not made up for
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    sent
}
