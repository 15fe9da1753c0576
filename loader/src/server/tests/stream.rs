//! Over a real socket, with a real client; time is paused.

use super::fake::{FakeKernel, answer, chunk, handover, kinds, process};
use crate::process::server::serve;
use crate::server::queue::QueueBounds;
use hyper_util::rt::TokioIo;
use ratatosk_abi::{RecordKind, TargetState};
use ratatosk_proto::v1::agent_client::AgentClient;
use ratatosk_proto::v1::loader_message::Kind;
use ratatosk_proto::v1::processor_message::Kind as Sent;
use ratatosk_proto::v1::{Acknowledge, Batch, Hello, LoaderMessage, ProcessorMessage, Start, Status, Tick};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Streaming};

const SOON: Duration = Duration::from_secs(5);

/// A processor, seen from the loader.
struct Client {
    say: mpsc::Sender<ProcessorMessage>,
    hear: Streaming<LoaderMessage>,
}

impl Client {
    async fn connect(path: &Path, protocol_version: u32) -> Self {
        let (say, words) = mpsc::channel(16);
        let client = Self { hear: observe(path, words).await, say };
        client.say(Sent::Start(Start { protocol_version, processor_version: String::new() })).await;
        client
    }

    async fn say(&self, kind: Sent) {
        self.say.send(ProcessorMessage { kind: Some(kind) }).await.expect("open");
    }

    async fn acknowledge(&self, through: u64) {
        self.say(Sent::Acknowledge(Acknowledge { through })).await;
    }

    async fn next(&mut self) -> Result<Kind, Code> {
        let message = timeout(SOON, self.hear.message()).await.expect("in time");
        let message = message.map_err(|status| status.code())?;
        message.and_then(|message| message.kind).ok_or(Code::Ok)
    }

    async fn find<T>(&mut self, want: impl Fn(Kind) -> Option<T>) -> T {
        loop {
            if let Some(found) = want(self.next().await.expect("open")) {
                return found;
            }
        }
    }

    async fn hello(&mut self) -> Hello {
        match self.next().await.expect("open") {
            Kind::Hello(hello) => hello,
            other => panic!("{other:?} before Hello"),
        }
    }

    async fn batch(&mut self) -> Batch {
        self.find(|kind| if let Kind::Batch(batch) = kind { Some(batch) } else { None }).await
    }

    async fn tick(&mut self) -> Tick {
        self.find(|kind| if let Kind::Tick(tick) = kind { Some(tick) } else { None }).await
    }

    async fn status(&mut self) -> Status {
        self.find(|kind| if let Kind::Status(status) = kind { Some(status) } else { None }).await
    }

    async fn error(&mut self) -> Code {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }
}

async fn observe(path: &Path, words: mpsc::Receiver<ProcessorMessage>) -> Streaming<LoaderMessage> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel: Channel =
        Endpoint::from_static("http://loader").connect_with_connector(connector).await.expect("connected");
    AgentClient::new(channel).observe(ReceiverStream::new(words)).await.expect("answered").into_inner()
}

/// Runs `test` beside a server; the attacher answers every 5 ms.
fn beside_a_server<T: Future<Output = ()>>(uid: u32, test: impl FnOnce(FakeKernel, PathBuf) -> T) {
    beside_a_bounded_server(QueueBounds::default(), uid, test);
}

fn beside_a_bounded_server<T: Future<Output = ()>>(
    bounds: QueueBounds,
    uid: u32,
    test: impl FnOnce(FakeKernel, PathBuf) -> T,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let local = LocalSet::new();
    let whole = async {
        let kernel = FakeKernel::new();
        let (handover, attacher, path) = handover(&kernel, bounds, uid);
        tokio::task::spawn_local(async move { panic!("server ended: {:?}", serve(handover).await) });
        tokio::task::spawn_local(async move {
            loop {
                answer(&attacher);
                sleep(Duration::from_millis(5)).await;
            }
        });
        test(kernel, path.clone()).await;
        std::fs::remove_file(path).expect("bound");
    };
    local.block_on(&runtime.expect("runtime"), whole);
}

fn our_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn assert_identity(status: &Status) {
    let produced: u64 = status.produced.iter().map(|p| p.records).sum();
    let dropped: u64 = status.dropped.iter().map(|d| d.records).sum();
    assert_eq!(produced, status.acknowledged_records + dropped + status.held_records, "{status:?}");
}

#[test]
fn a_stream_opens_with_hello_and_a_snapshot() {
    use RecordKind::{Process, ProcessInfo};
    beside_a_server(our_uid(), async |kernel, path| {
        kernel.with(|world| world.control.push(process(Process, 7, 1)));
        sleep(Duration::from_millis(200)).await;
        let mut client = Client::connect(&path, 1).await;
        let hello = client.hello().await;
        assert_eq!((hello.protocol_version, hello.turn_bytes, hello.tier.as_str()), (1, 1024, "socket"));
        assert!(hello.epoch != 0 && hello.boot_id.len() == 36 && hello.clock.is_some());
        let batch = client.batch().await;
        let history = [Process, ProcessInfo];
        let snapshot = [RecordKind::SnapshotBegin, Process, ProcessInfo, RecordKind::SnapshotEnd];
        assert_eq!((batch.number, kinds(&batch.records)), (1, [&history[..], &snapshot].concat()));
        assert_identity(&client.status().await);
    });
}

#[test]
fn batches_are_numbered_and_acknowledgements_echoed() {
    beside_a_server(our_uid(), async |kernel, path| {
        let mut client = Client::connect(&path, 1).await;
        assert_eq!(client.batch().await.number, 1);
        for number in 2..=6 {
            kernel.with(|world| world.data.push(chunk(1)));
            kernel.wake();
            let batch = client.batch().await;
            assert_eq!(batch.number, number);
            client.acknowledge(number).await;
            while client.tick().await.acknowledged_through < number {}
        }
        let mut status = client.status().await;
        while status.acknowledged_records < 7 {
            status = client.status().await;
        }
        assert_eq!(status.held_records, 0);
        assert_identity(&status);
    });
}

#[test]
fn what_was_not_acknowledged_comes_again_with_its_number() {
    beside_a_server(our_uid(), async |kernel, path| {
        let mut client = Client::connect(&path, 1).await;
        let epoch = client.hello().await.epoch;
        kernel.with(|world| world.data.push(chunk(1)));
        let (first, second) = (client.batch().await, client.batch().await);
        client.acknowledge(1).await;
        while client.tick().await.acknowledged_through < 1 {}
        drop(client);
        sleep(SOON).await;
        let mut client = Client::connect(&path, 1).await;
        assert_eq!(client.hello().await.epoch, epoch);
        let again = client.batch().await;
        assert_eq!((first.number, again.number, again.records), (1, 2, second.records));
        assert_eq!(again.acknowledged_through, 1);
        assert_eq!(client.batch().await.number, 3);
    });
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn another_uid_is_closed_before_a_byte_is_read_with_an_audit_line() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(lines);
    beside_a_server(our_uid() + 1, async |kernel, path| {
        // It says nothing, so nothing could have been read: the end comes by itself.
        let mut peer = UnixStream::connect(&path).await.expect("connected");
        let mut bytes = Vec::new();
        let read = timeout(SOON, peer.read_to_end(&mut bytes)).await.expect("closed");
        assert_eq!((read.unwrap_or(0), bytes.len()), (0, 0));
        assert!(kernel.with(|world| !world.targets.contains_key(&std::process::id())));
    });
    let log = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
    let peer = format!("event=\"refused_peer\" reason=\"uid\" uid={} pid={}", our_uid(), std::process::id());
    assert!(log.contains("audit") && log.contains(&peer), "{log}");
}

#[test]
fn an_acknowledgement_beyond_what_was_sent_ends_the_stream() {
    beside_a_server(our_uid(), async |_, path| {
        let mut client = Client::connect(&path, 1).await;
        client.acknowledge(1_000).await;
        assert_eq!(client.error().await, Code::InvalidArgument);
    });
}

#[test]
fn a_second_processor_is_refused_until_the_first_is_gone() {
    beside_a_server(our_uid(), async |kernel, path| {
        let mut first = Client::connect(&path, 1).await;
        first.hello().await;
        assert_eq!(kernel.with(|world| world.targets[&std::process::id()]), TargetState::Own);
        let mut second = Client::connect(&path, 1).await;
        assert_eq!(second.error().await, Code::ResourceExhausted);
        first.tick().await;
        drop((first, second));
        sleep(SOON).await;
        Client::connect(&path, 1).await.hello().await;
    });
}

#[test]
fn a_version_two_away_is_refused_and_one_away_is_served() {
    beside_a_server(our_uid(), async |_, path| {
        assert_eq!(Client::connect(&path, 3).await.error().await, Code::FailedPrecondition);
        Client::connect(&path, 2).await.hello().await;
    });
}

#[test]
fn whatever_else_comes_first_is_refused_and_silence_too() {
    beside_a_server(our_uid(), async |_, path| {
        for first in [Some(Sent::Acknowledge(Acknowledge { through: 0 })), None] {
            let (say, words) = mpsc::channel(16);
            let mut client = Client { hear: observe(&path, words).await, say };
            if let Some(first) = first {
                client.say(first).await;
            }
            sleep(2 * SOON).await;
            assert_eq!(client.error().await, Code::InvalidArgument);
        }
    });
}

#[test]
fn a_message_over_the_bound_ends_the_stream() {
    beside_a_server(our_uid(), async |_, path| {
        let (say, words) = mpsc::channel(16);
        let mut client = Client { hear: observe(&path, words).await, say };
        let processor_version = "x".repeat(65 * 1024);
        client.say(Sent::Start(Start { protocol_version: 1, processor_version })).await;
        assert_eq!(client.error().await, Code::InvalidArgument);
    });
}

#[test]
fn ticks_and_heartbeats_come_every_100_ms_and_the_clock_every_10_s() {
    beside_a_server(our_uid(), async |kernel, path| {
        let mut client = Client::connect(&path, 1).await;
        client.tick().await;
        let (beats, began) = (kernel.with(|world| world.beats), tokio::time::Instant::now());
        let mut watermark_ns = 0;
        let mut clocks = 0;
        for _ in 0..200 {
            let tick = client.tick().await;
            assert!(tick.watermark_ktime_ns >= watermark_ns);
            watermark_ns = tick.watermark_ktime_ns;
            clocks += u32::from(tick.clock.is_some());
        }
        let seconds = began.elapsed().as_secs();
        assert!((20..=21).contains(&seconds) && clocks == 2, "{seconds} s, {clocks} clocks");
        assert!(kernel.with(|world| world.beats) - beats >= 199);
    });
}

#[test]
fn every_record_has_one_fate_over_many_streams() {
    let bounds = QueueBounds { queue_bytes: 4096, control_bytes: 2048, batch_bytes: 512 };
    beside_a_bounded_server(bounds, our_uid(), async |kernel, path| {
        let mut next_number = 1;
        for round in 0..20_u32 {
            let mut client = Client::connect(&path, 1).await;
            for step in 0..=round {
                kernel.with(|world| {
                    world.data.extend((0..40).map(|_| chunk(1)));
                    world.control.extend((1..8).map(|tgid| process(RecordKind::Exec, tgid + step * 8, 1)));
                });
                let batch = client.batch().await;
                assert!(batch.number <= next_number, "a gap before {}", batch.number);
                next_number = next_number.max(batch.number + 1);
                if step % 3 != 2 {
                    client.acknowledge(batch.number).await;
                }
            }
            assert_identity(&client.status().await);
        }
        let status = Client::connect(&path, 1).await.status().await;
        assert_identity(&status);
        let dropped = |reason: &str| status.dropped.iter().any(|d| d.reason == reason && d.records > 0);
        assert!(dropped("queue_full") && dropped("collapsed"), "{status:?}");
    });
}
