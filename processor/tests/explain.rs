//! `ratatosk explain` over its socket, without a loader.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk::{
    config::Selection,
    discover::Matcher,
    explain::{self, Ask, ClientError, Report, desk},
    ingest,
    pipeline::Pipeline,
    telemetry::Telemetry,
};
use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A processor that waits for a loader, on a thread of its own.
struct Processor {
    socket: PathBuf,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Processor {
    fn start(directory: &Path) -> Self {
        let (socket, loader) = (directory.join("own/explain.sock"), directory.join("agent.sock"));
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let path = socket.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (desk, mut questions) = desk();
                let _door = explain::listen(&path, desk).unwrap();
                ready.send(()).unwrap();
                let matcher = Matcher::new(Selection::default()).unwrap();
                let mut pipeline = Pipeline::new(matcher, [7; 16], vec![], Telemetry::new());
                let asked = async { ended.await.unwrap_or_default() };
                ingest::run(&loader, &mut pipeline, None, &mut questions, asked).await.unwrap();
            });
        });
        is_ready.recv().unwrap();
        Self { socket, end: Some(end), thread: Some(thread) }
    }

    fn ask(&self) -> Result<Report, ClientError> {
        explain::ask(&question(&self.socket))
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        drop(self.end.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn question(socket: &Path) -> Ask {
    Ask { socket: socket.to_owned(), pid: None, limit: 10 }
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn it_answers_while_it_waits_for_a_loader_and_says_so() {
    let directory = directory();
    let processor = Processor::start(directory.path());
    let report = processor.ask().unwrap();
    assert!(!report.loader.is_ready && report.processes.is_empty(), "{report:?}");
    assert!(report.loader.status.starts_with("not connected to the loader:"), "{}", report.loader.status);
}

#[test]
fn only_its_user_reaches_the_socket_and_its_end_removes_it() {
    let directory = directory();
    let processor = Processor::start(directory.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let socket = processor.socket.clone();
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
    drop(processor);
    assert!(!socket.exists());
    assert!(matches!(explain::ask(&question(&socket)), Err(ClientError::NoProcessor(_))));
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
    let directory = directory();
    fs::create_dir(directory.path().join("own")).unwrap();
    let left = directory.path().join("own/explain.sock");
    drop(UnixListener::bind(&left).unwrap());
    assert!(matches!(explain::ask(&question(&left)), Err(ClientError::NoProcessor(_))), "nobody listens");
    let processor = Processor::start(directory.path());
    processor.ask().unwrap();
    let error = explain::open(&processor.socket, "VARIABLE").unwrap_err().to_string();
    assert!(error.contains("another program serves") && error.contains("VARIABLE"), "{error}");
    processor.ask().unwrap();
}

#[test]
fn a_file_in_the_sockets_place_stays() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    assert!(explain::open(&file, "VARIABLE").is_err());
    assert!(matches!(explain::ask(&question(&file)), Err(ClientError::NotASocket(_))));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_process_that_nobody_announced_is_an_error_that_says_why() {
    let directory = directory();
    let processor = Processor::start(directory.path());
    let ask = Ask { pid: Some(1), ..question(&processor.socket) };
    let error = explain::ask(&ask).unwrap_err();
    assert!(
        matches!(error, ClientError::UnknownPid(1)) && error.to_string().contains("kernel thread"),
        "{error}"
    );
}

/// Answers one connection with `bytes`.
fn stranger(socket: &Path, bytes: &'static [u8]) -> thread::JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(bytes);
    })
}

#[test]
fn whoever_is_no_processor_is_called_so() {
    for (name, bytes) in [
        ("hangs-up", &b""[..]),
        ("binary", b"PRI * HTTP/2.0\r\n\r\n\x00\x00\x12"),
        ("html", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"),
        ("half", b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{\"processes\":"),
    ] {
        let directory = directory();
        let socket = directory.path().join(name);
        let stranger = stranger(&socket, bytes);
        let error = explain::ask(&question(&socket)).unwrap_err();
        assert!(matches!(error, ClientError::Nonsense { .. }), "{name}: {error}");
        stranger.join().unwrap();
    }
}

#[test]
fn an_answer_without_end_is_cut() {
    let directory = directory();
    let socket = directory.path().join("endless");
    let listener = UnixListener::bind(&socket).unwrap();
    let stranger = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let mut sent = 0_usize;
        while sent < 64 << 20 && stream.write_all(&[b' '; 65_536]).is_ok() {
            sent += 65_536;
        }
        sent
    });
    assert!(matches!(explain::ask(&question(&socket)), Err(ClientError::Nonsense { .. })));
    assert!(stranger.join().unwrap() < 64 << 20, "the asker hung up");
}
