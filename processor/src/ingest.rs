//! The line to the loader: connects, hands every message to the pipeline, sends what the pipeline asks for.

use crate::{
    explain::Questions,
    pipeline::{Pipeline, StreamError},
    recording::{Recorder, RecordingError},
};
use hyper_util::rt::TokioIo;
use ratatosk_proto::v1::{LoaderMessage, ProcessorMessage, agent_client::AgentClient};
use std::{
    path::{Path, PathBuf},
    pin::Pin,
    time::{Duration, Instant},
};
use tokio::{net::UnixStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Endpoint};
use tower::service_fn;
use tracing::{info, warn};

/// Wait before the next attempt; doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// When asked to end: time for the last records to come from the kernel, and the most to wait for the loader's echo.
const LAST_RECORDS: Duration = Duration::from_millis(150);
const LAST_ECHO: Duration = Duration::from_millis(500);
/// A socket that may not be opened can be one that a starting loader is about to replace, or to complain of.
const DENIED: Duration = Duration::from_secs(5);
/// Requests that wait for the socket. What does not fit stays with the pipeline until the next message.
const REQUESTS: usize = 1024;
/// A batch has 256 KiB, a single record 20: this is room for another loader's idea of a batch.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// As many bytes may be under way as the loader queues.
const WINDOW_BYTES: u32 = 4 << 20;

/// Why the processor can't go on.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The loader's stream can't be understood.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The recording can't be written.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The loader does not talk to us.
    #[error("the loader at {} refuses this processor: {message}", .socket.display())]
    Refused {
        /// Where.
        socket: PathBuf,
        /// What it said.
        message: String,
    },
    /// The socket is not ours to use.
    #[error("no permission to connect to {}: run the processor as the user that the loader was told (--processor-uid)", .0.display())]
    Permission(PathBuf),
}

/// Waits that double.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_WAIT)
    }
}

impl Backoff {
    /// The wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST_WAIT);
        wait
    }
}

/// Serves the pipeline until `shutdown` ends, or its exporters are closed; connects again whenever the line breaks.
///
/// # Errors
/// [`IngestError`]: another attempt would not change it.
pub async fn run(
    socket: &Path,
    pipeline: &mut Pipeline,
    recorder: Option<&mut Recorder>,
    questions: &mut Questions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), IngestError> {
    let shutdown = Shutdown { signal: Box::pin(shutdown), asked: None };
    let backoff = Backoff::default();
    let mut ingest =
        Ingest { socket, pipeline, recorder, questions, shutdown, backoff, is_told: false, denied: None };
    loop {
        let end = ingest.serve().await?;
        if ingest.is_final(end)? || ingest.is_asked_while_waiting().await {
            return Ok(());
        }
    }
}

/// Waits for `work`, and answers whoever asks meanwhile.
async fn answering<T>(questions: &mut Questions, pipeline: &Pipeline, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            question = questions.next() => pipeline.answer(question),
        }
    }
}

/// Whether we were asked to end, and when.
struct Shutdown<'a> {
    signal: Pin<Box<dyn Future<Output = ()> + 'a>>,
    asked: Option<Instant>,
}

impl Shutdown<'_> {
    /// Comes back once we were asked to end.
    async fn asked(&mut self) {
        if self.asked.is_none() {
            self.signal.as_mut().await;
            self.asked = Some(Instant::now());
        }
    }

    /// What came before the end was asked for is told, or has had its time.
    fn is_over(&self, pipeline: &Pipeline) -> bool {
        self.asked.is_some_and(|asked| {
            let passed = asked.elapsed();
            passed >= LAST_ECHO || (passed >= LAST_RECORDS && pipeline.is_settled())
        })
    }
}

/// How a connection ended.
enum End {
    /// We were asked to end, or nobody reads our output any more.
    Closed,
    /// It never stood.
    Lost(String),
    /// It never stood: the socket is not ours to use.
    Denied,
    /// It stood.
    Broken(Status),
}

/// What outlives a connection.
struct Ingest<'a> {
    socket: &'a Path,
    pipeline: &'a mut Pipeline,
    recorder: Option<&'a mut Recorder>,
    questions: &'a mut Questions,
    shutdown: Shutdown<'a>,
    backoff: Backoff,
    /// It was said that we wait for the loader.
    is_told: bool,
    /// Since when the socket is not ours to use.
    denied: Option<Instant>,
}

impl Ingest<'_> {
    /// One connection, from the attempt to its end.
    async fn serve(&mut self) -> Result<End, IngestError> {
        let mut client = match answering(self.questions, self.pipeline, connect(self.socket)).await {
            Ok(client) => client,
            Err(error) => return Ok(lost(&error)),
        };
        let (requests, to_send) = mpsc::channel(REQUESTS);
        self.pipeline.connected();
        send_requests(self.pipeline, &requests);
        let observing = client.observe(ReceiverStream::new(to_send));
        match answering(self.questions, self.pipeline, observing).await {
            Ok(response) => self.follow(response.into_inner(), &requests).await,
            Err(status) => refused(self.socket, status),
        }
    }

    /// Takes what comes until the stream ends, or we do.
    async fn follow(
        &mut self,
        mut stream: Streaming<LoaderMessage>,
        requests: &mpsc::Sender<ProcessorMessage>,
    ) -> Result<End, IngestError> {
        while !self.shutdown.is_over(self.pipeline) {
            match self.next(&mut stream).await {
                Some(Ok(Some(message))) => self.take(&message)?,
                Some(Ok(None)) => {
                    return Ok(End::Broken(Status::unavailable("the loader ended the stream")));
                }
                Some(Err(status)) => return refused(self.socket, status),
                None => continue,
            }
            send_requests(self.pipeline, requests);
            if self.pipeline.is_closed() {
                break;
            }
        }
        Ok(End::Closed)
    }

    /// What comes next; `None` once we are asked to end, which is said once.
    async fn next(
        &mut self,
        stream: &mut Streaming<LoaderMessage>,
    ) -> Option<Result<Option<LoaderMessage>, Status>> {
        let shutdown = &mut self.shutdown;
        let next = async {
            tokio::select! {
                received = stream.message() => Some(received),
                () = shutdown.asked(), if shutdown.asked.is_none() => None,
            }
        };
        answering(self.questions, self.pipeline, next).await
    }

    fn take(&mut self, message: &LoaderMessage) -> Result<(), IngestError> {
        self.backoff = Backoff::default();
        if let Some(recorder) = &mut self.recorder {
            recorder.write(message)?;
        }
        Ok(self.pipeline.message(message)?)
    }

    /// Tells how a connection ended. Gives whether it was the last.
    fn is_final(&mut self, end: End) -> Result<bool, IngestError> {
        let socket = self.socket.display();
        match end {
            End::Closed => return Ok(true),
            End::Lost(reason) => {
                self.pipeline.disconnected(&format!("{socket}: {reason}"));
                if !std::mem::replace(&mut self.is_told, true) {
                    info!(%socket, reason, "Waiting for the loader");
                }
            }
            End::Denied if self.denied.get_or_insert_with(Instant::now).elapsed() < DENIED => {}
            End::Denied => return Err(IngestError::Permission(self.socket.to_owned())),
            End::Broken(status) => {
                warn!(message = status.message(), "The line to the loader broke");
                self.pipeline.disconnected(&format!("{socket}: {}", status.message()));
                (self.is_told, self.denied) = (false, None);
            }
        }
        Ok(false)
    }

    /// Waits before the next attempt. Gives whether we were asked to end meanwhile.
    async fn is_asked_while_waiting(&mut self) -> bool {
        let wait = tokio::time::timeout(self.backoff.next_wait(), self.shutdown.asked());
        answering(self.questions, self.pipeline, wait).await.is_ok()
    }
}

async fn connect(socket: &Path) -> Result<AgentClient<tonic::transport::Channel>, tonic::transport::Error> {
    let path = socket.to_owned();
    let connector = service_fn(move |_: tonic::transport::Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // the address names nobody: the connector goes to the socket
    let endpoint = Endpoint::from_static("http://loader.invalid")
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let channel = endpoint.connect_with_connector(connector).await?;
    Ok(AgentClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

fn lost(error: &tonic::transport::Error) -> End {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            let is_denied = io.kind() == std::io::ErrorKind::PermissionDenied;
            return if is_denied { End::Denied } else { End::Lost(io.to_string()) };
        }
        cause = error.source();
    }
    End::Lost(error.to_string())
}

fn refused(socket: &Path, status: Status) -> Result<End, IngestError> {
    match status.code() {
        Code::FailedPrecondition | Code::PermissionDenied | Code::InvalidArgument => {
            Err(IngestError::Refused { socket: socket.to_owned(), message: status.message().to_owned() })
        }
        _ => Ok(End::Broken(status)),
    }
}

fn send_requests(pipeline: &mut Pipeline, requests: &mpsc::Sender<ProcessorMessage>) {
    while let Ok(permit) = requests.try_reserve() {
        match pipeline.next_request() {
            Some(request) => permit.send(request),
            None => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Selection, discover::Matcher, telemetry::Telemetry};
    use tokio::{net::UnixListener, time};

    /// When a processor that waits since 0 comes to a loader that listens from `listens_at` on, in milliseconds of a clock
    /// that stands still while anybody works.
    async fn comes_at(listens_at: u64) -> u128 {
        let directory = tempfile::tempdir().expect("directory");
        let socket = directory.path().join("agent.sock");
        let began = time::Instant::now();
        let matcher = Matcher::new(Selection::default()).expect("nothing selected");
        let mut pipeline = Pipeline::new(matcher, [7; 16], Vec::new(), Telemetry::new());
        let loader = async {
            time::sleep(Duration::from_millis(listens_at)).await;
            let listener = UnixListener::bind(&socket).expect("a socket");
            let _peer = listener.accept().await.expect("a peer");
            began.elapsed().as_millis()
        };
        let (_desk, mut questions) = crate::explain::desk();
        tokio::select! {
            at = loader => at,
            ended = run(&socket, &mut pipeline, None, &mut questions, std::future::pending()) => panic!("{ended:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_loader_is_looked_for_after_50_ms_doubling_to_a_second() {
        let attempts = [50, 150, 350, 750, 1_550, 2_550, 3_550];
        for pair in attempts.windows(2) {
            let [before, next] = pair else { continue };
            assert_eq!(comes_at(before + 1).await, u128::from(*next));
        }
    }
}
