//! The stages in order, for one stream of the loader.
//!
//! in   every [`LoaderMessage`], in the order of the stream, from a socket or from a recording
//! out  spans to the exporters, [`ProcessorMessage`]s to the loader
//! keeps at most [`MAX_PENDING_SPANS`] spans whose batch the loader has not forgotten yet
//!
//! ingest -> decode -> (discover) -> reassemble -> protocol -> correlate -> decorate -> export

use crate::{
    correlate::{Correlator, IdKey},
    decode::decode,
    decorate::{DecorateSettings, Decorator},
    discover::{
        Denials, Discovery, Matcher, Wish,
        sdk::{self, Exclusion},
    },
    explain::{self, Question, Selectors},
    export::BoxedExporter,
    health::Health,
    model::{Chunk, ClockPair, Event, Exchange, KtimeNs, OwnSignals, ProcessId, Span, UnixNanos},
    reassemble::{Connections, Limits, Output},
    telemetry::Telemetry,
};
use ratatosk_abi::Records;
use ratatosk_proto::{
    PROTOCOL_VERSION,
    v1::{
        self, Acknowledge, Batch, Hello, LoaderMessage, ProcessorMessage, Start, Tick, loader_message,
        processor_message,
    },
};
use std::collections::VecDeque;

/// Spans that wait for the loader's echo: a second of what one core can parse would be ten times as many, but the echo
/// comes within milliseconds.
pub const MAX_PENDING_SPANS: usize = 65_536;

/// Exchanges that wait for the name of their process, seconds at most; beyond, they are told under the one that is known.
pub const MAX_UNNAMED: usize = 4096;

/// Why this stream can't be understood. The processor ends: another start would not change it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StreamError {
    /// The loader speaks of other records.
    #[error(
        "the loader's records have layout {found}, this processor reads layout {}: use versions of one release",
        ratatosk_abi::ABI_VERSION
    )]
    Abi {
        /// Layout that the loader announced.
        found: u32,
    },
    /// The loader speaks another protocol.
    #[error("the loader speaks protocol {found}, this processor {PROTOCOL_VERSION}: they may differ by one")]
    Protocol {
        /// Version that the loader announced.
        found: u32,
    },
    /// Something came before Hello.
    #[error("the stream does not begin with Hello")]
    NoHello,
}

/// What Hello said.
#[derive(Debug)]
struct Stream {
    epoch: u64,
    boot_id: String,
    /// As it came, for `explain`.
    hello: Hello,
    clock: ClockPair,
    correlator: Correlator,
}

/// Spans whose batch the loader has not forgotten yet. They stay where they are until they are told: a span is large.
#[derive(Debug, Default)]
struct Pending {
    spans: VecDeque<Span>,
    /// How many spans had come, in all of this epoch, when each batch was through.
    batches: VecDeque<(u64, usize)>,
    /// How many have left.
    left: usize,
}

impl Pending {
    fn end_batch(&mut self, number: u64) {
        let came = self.left + self.spans.len();
        match self.batches.back_mut() {
            Some((last, through)) if *last == number => *through = came,
            _ => self.batches.push_back((number, came)),
        }
    }

    /// How many spans, from the first on, belong to batches up to `through`. Who asks takes them.
    fn release(&mut self, through: u64) -> usize {
        let left = self.left;
        let covered = self.batches.partition_point(|(number, _)| *number <= through);
        self.left = self.batches.drain(..covered).next_back().map_or(left, |(_, came)| came);
        self.left - left
    }
}

/// All stages.
pub struct Pipeline {
    key: IdKey,
    stream: Option<Stream>,
    last_batch: u64,
    to_acknowledge: Option<u64>,
    start: Option<Start>,
    discovery: Discovery,
    connections: Connections,
    out: Output,
    decorator: Decorator,
    pending: Pending,
    /// Exchanges of processes whose name comes in a moment, in their order.
    unnamed: Vec<Exchange>,
    exporters: Vec<BoxedExporter>,
    exclusion: Exclusion,
    denials: Denials,
    telemetry: Telemetry,
    health: Health,
    selectors: Selectors,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("stream", &self.stream)
            .field("last_batch", &self.last_batch)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Stages without state. Ids are made under `key`.
    #[must_use]
    pub fn new(matcher: Matcher, key: IdKey, exporters: Vec<BoxedExporter>, telemetry: Telemetry) -> Self {
        let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            key,
            stream: None,
            last_batch: 0,
            to_acknowledge: None,
            start: None,
            discovery: Discovery::new(matcher, host),
            connections: Connections::new(Limits::default()),
            out: Output::default(),
            decorator: Decorator::new(&DecorateSettings::default()).expect("defaults are valid"),
            pending: Pending::default(),
            unnamed: Vec::new(),
            exporters,
            exclusion: Exclusion::default(),
            denials: Denials::default(),
            telemetry,
            health: Health::default(),
            selectors: Selectors::default(),
        }
    }

    /// The same, with one more exporter.
    #[must_use]
    pub fn with_exporter(mut self, exporter: BoxedExporter) -> Self {
        self.exporters.push(exporter);
        self
    }

    /// The same, leaving out what services tell themselves as `exclusion` says.
    #[must_use]
    pub fn excluding(mut self, exclusion: Exclusion) -> Self {
        self.exclusion = exclusion;
        self
    }

    /// The same, where reasons name the settings as they were set.
    #[must_use]
    pub fn with_selectors(mut self, selectors: Selectors) -> Self {
        self.selectors = selectors;
        self
    }

    /// Whether the stream stands. A handle that stays true.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Says what is done with whom.
    pub fn answer(&self, question: Question) {
        let report = explain::build(
            explain::Context {
                discovery: &self.discovery,
                hello: self.stream.as_ref().map(|stream| &stream.hello),
                readiness: &self.health.readiness(),
                selectors: &self.selectors,
                exclusion: self.exclusion,
            },
            &question,
        );
        question.answer(report);
    }

    /// The same, with spans decorated as the user wants them.
    #[must_use]
    pub fn decorated_by(mut self, decorator: Decorator) -> Self {
        self.decorator = decorator;
        self
    }

    /// The same, on behalf of the machine called `host`: for a recording that was made elsewhere.
    #[must_use]
    pub fn on_host(mut self, host: String) -> Self {
        self.discovery.rename_host(host);
        self
    }

    /// A connection to the loader stands: everything that was asked is asked again.
    pub fn connected(&mut self) {
        let processor_version = env!("CARGO_PKG_VERSION").to_owned();
        self.start = Some(Start { protocol_version: PROTOCOL_VERSION, processor_version });
        self.to_acknowledge = None;
        self.discovery.connected();
        self.telemetry.loader_connected(true);
        self.health.connected();
    }

    /// The connection to the loader ended, or did not come to stand, for this reason.
    pub fn disconnected(&mut self, why: &str) {
        self.telemetry.loader_connected(false);
        self.telemetry.loader_lost(why);
        self.health.not_connected(why);
    }

    /// Nobody reads what the exporters write.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.exporters.iter().any(|exporter| exporter.is_closed())
    }

    /// The next message to the loader.
    pub fn next_request(&mut self) -> Option<ProcessorMessage> {
        let kind = if let Some(start) = self.start.take() {
            processor_message::Kind::Start(start)
        } else if let Some(wish) = self.discovery.next_wish() {
            match wish {
                Wish::Decide(decide) => processor_message::Kind::Decide(decide),
                Wish::WantPorts(ports) => processor_message::Kind::WantPorts(ports),
                Wish::Examine(examine) => processor_message::Kind::Examine(examine),
            }
        } else {
            processor_message::Kind::Acknowledge(Acknowledge { through: self.to_acknowledge.take()? })
        };
        Some(ProcessorMessage { kind: Some(kind) })
    }

    /// Takes what the loader said.
    ///
    /// # Errors
    /// [`StreamError`]: the stream is of no use.
    pub fn message(&mut self, message: &LoaderMessage) -> Result<(), StreamError> {
        self.health.heard();
        match &message.kind {
            Some(loader_message::Kind::Hello(hello)) => self.hello(hello)?,
            Some(_) if self.stream.is_none() => return Err(StreamError::NoHello),
            Some(loader_message::Kind::Batch(batch)) => self.batch(batch),
            Some(loader_message::Kind::Tick(tick)) => self.tick(tick),
            Some(loader_message::Kind::Status(status)) => self.status(status),
            Some(loader_message::Kind::Denied(denied)) => self.denials.tell(denied, &mut self.discovery),
            None => self.telemetry.decode_error("unknown_message", 1),
        }
        Ok(())
    }

    /// Every second.
    fn status(&self, status: &v1::Status) {
        self.telemetry.loader_status(status);
        self.telemetry.processes(self.discovery.standings());
    }

    fn hello(&mut self, hello: &Hello) -> Result<(), StreamError> {
        if hello.abi_version != ratatosk_abi::ABI_VERSION {
            return Err(StreamError::Abi { found: hello.abi_version });
        }
        if hello.protocol_version.abs_diff(PROTOCOL_VERSION) > 1 {
            return Err(StreamError::Protocol { found: hello.protocol_version });
        }
        let same_epoch =
            self.stream.as_ref().is_some_and(|s| s.epoch == hello.epoch && s.boot_id == hello.boot_id);
        if !same_epoch {
            self.begin_epoch(hello);
        }
        tracing::info!(
            tier = hello.tier,
            lacks = hello.tier_lacks.join(", "),
            loader = hello.loader_version,
            "Connected to the loader"
        );
        self.discovery.set_loader_examines(hello.examines);
        self.discovery.begin_at(clock_pair(hello.clock.as_ref()).ktime);
        if !hello.policy.is_empty() {
            let policy = hello.policy.join("; ");
            tracing::info!(policy, "The loader's policy bounds what may be observed");
        }
        self.health.greeted(&hello.tier);
        self.telemetry.loader_greeted(&hello.tier, &hello.loader_version);
        self.stream = Some(Stream {
            epoch: hello.epoch,
            boot_id: hello.boot_id.clone(),
            hello: hello.clone(),
            clock: clock_pair(hello.clock.as_ref()),
            correlator: Correlator::new(self.key, &hello.boot_id),
        });
        Ok(())
    }

    /// Another server: what it never echoed, its successor booked as lost, so it may not be told.
    fn begin_epoch(&mut self, hello: &Hello) {
        self.last_batch = 0;
        self.to_acknowledge = None;
        self.drop_pending("epoch_changed");
        if self.stream.as_ref().is_some_and(|stream| stream.boot_id != hello.boot_id) {
            // cookies, offsets and times of another boot mean nothing any more
            self.connections.finish(&mut self.out);
            self.out.exchanges.clear();
            self.out.exports.clear();
            self.connections = Connections::new(Limits::default());
        }
    }

    fn drop_pending(&mut self, reason: &'static str) {
        let waiting = u64::try_from(self.pending.spans.len() + self.unnamed.len()).unwrap_or(u64::MAX);
        self.telemetry.spans_dropped("pending", reason, waiting);
        self.pending = Pending::default();
        self.unnamed.clear();
    }

    fn batch(&mut self, batch: &Batch) {
        if batch.number > self.last_batch {
            self.last_batch = batch.number;
            self.records(&batch.records);
            self.collect();
        }
        // also for a repetition: the loader missed our acknowledgement
        self.to_acknowledge = self.to_acknowledge.max(Some(batch.number));
        self.release(batch.acknowledged_through);
    }

    fn records(&mut self, bytes: &[u8]) {
        for record in Records::new(bytes) {
            match record.map_err(Into::into).and_then(|record| decode(&record)) {
                Ok(event) => self.event(event),
                Err(error) => self.telemetry.decode_error(error.reason(), 1),
            }
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Chunk(chunk) => {
                if self.is_wanted(&chunk) {
                    self.connections.chunk(&chunk, &mut self.out);
                }
            }
            Event::Eof(chunk) => {
                if self.is_wanted(&chunk) {
                    self.connections.eof(&chunk, &mut self.out);
                }
            }
            Event::Connect(..) => {}
            Event::Process(process) => self.discovery.process(&process),
            Event::Listen(socket, process) => {
                self.discovery.listen(process, socket.cookie, socket.local.port())
            }
            Event::Close(close) => {
                self.discovery.unlisten(close.socket.cookie);
                self.connections.close(&close, &mut self.out);
            }
            Event::Info(info) => self.discovery.info(&info),
            Event::SnapshotBegin => self.discovery.snapshot_begin(),
            Event::SnapshotEnd => {
                self.discovery.snapshot_end();
                self.health.announced();
            }
        }
    }

    /// The kernel sends what it was told to; whether that was this very process is decided here.
    fn is_wanted(&mut self, chunk: &Chunk<'_>) -> bool {
        let wanted = self.discovery.called(chunk.process);
        if !wanted {
            self.telemetry.dropped("discover", "not_selected", 1);
        }
        wanted
    }

    fn tick(&mut self, tick: &Tick) {
        let watermark = KtimeNs(tick.watermark_ktime_ns);
        if let (Some(stream), Some(clock)) = (&mut self.stream, &tick.clock) {
            stream.clock = clock_pair(Some(clock));
        }
        self.connections.advance(watermark, &mut self.out);
        self.discovery.retire(watermark);
        self.collect();
        self.release(tick.acknowledged_through);
        self.telemetry.processes_observed(u64::try_from(self.discovery.selected()).unwrap_or(u64::MAX));
        self.telemetry.dropped("discover", "too_many_processes", self.discovery.take_overflows());
    }

    /// Exchanges become spans, which wait for the echo of the batch that completed them.
    fn collect(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        out.incomplete
            .iter()
            .filter(|(_, n)| *n > 0)
            .for_each(|(reason, n)| self.telemetry.incomplete(reason, n));
        out.ended_by.iter().filter(|(_, n)| *n > 0).for_each(|(by, n)| self.telemetry.ended_by(by, n));
        if out.resyncs > 0 {
            self.telemetry.dropped("reassemble", "resync", out.resyncs);
        }
        out.left_out.iter().for_each(|(process, counts)| self.discovery.left_out(*process, counts));
        self.telemetry.unrecognized(out.unrecognized);
        for (process, signals) in out.exports.drain(..) {
            notice_sdk(&mut self.discovery, process, signals);
        }
        let Some(stream) = &self.stream else { return };
        // those that waited go first
        drop(out.exchanges.splice(..0, self.unnamed.drain(..)));
        for exchange in out.exchanges.drain(..) {
            let may_wait = self.unnamed.len() < MAX_UNNAMED;
            if !self.discovery.exchanged(exchange.process, may_wait) {
                self.unnamed.push(exchange);
                continue;
            }
            notice_sdk(&mut self.discovery, exchange.process, sdk::exported(&exchange));
            if self.pending.spans.len() >= MAX_PENDING_SPANS {
                self.telemetry.spans_dropped("pending", "queue_full", 1);
                continue;
            }
            let span =
                self.decorator.decorate(exchange, &stream.correlator, &mut self.discovery, &stream.clock);
            if let Some(span) = span {
                self.pending.spans.push_back(span);
            }
        }
        self.pending.end_batch(self.last_batch);
        self.telemetry.decorated(self.decorator.take_counts());
        // its memory serves the next batch
        self.out.exchanges = out.exchanges;
    }

    /// Batches up to `through` will not come again: their spans may leave.
    fn release(&mut self, through: u64) {
        let released = self.pending.release(through);
        let (front, back) = self.pending.spans.as_slices();
        let of_front = released.min(front.len());
        for spans in [front.get(..of_front), back.get(..released - of_front)] {
            let spans = spans.unwrap_or_default();
            for exporter in self.exporters.iter_mut().filter(|_| !spans.is_empty()) {
                export(exporter, spans, self.exclusion, &self.telemetry);
            }
        }
        self.pending.spans.drain(..released);
    }

    /// The stream is over, for good: what is left is told.
    pub fn finish(&mut self) {
        self.discovery.set_loader_examines(false); // what it did not say yet it never will
        self.connections.finish(&mut self.out);
        self.collect();
        self.release(u64::MAX);
        self.exporters.iter_mut().for_each(|exporter| exporter.shut_down());
    }

    /// The processor ends, the loader goes on: only what the loader has forgotten may be told.
    pub fn shut_down(&mut self) {
        self.drop_pending("shutdown");
        self.exporters.iter_mut().for_each(|exporter| exporter.shut_down());
    }

    /// Nothing waits for the loader's echo.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.pending.spans.is_empty() && self.unnamed.is_empty()
    }
}

/// Hands `spans` on, without those of services that tell themselves what this exporter tells.
fn export(exporter: &mut BoxedExporter, spans: &[Span], exclusion: Exclusion, telemetry: &Telemetry) {
    let tells = exporter.tells();
    let is_kept = |span: &&Span| !exclusion.excludes(span.service.own, tells);
    let excluded = spans.len() - spans.iter().filter(is_kept).count();
    if excluded == 0 {
        exporter.export(spans);
        return;
    }
    telemetry.spans_excluded(exporter.name(), u64::try_from(excluded).unwrap_or(u64::MAX));
    let kept: Vec<Span> = spans.iter().filter(is_kept).cloned().collect();
    exporter.export(&kept);
}

fn notice_sdk(discovery: &mut Discovery, process: ProcessId, signals: OwnSignals) {
    if signals == Default::default() {
        return;
    }
    if let Some(service) = discovery.exports(process, signals) {
        tracing::info!(
            pid = process.tgid,
            service,
            traces = signals.traces,
            metrics = signals.metrics,
            "Service exports its own telemetry"
        );
    }
}

fn clock_pair(pair: Option<&v1::ClockPair>) -> ClockPair {
    let (ktime, unix) = pair.map_or((0, 0), |pair| (pair.boottime_ns, pair.unix_ns));
    ClockPair { ktime: KtimeNs(ktime), unix: UnixNanos(unix) }
}
