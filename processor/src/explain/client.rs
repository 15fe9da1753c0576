//! The asking side: `ratatosk explain`.

use super::{MAX_PAGE, Report, serve::PATH};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{net::UnixStream, time::timeout};

/// A processor that turns answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// A page is a tenth of that.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// What to ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ask {
    /// Where.
    pub socket: PathBuf,
    /// Only about this process.
    pub pid: Option<u32>,
    /// At most so many processes.
    pub limit: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what happened")]
pub enum ClientError {
    #[error(
        "no processor runs that would answer at {}: start it, or say where its socket is (--socket, \
         RATATOSK_EXPLAIN_SOCKET; RATATOSK_SOCKET if that was set for it)", .0.display()
    )]
    NoProcessor(PathBuf),
    #[error("no permission to ask at {}: run this as root or as the processor's user, as in `sudo ratatosk explain`", .0.display())]
    Permission(PathBuf),
    #[error("{} is no socket: give the path of the processor's explain socket", .0.display())]
    NotASocket(PathBuf),
    #[error("what answers at {} is no processor that explains ({problem}): is it the loader's socket?", .path.display())]
    Nonsense { path: PathBuf, problem: String },
    #[error("the processor at {} said: {message}", .path.display())]
    Refused { path: PathBuf, message: String },
    #[error("the processor at {} did not answer within {} s: it is stopped or overloaded", .0.display(), PATIENCE.as_secs())]
    Silent(PathBuf),
    #[error("the question could not be asked: {0}")]
    System(io::Error),
    #[error(
        "no process {0} was announced by the loader. It has ended, is a thread or a kernel thread, or is known by another \
         pid outside its container; just started, it comes within a second"
    )]
    UnknownPid(u32),
}

/// Asks page by page. As root it first becomes the socket's owner, since the answer repeats what strangers wrote.
///
/// # Errors
/// [`ClientError`].
pub fn ask(ask: &Ask) -> Result<Report, ClientError> {
    become_owner(&ask.socket)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = runtime.map_err(ClientError::System)?.block_on(pages(ask))?;
    match ask.pid {
        Some(pid) if report.processes.is_empty() => Err(ClientError::UnknownPid(pid)),
        _ => Ok(report),
    }
}

fn become_owner(socket: &Path) -> Result<(), ClientError> {
    let metadata = fs::metadata(socket).map_err(|error| unreachable(socket, error))?;
    if !metadata.file_type().is_socket() {
        return Err(ClientError::NotASocket(socket.to_owned()));
    }
    let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    if !geteuid().is_root() || uid.is_root() {
        return Ok(());
    }
    let changed =
        setgroups(&[]).and_then(|()| setresgid(gid, gid, gid)).and_then(|()| setresuid(uid, uid, uid));
    changed.map_err(|errno| ClientError::System(errno.into()))
}

fn unreachable(socket: &Path, error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NoProcessor(socket.to_owned())
        }
        io::ErrorKind::PermissionDenied => ClientError::Permission(socket.to_owned()),
        _ => ClientError::System(error),
    }
}

async fn pages(ask: &Ask) -> Result<Report, ClientError> {
    let mut report = page(ask, 0, ask.limit).await?;
    loop {
        let shown = report.processes.len();
        let left = ask.limit.min(report.total).saturating_sub(shown);
        if left == 0 {
            return Ok(report);
        }
        let next = page(ask, shown, left).await?;
        if next.processes.is_empty() {
            return Ok(report); // some ended meanwhile
        }
        report.processes.extend(next.processes);
    }
}

async fn page(ask: &Ask, offset: usize, limit: usize) -> Result<Report, ClientError> {
    let pid = ask.pid.map(|pid| format!("&pid={pid}")).unwrap_or_default();
    let target = format!("{PATH}?offset={offset}&limit={}{pid}", limit.min(MAX_PAGE));
    let answered = timeout(PATIENCE, get(&ask.socket, &target)).await;
    let (status, body) = answered.map_err(|_| ClientError::Silent(ask.socket.clone()))??;
    if status != 200 {
        let message = String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(ClientError::Refused { path: ask.socket.clone(), message });
    }
    serde_json::from_slice(&body).map_err(|error| nonsense(&ask.socket, &error))
}

fn nonsense(path: &Path, problem: &dyn std::fmt::Display) -> ClientError {
    ClientError::Nonsense { path: path.to_owned(), problem: problem.to_string() }
}

async fn get(socket: &Path, target: &str) -> Result<(u16, Bytes), ClientError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(socket, error))?;
    let broken = |error: hyper::Error| nonsense(socket, &error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = tokio::spawn(connection);
    let request = Request::get(target).header("host", "ratatosk").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| nonsense(socket, &error))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    connection.abort();
    Ok((status, body.map_err(|error| nonsense(socket, &error))?.to_bytes()))
}
