//! Health checks over TCP and over a unix socket.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk::{
    config::HealthConfig,
    health::{Health, HealthError, listen},
};
use std::{
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::Path,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

fn config(port: Option<u16>, unix: Option<&Path>) -> HealthConfig {
    HealthConfig {
        port,
        listen_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        unix_socket_path: unix.map(Path::to_owned),
        port_variable: "OTEL_EBPF_HEALTH_CHECK_PORT".into(),
    }
}

async fn asked(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_port_and_a_unix_socket_say_the_same_as_readiness_changes() {
    let directory = tempfile::tempdir().unwrap();
    let (port, path) = (free_port(), directory.path().join("health.sock"));
    let health = Health::default();
    let door = listen(&config(Some(port), Some(&path)), &health).await.unwrap();
    let tcp = async |request| asked(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), request).await;
    let unix = async |request| asked(UnixStream::connect(&path).await.unwrap(), request).await;
    for answer in [tcp("GET /healthz").await, unix("GET /healthz").await] {
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("alive\n"), "{answer}");
    }
    for answer in [tcp("GET /readyz").await, unix("GET /readyz").await] {
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    health.connected();
    health.greeted("socket");
    health.announced();
    for answer in [tcp("GET /readyz").await, unix("GET /readyz").await] {
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ready, tier socket\n"), "{answer}");
    }
    health.not_connected("killed");
    let answer = tcp("GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with(": killed\n"), "{answer}");
    drop(door);
    assert!(!path.exists());
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let port = free_port();
    let _door = listen(&config(Some(port), None), &Health::default()).await.unwrap();
    let tcp = async |request| asked(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), request).await;
    assert!(tcp("POST /healthz").await.starts_with("HTTP/1.1 405"));
    assert!(
        tcp("GET /v1/explain").await.starts_with("HTTP/1.1 404"),
        "names of processes are not for everybody"
    );
    assert!(tcp("HEAD /healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_variable() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = listen(&config(Some(port), None), &Health::default()).await.unwrap_err();
    assert!(matches!(error, HealthError::Listen { .. }), "{error}");
    assert!(error.to_string().contains("OTEL_EBPF_HEALTH_CHECK_PORT"), "{error}");
}
