//! The processor's side of the socket.

use super::{Desk, Door, DoorError, MAX_PAGE, SOCKET_VARIABLE, open};
use crate::health::http::{Accept, Answer, Answering, serve};
use nix::unistd::geteuid;
use std::{io, path::Path, sync::Arc};
use tokio::net::{UnixListener, UnixStream};

/// Where the answers are.
pub(super) const PATH: &str = "/v1/explain";

/// Takes connections of this user and of root only: the mode says so already, this says it again.
#[derive(Debug)]
struct Guarded(UnixListener);

/// Why nobody can ask.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The socket can't be made.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The runtime refuses it.
    #[error("the socket can't be served: {0}")]
    Runtime(#[from] io::Error),
}

/// Answers at `path` from the pipeline behind `desk`, until the runtime ends. What this gives removes the socket when it
/// is dropped.
///
/// # Errors
/// [`ListenError`].
pub fn listen(path: &Path, desk: Desk) -> Result<Door, ListenError> {
    let door = open(path, SOCKET_VARIABLE)?;
    let listener = UnixListener::from_std(door.listener.try_clone()?)?;
    drop(tokio::spawn(serve(Guarded(listener), answering(desk))));
    Ok(door)
}

impl Accept for Guarded {
    type Stream = UnixStream;

    async fn accept_next(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.0.accept().await?;
            let uid = stream.peer_cred()?.uid();
            if uid == 0 || uid == geteuid().as_raw() {
                return Ok(stream);
            }
            tracing::warn!(uid, "Refused to explain to another user");
        }
    }
}

/// Answers from the pipeline behind `desk`.
fn answering(desk: Desk) -> Answering {
    Arc::new(move |target: String| {
        let desk = desk.clone();
        Box::pin(async move { answer(&desk, &target).await })
    })
}

async fn answer(desk: &Desk, target: &str) -> Answer {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path != PATH {
        return Answer::text(404, format!("answers are at {PATH}\n"));
    }
    let asked = match asked(query) {
        Ok(asked) => asked,
        Err(problem) => return Answer::text(400, problem),
    };
    let Some(report) = desk.ask(asked.pid, asked.offset, asked.limit).await else {
        return Answer::text(503, "the processor is ending\n".to_owned());
    };
    serde_json::to_string(&report).map_or_else(|error| Answer::text(500, format!("{error}\n")), Answer::json)
}

#[derive(Debug, Eq, PartialEq)]
struct Asked {
    pid: Option<u32>,
    offset: usize,
    limit: usize,
}

/// What a newer asker says beyond is not understood here, and does no harm.
fn asked(query: &str) -> Result<Asked, String> {
    let mut asked = Asked { pid: None, offset: 0, limit: MAX_PAGE };
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let wrong = |_| format!("{name} is no number\n");
        match name {
            "pid" => asked.pid = Some(value.parse().map_err(wrong)?),
            "offset" => asked.offset = value.parse().map_err(wrong)?,
            "limit" => asked.limit = value.parse().map_err(wrong)?,
            _ => {}
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_is_not_known_is_left_out() {
        let all = Asked { pid: None, offset: 0, limit: MAX_PAGE };
        assert_eq!(asked(""), Ok(all));
        assert_eq!(
            asked("pid=7&colour=red&offset=3&limit=2"),
            Ok(Asked { pid: Some(7), offset: 3, limit: 2 })
        );
        assert!(asked("pid=x").unwrap_err().contains("pid"));
        assert!(asked("limit=-1").is_err());
    }
}
